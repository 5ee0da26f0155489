"""Runs go to a remote and come to others, with their artifacts."""

from __future__ import annotations

import os
import re
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path

import pytest
from machine import git
from team import Team, place, save, tree_of

import runvault as rv
from runvault.api.sharing import clone
from runvault.archive.admission import Sound, check_run_folder
from runvault.errors import ConfigError, RunvaultError
from runvault.model.ids import RunId
from runvault.model.manifest import Manifest
from runvault.sharing import incoming


def objects_in(storage: Path) -> set[str]:
    found = (storage / "files" / "md5").glob("*/*")
    return {path.parent.name + path.name for path in found}


def test_what_is_pushed_another_one_gets_whole(team: Team) -> None:
    run = save(team.ada, tags=["golden"])
    pushed = team.ada.push()
    assert (pushed.runs_added, pushed.artifacts) == (1, 5)
    assert objects_in(team.storage) == {entry["md5"] for entry in run.artifacts.values()}
    grace = team.join("Grace")
    assert tree_of(grace) == tree_of(team.ada)
    copy = grace.get(run.id)
    assert copy.tags == ["golden"]
    assert copy.metrics == run.metrics
    assert copy.equity().equals(run.equity())


def test_revisions_that_are_pushed_at_once_come_with_all_their_artifacts(team: Team) -> None:
    """Their pointers have the same paths."""
    run, later = save(team.ada, 0.1), save(team.ada, 0.2)
    assert run.id == later.id
    first, second = ({entry["md5"] for entry in each.artifacts.values()} for each in (run, later))
    assert team.ada.push().artifacts == len(first | second)
    assert objects_in(team.storage) == first | second
    grace = team.join("Grace")
    shutil.rmtree(team.storage)
    assert grace.get(f"{run.id}~1").equity().equals(run.equity())


