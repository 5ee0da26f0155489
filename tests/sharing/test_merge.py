"""Two archives become one: what each rule of docs/format.md ('Merging') says."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hostile_trees import put, write_object
from machine import git
from team import place, save, tree_of
from templates import Templates, archive

import runvault as rv
from runvault.errors import ConfigError, RunvaultError
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.git.merging import Sides


@pytest.fixture
def vault(repo: Path, templates: Templates) -> rv.Vault:
    templates.copy(archive, repo)
    return rv.open(repo)


def branch_off(vault: rv.Vault, name: str) -> rv.Vault:
    """Return an archive that starts where this one is."""
    git(place(vault), "branch", name, vault.branch)
    return rv.open(place(vault), branch=name)


def test_disjoint_runs_give_the_tree_of_a_plain_git_merge(vault: rv.Vault, tmp_path: Path) -> None:
    save(vault, fast=1)
    other = branch_off(vault, "other")
    save(vault, fast=2)
    save(other, fast=3)
    other.tag(other.list()[0], add=["x"])
    git(tmp_path, "clone", "--quiet", "--branch", "runvault", str(place(vault)), "plain")
    git(tmp_path / "plain", "merge", "--quiet", "--no-edit", "origin/other")
    merged = vault.merge("other")
    assert (merged.runs_added, merged.revisions_added, merged.removed, merged.drift) == (1, 0, 0, ())
    assert tree_of(vault) == git(tmp_path / "plain", "rev-parse", "HEAD^{tree}").strip()
    assert len(git(place(vault), "rev-list", "--parents", "-1", "runvault").split()) == 3
    assert "Kind: merge" in git(place(vault), "log", "-1", "--format=%B", "runvault")


def test_a_run_that_a_merge_left_out_can_be_restored(vault: rv.Vault) -> None:
    save(vault, fast=1)
    other = branch_off(vault, "other")
    run = save(other, fast=2)
    save(vault, fast=3)
    parents = ["-p", vault.branch, "-p", "other"]
    commit = git(place(vault), "commit-tree", *parents, "-m", "Merge other", f"{vault.branch}^{{tree}}").strip()
    git(place(vault), "update-ref", f"refs/heads/{vault.branch}", commit)
    assert not vault.has(run.id)
    assert vault.restore(run.id).params == {"fast": 2}


def test_pointers_that_runs_share_are_read_once(vault: rv.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    save(vault, fast=1)
    other = branch_off(vault, "other")
    for fast in range(2, 8):
        save(other, fast=fast)
    reads: Counter[str] = Counter()
    read = Sides._read

    def counted(sides: Sides, name: str) -> bytes:
        reads[name] += 1
        return read(sides, name)

    monkeypatch.setattr(Sides, "_read", counted)
    assert vault.merge("other").runs_added == 6
    assert set(reads.values()) == {1}
    assert len(reads) < 6 * (3 + len(other.list()[0].artifacts))


def test_the_same_run_with_other_results_keeps_both_in_history_and_reports_drift(vault: rv.Vault) -> None:
    other = branch_off(vault, "other")
    run = save(vault, 0.1)
    save(other, 0.2)
    merged = vault.merge("other")
    assert (merged.drift, merged.revisions_added) == ((run.id,), 1)
    assert [each.metrics["total_return"] for each in vault.history(run.id)] == [0.1, 0.2]
    assert vault.get(run.id).metrics["total_return"] == 0.2  # the later one
    back = other.merge("runvault")
    assert (back.drift, tree_of(other)) == ((), tree_of(vault))


def test_a_merge_that_both_sides_refused_decides_nothing_between_them(vault: rv.Vault) -> None:
    """Made by hand, with a file that belongs to no run: both stand on it now, and neither has what it holds."""
    other = branch_off(vault, "other")
    run = save(vault, 0.1)
    save(other, 0.2)
    repo = place(vault)
    theirs = git(repo, "rev-parse", "other^{tree}").strip()
    stray = ("100644", b"stray.txt", write_object(repo, "blob", b"stray"))
    tree = put(repo, theirs, [b"runs", run.config_hash[:2].encode(), run.id.encode()], [stray])
    hand_made = git(repo, "commit-tree", tree, "-p", "runvault", "-p", "other", "-m", "by hand").strip()
    for each in (vault, other):
        assert [refused["run"] for refused in each.merge(hand_made).refused] == [run.id]
    assert vault.merge("other").drift == (run.id,)
    other.merge("runvault")
    assert vault.get(run.id).metrics["total_return"] == 0.2  # the later one
    assert tree_of(vault) == tree_of(other)


def test_equal_results_on_both_sides_are_no_drift(vault: rv.Vault) -> None:
    other = branch_off(vault, "other")
    save(vault, 0.1, tags=["here"])
    save(other, 0.1, tags=["there"])
    merged = vault.merge("other")
    assert merged.drift == ()
    assert vault.list()[0].tags == ["here", "there"]


def test_a_removal_yields_to_what_it_had_not_seen(vault: rv.Vault) -> None:
    run = save(vault, tags=["old"])
    kept, gone = save(vault, fast=11), save(vault, fast=12)
    other = branch_off(vault, "other")
    vault.remove([run.id, gone.id])
    other.note(run.id, "still needed")
    assert other.merge("runvault").removed == 1
    assert {each.id for each in other.list()} == {run.id, kept.id}
    assert vault.merge("other").runs_added == 1  # it was not here any more
    assert tree_of(vault) == tree_of(other)
    assert (vault.get(run.id).tags, vault.get(run.id).note) == (["old"], "still needed")


def test_merging_again_changes_nothing(vault: rv.Vault) -> None:
    other = branch_off(vault, "other")
    save(other)
    assert vault.merge("other").runs_added == 1
    before = git(place(vault), "rev-parse", "runvault")
    assert vault.merge("other").runs_added == 0
    assert git(place(vault), "rev-parse", "runvault") == before


def test_remotes_that_both_sides_added_are_both_there(vault: rv.Vault) -> None:
    other = branch_off(vault, "other")
    vault.add_remote("here", "s3://here/x")
    other.add_remote("there", "s3://there/x")
    vault.merge("other")
    other.merge("runvault")
    assert tree_of(vault) == tree_of(other)
    text = git(place(vault), "show", "runvault:.dvc/config")
    assert "s3://here/x" in text
    assert "s3://there/x" in text


def test_a_remote_that_one_side_changed_or_removed_is_not_put_back(vault: rv.Vault) -> None:
    for name in ("storage", "old"):
        vault.add_remote(name, f"s3://{name}/x")
    other = branch_off(vault, "other")
    vault.add_remote("storage", "/srv/new")  # the lesser address
    vault.remove_remote("old")
    other.add_remote("there", "s3://there/x")
    vault.merge("other")
    other.merge("runvault")
    assert tree_of(vault) == tree_of(other)
    found = {each.name: (each.url, each.default) for each in other.remotes() if each.kind == "dvc"}
    assert found == {"storage": ("/srv/new", True), "there": ("s3://there/x", False)}

    third = branch_off(vault, "third")
    vault.remove_remote("storage")
    third.add_remote("storage", "/srv/newer")
    vault.merge("third")
    third.merge("runvault")
    assert tree_of(vault) == tree_of(third)
    assert "/srv/newer" in git(place(vault), "show", "runvault:.dvc/config")


@pytest.mark.parametrize("forward", [True, False])
def test_another_place_for_objects_is_told(vault: rv.Vault, forward: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """What a push sends there are prices, too; whoever may push to the branch may name the place."""
    vault.add_remote("storage", "s3://house/x")
    other = branch_off(vault, "other")
    other.add_remote("second", "s3://second/x")
    if not forward:
        save(vault)
    vault.merge("other")
    assert "DVC remote" not in capfd.readouterr().err
    other.merge("runvault")
    other.add_remote("storage", "s3://eve/\u202e")
    if not forward:
        save(vault, fast=11)
    vault.merge("other")
    told = "warning: objects go to the DVC remote 'storage', 's3://eve/\\u202e', from now on, not to 's3://house/x'"
    assert capfd.readouterr().err.splitlines() == [told]


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize(
    "content",
    [b"[core\n", b"\xff", b"# " + b"x" * (1 << 20)],
    ids=["broken", "no text", "huge"],
)
def test_remotes_that_cannot_be_read_are_refused(vault: rv.Vault, content: bytes, forward: bool) -> None:
    """They would be an error in every command that asks where artifacts are."""
    vault.add_remote("storage", "s3://storage/x")
    other = branch_off(vault, "other")
    run = save(other)
    who = Signature("Mallory", "mallory@example.org")
    other.stores.update(lambda _: Edit(((".dvc/config", content),), "Change", who, datetime.now(UTC)))
    if not forward:
        save(vault, fast=11)

    assert [each["run"] for each in vault.merge("other").refused] == [".dvc/config"]
    assert vault.has(run.id)
    assert [each.url for each in vault.remotes() if each.kind == "dvc"] == ["s3://storage/x"]


def test_no_commit_and_no_archive_are_errors(vault: rv.Vault) -> None:
    with pytest.raises(ConfigError, match="no commit 'nowhere' in this clone"):
        vault.merge("nowhere")
    with pytest.raises(RunvaultError, match="no commit in common"):
        vault.merge("main")


def test_a_merge_leaves_the_checkout_alone(vault: rv.Vault) -> None:
    other = branch_off(vault, "other")
    save(other)
    repo = place(vault)
    (repo / "strategy.py").write_text("FAST = 99\n")
    git(repo, "add", "strategy.py")
    (repo / "strategy.py").write_text("FAST = 100\n")
    before = (git(repo, "status", "--porcelain"), (repo / ".git" / "index").read_bytes())
    vault.merge("other")
    assert (git(repo, "status", "--porcelain"), (repo / ".git" / "index").read_bytes()) == before


def test_a_merge_takes_runs_by_their_trees(vault: rv.Vault) -> None:
    """Runs are taken by their trees: of 20 new runs a merge writes the trees on the path and its commit."""
    other = branch_off(vault, "other")
    save(vault, fast=1)
    for number in range(2, 22):
        save(other, fast=number)
    before = int(git(place(vault), "count-objects").split()[0])
    vault.merge("other")
    written = int(git(place(vault), "count-objects").split()[0]) - before
    shards = {run.id[:2] for run in vault.list()}
    assert written <= len(shards) + 3


def test_the_json_of_a_merge(
    vault: rv.Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runvault.cli.main import run as program

    other = branch_off(vault, "other")
    save(other)
    monkeypatch.chdir(place(vault))
    capsys.readouterr()
    assert program(["merge", "other", "--json"]) == 0
    counts = {"runs_added": 1, "revisions_added": 0, "removed": 0, "artifacts": 0, "bytes": 0}
    assert json.loads(capsys.readouterr().out) == {**counts, "drift": [], "refused": []}