def test_a_remote_may_be_a_relative_path(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git takes it: from the root of the checkout, whatever folder of it we stand in."""
    here = place(team.ada)
    git(here, "remote", "set-url", "origin", os.path.relpath(team.origin, here))
    (here / "deep").mkdir()
    monkeypatch.chdir(here / "deep")
    save(team.ada)
    assert rv.open().push().runs_added == 1
    assert rv.open().pull().runs_added == 0


def test_a_second_push_sends_only_what_is_new(team: Team) -> None:
    save(team.ada)
    team.ada.push()
    assert (team.ada.push().runs_added, team.ada.push().artifacts) == (0, 0)
    save(team.ada, 0.2, fast=11)
    again = team.ada.push()
    assert (again.runs_added, again.artifacts) == (1, 5)


def test_what_the_remote_has_by_plain_git_is_not_counted_again(team: Team) -> None:
    save(team.ada)
    git(place(team.ada), "push", "--quiet", "origin", "runvault")
    assert team.ada.push().runs_added == 0
    save(team.ada, fast=11)
    git(place(team.ada), "push", "--quiet", "origin", "runvault")
    save(team.ada, fast=12)
    assert team.ada.push().runs_added == 1


def test_a_rejected_push_merges_and_tries_again(team: Team) -> None:
    save(team.ada, fast=1)
    team.ada.push()
    grace = team.join("Grace")
    save(team.ada, fast=2)
    team.ada.push()
    theirs = save(grace, fast=3)
    pushed = grace.push()
    assert pushed.runs_added == 1
    assert {run.params["fast"] for run in grace.list()} == {1, 2, 3}
    pulled = team.ada.pull()
    assert (pulled.runs_added, pulled.artifacts) == (1, 5)
    assert team.ada.get(theirs.id).equity().equals(theirs.equity())
    assert tree_of(team.ada) == tree_of(grace)
    git(place(team.ada), "fsck", "--strict")


def test_equal_results_that_a_push_sends_are_no_drift(team: Team) -> None:
    team.ada.push()
    grace = team.join("Grace")
    theirs, ours = save(team.ada, 0.1), save(grace, 0.1)
    team.ada.push()
    pushed = grace.push()
    assert (theirs.id, pushed.revisions_added, pushed.drift) == (ours.id, 1, ())

    save(grace, 0.2)
    assert grace.push().drift == (ours.id,)


def test_a_drift_is_told_with_a_name_that_one_run_alone_has(
    team: Team, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runvault.cli.main import run as program

    monkeypatch.chdir(place(team.ada))
    for seed in (0, 1):
        save(team.ada, 0.1, seed=seed)
    team.ada.push()
    save(team.ada, 0.2, seed=1)
    capsys.readouterr()
    assert program(["push"]) == 0
    told = re.search(r"'runvault (diff \S+ \S+)' shows", capsys.readouterr().err)
    assert told is not None
    assert program(told[1].split()) == 0


@pytest.mark.parametrize("stays", ["theirs", "ours", "an earlier one", "a removed one"])
def test_a_drift_that_came_is_told_with_both_sides(
    team: Team, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stays: str
) -> None:
    from runvault.cli.main import run as program

    run = save(team.ada, 0.1)
    if stays == "an earlier one":
        save(team.ada, 0.2)
    team.ada.push()
    grace = team.join("Grace")
    if stays == "an earlier one":
        team.ada.restore(f"{run.id}~1")
    else:
        save(team.ada, 0.2)
    if stays == "ours":
        save(grace, 0.3)
    if stays == "a removed one":  # what grace says of it, Ada has not seen
        team.ada.remove(run.id)
        grace.tag(run.id, add=["golden"])
    team.ada.push()
    monkeypatch.chdir(place(grace))
    capsys.readouterr()
    assert program(["pull"]) == 0
    told = re.search(r"'runvault (diff \S+ \S+)' shows", capsys.readouterr().err)
    assert told is not None
    assert rv.open(place(grace)).history(run.id)[-1].metrics["total_return"] == (0.3 if stays == "ours" else 0.2)
    assert program([*told[1].split(), "--exit-code"]) == 1


def test_artifacts_that_stayed_behind_are_fetched_when_first_needed(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save(team.ada)
    team.ada.push()
    grace = rv.open(team.join("Grace").stores.repository.start)
    later = save(team.ada, 0.7, fast=11)
    team.ada.push()
    pulled = grace.pull(artifacts=False)
    assert (pulled.runs_added, pulled.artifacts, len(pulled.withheld or {})) == (1, 0, 5)
    capsys.readouterr()
    assert grace.get(later.id).equity().equals(later.equity())
    assert "fetched 1 object(s)" in capsys.readouterr().err
    assert grace.get(run.id).equity().equals(run.equity())
    assert capsys.readouterr().err == ""


def test_a_pull_holds_one_manifest_at_a_time(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs come: those of 100,000 do not fit, and Python would look for garbage among them again."""
    for fast in range(5):
        save(team.ada, fast=fast)
    team.ada.push()
    read: list[weakref.ref[Manifest]] = []
    held: list[int] = []

    def watched(run: RunId, files: Mapping[str, bytes]) -> Sound:
        held.append(sum(each() is not None for each in read))
        sound = check_run_folder(run, files)
        assert sound.manifest is not None
        read.append(weakref.ref(sound.manifest))
        return sound

    monkeypatch.setattr(incoming, "check_run_folder", watched)
    assert team.join("Grace").count() == 5
    assert (len(held), max(held)) == (5, 0)


def test_a_plain_pull_fetches_what_earlier_ones_left_behind(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [save(team.ada, fast=1)]
    team.ada.push()
    clone(str(team.origin), team.folder / "Grace", None, artifacts=False, data=False)
    grace = rv.open(team.folder / "Grace")
    runs.append(save(team.ada, fast=2))
    team.ada.push()
    assert grace.pull(data=False, artifacts=False).artifacts == 0
    wanted = {entry["md5"] for run in runs for entry in run.artifacts.values()}
    first = min(wanted)
    source = team.storage / "files" / "md5" / first[:2] / first[2:]
    source.rename(source.with_suffix(".away"))
    assert (grace.pull().artifacts, grace.stores.objects.has(first)) == (len(wanted) - 1, False)
    # What the remote did not have is not asked for again, and a pull with nothing new reads no pointer.
    monkeypatch.setattr("runvault.sharing.sync.pointers_brought", lambda *_: pytest.fail("looked at pointers"))
    assert grace.pull().failed == {}


def test_what_a_dvc_remote_lost_is_sent_and_fetched_again_where_that_is_asked(team: Team) -> None:
    run = save(team.ada)
    team.ada.push()
    lost = run.artifacts["equity.parquet"]["md5"]
    (team.storage / "files" / "md5" / lost[:2] / lost[2:]).unlink()
    grace = team.join("Grace")
    assert (grace.pull().artifacts, grace.stores.objects.has(lost)) == (0, False)
    [finding] = grace.verify().findings
    assert "runvault push --all" in (finding.hint or "")

    assert team.ada.push().artifacts == 0
    assert team.ada.push(again=True).artifacts == 1
    assert (grace.pull().artifacts, grace.pull(again=True).artifacts) == (0, 1)
    assert grace.verify().findings == []


def test_a_fetch_that_broke_off_is_made_up_for(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    run = save(team.ada)
    team.ada.push()

    def refuse(*_: object) -> bytes:
        raise RunvaultError("the network is down")

    with monkeypatch.context() as patched:
        patched.setattr("runvault.stores.dvc.transfer.copy_checked", refuse)
        grace = team.join("Grace")
    assert not any(grace.stores.objects.has(entry["md5"]) for entry in run.artifacts.values())
    assert grace.pull().artifacts == 5


def test_what_a_pull_fetched_is_not_held_from_collections(team: Team) -> None:
    team.ada.push()
    grace = team.join("Grace")
    save(team.ada)
    team.ada.push()
    assert grace.pull().artifacts == 5
    with grace.stores.objects.pending.collecting() as noted:
        assert noted == set()


def test_verify_fetches_nothing(team: Team) -> None:
    save(team.ada)
    team.ada.push()
    grace = team.join("Grace")
    later = save(team.ada, fast=11)
    team.ada.push()
    grace.pull(artifacts=False)
    md5 = later.artifacts["equity.parquet"]["md5"]
    found = grace.verify(artifacts=True)
    assert (found.findings, found.checked["on a remote"]) == ([], 5)
    assert not grace.stores.objects.has(md5)
    assert len(grace.get(later.id).equity()) == 20
    assert grace.stores.objects.has(md5)


def test_data_that_is_not_here_is_not_said_to_leave(team: Team) -> None:
    prices = place(team.ada) / "prices.csv"
    prices.write_text("day,close\n2020-01-01,100\n")
    save(team.ada, data={"prices": prices})
    team.ada.push()
    clone(str(team.origin), team.folder / "Grace", None, artifacts=False, data=False)
    grace = rv.open(team.folder / "Grace")
    shutil.rmtree(team.storage)
    team.storage.mkdir()
    named: list[object] = []
    pushed = grace.push(announce=lambda *told: named.append(told))
    assert (pushed.artifacts, named) == (0, [])


def test_data_is_named_before_it_leaves_and_stays_where_that_is_asked(team: Team) -> None:
    prices = place(team.ada) / "prices.csv"
    prices.write_text("day,close\n2020-01-01,100\n")
    (place(team.ada) / ".git" / "info" / "exclude").write_text("/prices.csv\n")
    run = save(team.ada, data={"prices": prices})
    named: list[tuple[dict[str, int], str]] = []
    kept = team.ada.push(data=False, announce=lambda inputs, where: named.append((dict(inputs), where)))
    assert named == []
    [withheld] = kept.withheld or {}
    assert withheld == run.manifest["config"]["data"]["prices"]["md5"]
    sent = team.ada.push(announce=lambda inputs, where: named.append((dict(inputs), where)))
    assert [(list(inputs.values()), where) for inputs, where in named] == [([prices.stat().st_size], str(team.storage))]
    assert sent.artifacts == 1


def test_without_a_dvc_remote_objects_are_named_as_not_sent(team: Team) -> None:
    (place(team.ada) / ".dvc" / "config").write_text("")
    save(team.ada)
    pushed = team.ada.push()
    assert (pushed.runs_added, pushed.artifacts, len(pushed.withheld or {})) == (1, 0, 5)


def test_the_remote_that_the_archive_names_serves_where_the_checkout_names_none(team: Team) -> None:
    (place(team.ada) / ".dvc" / "config").write_text("")
    team.ada.add_remote("shared", str(team.storage))
    assert [(each.name, each.kind, each.default) for each in team.ada.remotes()] == [
        ("origin", "git", True),
        ("shared", "dvc", True),
    ]
    save(team.ada)
    assert team.ada.push().artifacts == 5
    git(place(team.ada), "commit", "--quiet", "--all", "--message", "dvc: no remote")
    git(place(team.ada), "push", "--quiet", "origin", "main")
    grace = team.join("Grace")
    assert len(grace.list()[0].equity()) == 20
    grace.remove_remote("shared")
    assert [each.name for each in grace.remotes()] == ["origin"]
    with pytest.raises(ConfigError, match="no remote 'shared'"):
        grace.remove_remote("shared")


def test_a_damaged_object_is_not_sent_and_nothing_that_points_to_it_is_pushed(team: Team) -> None:
    run = save(team.ada)
    md5 = run.artifacts["equity.parquet"]["md5"]
    for root in (team.ada.stores.objects.keep, team.ada.stores.objects.cache):
        assert root is not None
        path = root / md5[:2] / md5[2:]
        path.chmod(0o644)
        path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(RunvaultError, match=f"could not be sent to 'storage', {md5}"):
        team.ada.push()
    assert git(team.origin, "branch", "--list", "runvault") == ""


def test_a_rewritten_remote_is_refused_with_both_tips_and_nothing_changes_here(team: Team) -> None:
    save(team.ada, fast=1)
    team.ada.push()
    first = git(team.origin, "rev-parse", "runvault").strip()
    save(team.ada, fast=2)
    team.ada.push()
    second = git(team.origin, "rev-parse", "runvault").strip()
    git(team.origin, "update-ref", "refs/heads/runvault", first)
    before = tree_of(team.ada)
    with pytest.raises(RunvaultError, match=rf"went back: it was at {second} and is at {first}"):
        team.ada.pull()
    assert tree_of(team.ada) == before
    # A push restores what the remote has lost.
    team.ada.push()
    assert git(team.origin, "rev-parse", "runvault").strip() == second
    forged = git(team.origin, "commit-tree", f"{first}^{{tree}}", "-p", f"{first}~1", "-m", "rewritten").strip()
    git(team.origin, "update-ref", "refs/heads/runvault", forged)
    with pytest.raises(RunvaultError, match=rf"was rewritten: it was at {second} and is at {forged}"):
        team.ada.pull()
    with pytest.raises(RunvaultError, match="was rewritten"):
        team.ada.push()
    assert tree_of(team.ada) == before


def test_an_unrelated_history_is_refused(team: Team) -> None:
    save(team.ada)
    tree = git(team.origin, "hash-object", "-t", "tree", "-w", "/dev/null").strip()
    other = git(team.origin, "commit-tree", tree, "-m", "something else").strip()
    git(team.origin, "update-ref", "refs/heads/runvault", other)
    before = git(place(team.ada), "rev-parse", "runvault").strip()
    with pytest.raises(RunvaultError, match=rf"at {other}, which has no commit in common.*{before}"):
        team.ada.pull()
    assert git(place(team.ada), "rev-parse", "runvault").strip() == before


def test_a_remote_that_is_gone_for_a_while_is_no_remote_without_objects(team: Team) -> None:
    """As a share that is not mounted: what it has comes with the next pull, and no other takes its place."""
    team.ada.push()
    bob = team.join("Bob")
    first = save(team.ada)
    team.ada.push()
    away = team.storage.rename(team.folder / "away")
    failed = bob.pull().failed
    assert failed is not None
    assert all("has no folder" in problem for problem in failed.values())
    assert len(failed) == len(first.artifacts)

    save(team.ada, fast=11)
    with pytest.raises(RunvaultError, match="the DVC remote 'storage' is gone") as caught:
        team.ada.push()
    assert not team.storage.exists()
    away.rename(team.storage)
    assert bob.pull().artifacts == len(first.artifacts)
    team.ada.push()
    assert bob.pull().runs_added == 1
    assert bob.verify().findings == []

    # It may as well begin anew.
    shutil.rmtree(team.storage)
    save(team.ada, fast=12)
    git(place(team.ada), *re.findall(r"'git (update-ref -d \S+)'", str(caught.value.hint))[0].split())
    assert team.ada.push().artifacts == 3 * len(first.artifacts)


def test_a_pull_that_fails_leaves_no_empty_archive(team: Team, tmp_path: Path) -> None:
    """It would list no runs, as if all were well. Here the clone has one commit of the archive, and no more."""
    run = save(team.ada)
    team.ada.push()
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-single-branch", team.origin.as_uri(), "fresh")
    from runvault.api.vault import find_vault

    vault = find_vault(tmp_path / "fresh")
    with pytest.raises(RunvaultError, match="no commit in common") as caught:
        vault.pull()
    assert "git fetch --unshallow" in str(caught.value.hint)
    assert vault.stores.repository.tip() is None
    git(tmp_path / "fresh", "fetch", "--quiet", "--unshallow")
    assert vault.pull().runs_added == 1
    assert vault.get(run.id).metrics == run.metrics
    assert vault.verify(artifacts=True).findings == []


def test_pulling_from_where_there_is_nothing_says_so(team: Team) -> None:
    with pytest.raises(RunvaultError, match="'origin' has no archive branch 'runvault'"):
        team.ada.pull()
    with pytest.raises(ConfigError, match="no Git remote 'upstream'"):
        team.ada.pull("upstream")


def test_pull_makes_the_archive_where_there_is_none(team: Team, tmp_path: Path) -> None:
    run = save(team.ada)
    team.ada.push()
    git(tmp_path, "clone", "--quiet", str(team.origin), "fresh")
    from runvault.api.vault import find_vault

    find_vault(tmp_path / "fresh").pull()
    assert rv.open(tmp_path / "fresh").get(run.id).metrics == run.metrics
