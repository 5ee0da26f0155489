"""What prune takes off the tip, what gc drops from the object store, and all that it must leave."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from machine import full_counts, git, unpack
from results import make_result, make_sweep, with_digest

import runvault as rv
from runvault.api import machine as clock

DVC = Path(sys.executable).with_name("dvc")
ROOTS = (".dvc/cache/files/md5", ".git/runvault/keep/files/md5")


def objects(repo: Path, root: str) -> set[str]:
    return {path.parent.name + path.name for path in (repo / root).rglob("*") if path.is_file()}


def everything(repo: Path) -> set[str]:
    cache, keep = (objects(repo, root) for root in ROOTS)
    assert cache == keep
    return cache


def md5s(run: rv.Run) -> set[str]:
    return {entry["md5"] for entry in run.artifacts.values()}


def save(vault: rv.Vault, total_return: float, **more: object) -> rv.Run:
    said = {"strategy": "s", "params": {"r": total_return}, **more}
    return vault.save(make_result(total_return), **said).run  # type: ignore[arg-type]


# prune


@pytest.fixture
def aged(vault: rv.Vault, monkeypatch: pytest.MonkeyPatch) -> dict[str, rv.Run]:
    """Return runs of two strategies: their names say strategy, age in days and total return in percent."""
    today = datetime(2026, 6, 1, 12, tzinfo=UTC)
    made = {}
    saves = [("a", 300, 50), ("b", 250, 5), ("a", 200, 10), ("a", 100, 30), ("a", 10, 20), ("b", 1, 1)]
    for strategy, age, percent in saves:
        monkeypatch.setattr("runvault.api.vault.now", lambda age=age: today - timedelta(days=age))
        monkeypatch.setattr(clock, "now", lambda age=age: today - timedelta(days=age))
        made[f"{strategy}{age}"] = save(vault, percent / 100, strategy=strategy, tags=["golden"] if age == 200 else [])
    monkeypatch.setattr("runvault.api.vault.now", lambda: today)
    monkeypatch.setattr(clock, "now", lambda: today)
    return made


@pytest.mark.parametrize(
    ("policy", "removed"),
    [
        ({"keep_last": 1}, ["a300", "b250", "a200", "a100"]),
        ({"keep_last": 0}, ["a300", "b250", "a200", "a100", "a10", "b1"]),
        ({"keep_best": 1, "metric": "total_return"}, ["a200", "a100", "a10", "b1"]),
        ({"keep_best": 1, "metric": "max_drawdown"}, ["a300", "b250", "a100", "a10"]),
        ({"keep_tags": ["golden"]}, ["a300", "b250", "a100", "a10", "b1"]),
        ({"older_than": "90d"}, ["a300", "b250", "a200", "a100"]),
        ({"older_than": "2025-10-01"}, ["a300", "b250"]),
        ({"older_than": "90d", "keep_last": 1, "keep_best": 1, "keep_tags": ["golden"]}, ["a100"]),
    ],
)
def test_what_nothing_keeps_goes(
    vault: rv.Vault, aged: dict[str, rv.Run], policy: dict[str, object], removed: list[str]
) -> None:
    if policy.get("metric") == "max_drawdown":
        removed = sorted((n for n in aged if n not in ("a200", "b1")), key=lambda n: aged[n].created_at)
    expected = [aged[name].id for name in removed]
    would = vault.prune(**policy, dry_run=True)  # type: ignore[arg-type]
    assert (would.removed, vault.count()) == (expected, 6)

    done = vault.prune(**policy)  # type: ignore[arg-type]
    assert done == would
    assert {run.id for run in vault.list()} == {run.id for run in aged.values()} - set(expected)
    assert vault.log(1)[0]["kind"] == "remove"
    assert vault.restore(expected[0]).id == expected[0]


def test_an_undefined_metric_is_never_the_best(vault: rv.Vault) -> None:
    flat, poor = save(vault, 0.0), save(vault, -0.5)
    assert flat.metrics["sharpe_ratio"] is None
    assert vault.prune(keep_best=1).removed == [flat.id]
    assert vault.get(poor.id).id == poor.id


def test_a_policy_that_keeps_nothing_is_refused(vault: rv.Vault) -> None:
    save(vault, 0.1)
    with pytest.raises(rv.ConfigError, match="every run"):
        vault.prune()
    with pytest.raises(rv.ConfigError):
        vault.prune(keep_best=1, metric="no_such_metric")
    assert vault.count() == 1


def test_a_misspelt_tag_removes_no_run(vault: rv.Vault) -> None:
    save(vault, 0.1)
    run = save(vault, 0.2)
    vault.tag(run, add=["golden"])
    with pytest.raises(rv.ConfigError, match="no run has the tag 'gloden': nothing would be kept") as caught:
        vault.prune(keep_tags=["gloden"])
    assert caught.value.hint == "did you mean golden?"
    assert vault.prune(keep_tags=["gloden"], keep_last=2).removed == []  # a nightly job, before there is such a run


def test_a_run_that_is_tagged_meanwhile_stays(vault: rv.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    from runvault.integrity import retention

    runs = [save(vault, total_return) for total_return in (0.1, 0.2, 0.3)]
    prunable = retention.prunable

    def slow(*asked: object) -> object:
        chosen = prunable(*asked)  # type: ignore[arg-type]
        vault.tag(runs[0], ["golden"])
        return chosen

    monkeypatch.setattr(retention, "prunable", slow)
    assert vault.prune(keep_last=1, keep_tags=["golden"]).removed == [runs[1].id]
    assert vault.get(runs[0].id).tags == ["golden"]


def test_what_a_sweep_shares_counts_with_its_last_run(vault: rv.Vault) -> None:
    first, second = (each.run for each in vault.save_sweep(make_sweep([0.1, 0.2], fast=[1, 2]), strategy="s"))
    sizes = sum(entry["size"] for entry in first.artifacts.values())
    assert md5s(first) == md5s(second)
    assert vault.space_of(first) == 0
    assert vault.space_of([first, second]) == sizes


# gc


def test_objects_of_removed_runs_go_under_both_names_and_no_others(vault: rv.Vault, repo: Path) -> None:
    kept, gone = save(vault, 0.1), save(vault, 0.2)
    vault.remove(gone)
    would = vault.gc(dry_run=True)
    assert set(would.removed) == md5s(gone) - md5s(kept)
    assert everything(repo) == md5s(kept) | md5s(gone)

    done = vault.gc()
    assert (done.removed, done.size_bytes) == (would.removed, would.size_bytes)
    assert done.size_bytes == sum(e["size"] for e in gone.artifacts.values() if e["md5"] in done.removed)
    assert set(done.of.values()) == {f"{name} of {gone.short_id}" for name in gone.artifacts}
    assert everything(repo) == md5s(kept)
    assert vault.verify().findings == []
    assert vault.gc().removed == []


def test_a_sweep_keeps_what_its_runs_share_until_the_last_is_gone(vault: rv.Vault, repo: Path) -> None:
    first, second = vault.save_sweep(make_sweep([0.1, 0.2], fast=[1, 2]), strategy="s")
    vault.remove(first.run)
    assert vault.gc().removed == []
    vault.remove(second.run)
    assert set(vault.gc().removed) == md5s(first.run) | md5s(second.run)
    assert everything(repo) == set()


@pytest.fixture
def fed(vault: rv.Vault, repo: Path) -> dict[str, rv.Run]:
    """Return three runs: two over the same prices, one over a folder of its own besides."""
    (repo / "prices.csv").write_text("close\n1.0\n")
    (repo / "own").mkdir()
    (repo / "own/a.csv").write_text("close\n2.0\n")
    own = {"prices": repo / "prices.csv", "own": repo / "own"}
    return {
        "first": save(vault, 0.1, data=repo / "prices.csv"),
        "second": save(vault, 0.2, data=own),
        "third": save(vault, 0.3),
    }


def pointed(repo: Path) -> set[str]:
    listed = git(repo, "ls-tree", "-r", "--name-only", "runvault", "data/").split()
    return {path.rpartition("/")[2].removesuffix(".dvc") for path in listed}


def test_inputs_go_with_the_last_run_that_names_them(vault: rv.Vault, repo: Path, fed: dict[str, rv.Run]) -> None:
    prices, own = fed["second"].data["prices"]["md5"], fed["second"].data["own"]["md5"]
    assert pointed(repo) == {f"{prices}.csv", own}
    vault.remove(fed["second"])
    tip = git(repo, "rev-parse", "runvault")
    would = vault.gc(dry_run=True)
    assert own in would.removed
    assert prices not in would.removed
    assert git(repo, "rev-parse", "runvault") == tip, "a dry run writes nothing"

    done = vault.gc()
    assert (done.removed, done.size_bytes) == (would.removed, would.size_bytes)
    assert pointed(repo) == {f"{prices}.csv"}
    assert git(repo, "log", "-1", "--format=%s", "runvault").strip() == "Remove 1 pointer to data that no run needs"
    assert vault.verify().findings == []
    vault.remove(fed["first"])
    assert prices in vault.gc().removed
    assert pointed(repo) == set()
    assert everything(repo) == md5s(fed["third"])
    assert vault.verify().findings == []
    tip = git(repo, "rev-parse", "runvault")
    assert vault.gc().removed == []
    assert git(repo, "rev-parse", "runvault") == tip


def test_a_restored_run_has_the_pointers_to_its_inputs(vault: rv.Vault, repo: Path, fed: dict[str, rv.Run]) -> None:
    before = pointed(repo)
    vault.remove([fed["first"], fed["second"]])
    git(repo, "tag", "keeps", "runvault~1")  # and the objects with it
    assert vault.gc().removed == []
    assert pointed(repo) == set()
    vault.restore(fed["second"].id)
    assert pointed(repo) == before
    assert vault.verify().findings == []


def test_a_merge_brings_back_the_pointers_that_the_other_side_needs(
    vault: rv.Vault, repo: Path, fed: dict[str, rv.Run]
) -> None:
    before = pointed(repo)
    git(repo, "branch", "other", "runvault")
    save(rv.open(repo, branch="other"), 0.4, data=repo / "prices.csv")
    vault.remove([fed["first"], fed["second"]])
    vault.gc()
    assert pointed(repo) == set()
    vault.merge("other")
    assert pointed(repo) == before, "both, for a merge removes no pointer"
    assert vault.verify().findings == []
    git(repo, "branch", "--force", "other", "runvault")
    vault.gc()
    assert pointed(repo) == {f"{fed['first'].data['prices']['md5']}.csv"}


def test_a_run_keeps_its_inputs_when_an_older_revision_goes(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.csv").write_text("close\n1.0\n")
    first = vault.save(make_result(0.1), strategy="s", data=repo / "prices.csv").run
    before = pointed(repo)
    vault.save(with_digest(make_result(0.2), "2"), strategy="s", data=repo / "prices.csv")
    assert md5s(first).issuperset(vault.gc(keep_history=1).removed)
    assert pointed(repo) == before


def test_every_revision_is_kept_unless_fewer_are_asked_for(vault: rv.Vault) -> None:
    revisions = [vault.save(with_digest(make_result(0.1 * n), f"{n}"), strategy="s").run for n in range(1, 5)]
    assert vault.gc().removed == []
    assert set(vault.gc(keep_history=2).removed) == set().union(*map(md5s, revisions[:2])) - md5s(revisions[2])
    assert vault.verify().findings == []
    assert vault.history(revisions[3])[2].file("orders.parquet")
    with pytest.raises(rv.ArtifactMissingError):
        vault.history(revisions[3])[0].file("orders.parquet")


@pytest.mark.parametrize(
    "ref", ["refs/heads/other", "refs/remotes/origin/runvault", "refs/tags/before", "refs/keep/it"]
)
def test_what_another_ref_names_stays(vault: rv.Vault, repo: Path, ref: str) -> None:
    run = save(vault, 0.1)
    git(repo, "update-ref", ref, "runvault")
    vault.remove(run)
    assert vault.gc().removed == []
    git(repo, "update-ref", "-d", ref)
    assert set(vault.gc().removed) == md5s(run)


def test_an_annotated_tag_and_a_detached_checkout_keep_what_they_name(vault: rv.Vault, repo: Path) -> None:
    run = save(vault, 0.1)
    git(repo, "tag", "--annotate", "--message", "paper", "paper", "runvault")
    vault.remove(run)
    assert vault.gc().removed == []
    git(repo, "worktree", "add", "--quiet", "--detach", str(repo.parent / "seen"), "paper")
    git(repo, "tag", "--delete", "paper")
    assert vault.gc().removed == []
    git(repo, "worktree", "remove", str(repo.parent / "seen"))
    assert set(vault.gc().removed) == md5s(run)


def dvc(repo: Path, *args: str) -> None:
    done = subprocess.run([DVC, *args], cwd=repo, env=os.environ.copy(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_users_history_counts_where_the_archive_was_merged_into_it(vault: rv.Vault, repo: Path) -> None:
    """A branch that has both roots is an archive by its files, and its past is the user's all the same."""
    (repo / "prices.csv").write_text("close\n1.0\n")
    name = vault.stores.objects.name_of(repo / "prices.csv")
    (repo / "prices.csv.dvc").write_text(f"outs:\n- md5: {name}\n  hash: md5\n  path: prices.csv\n")
    for command in (
        ["add", "prices.csv.dvc"],
        ["commit", "-m", "one"],
        ["rm", "prices.csv.dvc"],
        ["commit", "-m", "two"],
    ):
        git(repo, *command)
    vault.stores.objects.put_file(repo / "prices.csv")
    vault.stores.objects.settle([name])
    run = save(vault, 0.1)
    parents = ("-p", "HEAD", "-p", "runvault~1")
    both = git(repo, "commit-tree", "-m", "both", *parents, "runvault~1^{tree}").strip()
    git(repo, "update-ref", "refs/heads/both", both)
    vault.remove(run)
    assert set(vault.gc(keep_history=1).removed) == md5s(run)
    assert everything(repo) == {name}


@pytest.mark.parametrize("where", ["uncommitted", "staged", "committed", "in history", "in a stash"])
def test_what_the_users_own_dvc_files_name_stays(vault: rv.Vault, repo: Path, where: str) -> None:
    """The user tracks a file with DVC, and a process of ours put the same content for a run that never came."""
    (repo / "prices.csv").write_text("close\n1.0\n")
    (repo / "other.csv").write_text("close\n2.0\n")
    dvc(repo, "add", "--quiet", "prices.csv")
    if where != "uncommitted":
        git(repo, "add", "prices.csv.dvc", ".gitignore")
    if where == "in a stash":
        git(repo, "stash", "--quiet")
    if where in ("committed", "in history"):
        git(repo, "commit", "--quiet", "--message", "prices")
    if where == "in history":
        git(repo, "rm", "--quiet", "prices.csv.dvc")
        git(repo, "commit", "--quiet", "--message", "no prices")
    names = put_by_another(repo, "prices.csv", "other.csv")

    assert vault.gc().removed == [names[1]]
    assert objects(repo, ROOTS[0]) >= {names[0]}


PUT = """
import sys
from pathlib import Path
from runvault.stores.dvc import ObjectStore
store = ObjectStore.find(Path.cwd(), Path.cwd() / ".git")
for name in sys.argv[1:]:
    print(store.put_file(Path(name)).md5, flush=True)
"""


def put_by_another(repo: Path, *names: str) -> list[str]:
    """Put files in a process that ends before anything names them."""
    command = [sys.executable, "-c", PUT, *names]
    return subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True).stdout.split()


def test_the_users_objects_that_runvault_never_put_are_not_looked_at(vault: rv.Vault, repo: Path) -> None:
    (repo / "mine.csv").write_text("mine\n")
    dvc(repo, "add", "--quiet", "mine.csv")
    (repo / "mine.csv.dvc").unlink()  # nothing names it now: that is between the user and `dvc gc`
    before = objects(repo, ROOTS[0])
    assert vault.gc().removed == []
    assert objects(repo, ROOTS[0]) == before


def test_a_folder_keeps_the_files_in_it(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices").mkdir()
    for name in ("a.csv", "b.csv"):
        (repo / f"prices/{name}").write_text(f"{name}\n")
    run = vault.save(make_result(0.1), strategy="s", data=repo / "prices").run
    before = everything(repo)
    assert len(before) == len(run.artifacts) + 3
    assert vault.gc().removed == []
    vault.remove(run)
    assert set(vault.gc().removed) == before
    assert everything(repo) == set()


def test_a_cache_that_others_may_use_keeps_its_names(repo: Path) -> None:
    rv.init(repo)
    dvc(repo, "cache", "dir", "--quiet", "--local", str(repo.parent / "shared"))
    vault = rv.open(repo)
    run = save(vault, 0.1)
    vault.remove(run)
    assert set(vault.gc().removed) == md5s(run)
    assert objects(repo, ROOTS[1]) == set()
    assert objects(repo.parent, "shared/files/md5") == md5s(run)


def test_a_damaged_history_drops_nothing(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(0.1), strategy="s").run
    vault.save(with_digest(make_result(0.2), "again"), strategy="s")
    blob = git(repo, "rev-parse", f"runvault~1:runs/{run.id[:2]}/{run.id}/manifest.json").strip()
    unpack(repo)
    (repo / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    before = everything(repo)
    with pytest.raises(rv.IntegrityError, match="nobody can say what is needed"):
        vault.gc(keep_history=1)
    assert everything(repo) == before


def test_a_shallow_clone_drops_nothing(vault: rv.Vault, repo: Path) -> None:
    save(vault, 0.1)
    git(repo.parent, "clone", "--quiet", "--depth=1", "--branch=runvault", repo.as_uri(), "clone")
    with pytest.raises(rv.IntegrityError, match="shallow"):
        rv.open(repo.parent / "clone", read_only=True).gc()


# A save beside it

SAVE = """
import sys
sys.path.insert(0, sys.argv[1])
import runvault as rv
from results import make_result
from runvault.archive import saving

vault = rv.open(".")
inputs_of = saving.inputs_of

def slow(stores, request):
    put = inputs_of(stores, request)
    print("put", flush=True)
    sys.stdin.readline()  # a backtest of six hours
    return put

saving.inputs_of = slow
run = vault.save(make_result(0.3), strategy="slow", data="prices.csv").run
print(run.id, flush=True)
"""


def test_the_inputs_of_a_save_in_progress_stay(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.csv").write_text("close\n1.0\n")
    command = [sys.executable, "-c", SAVE, str(Path(__file__).parents[1])]
    saver = subprocess.Popen(command, cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert saver.stdin is not None
    assert saver.stdout is not None
    assert saver.stdout.readline() == "put\n"
    assert len(everything(repo)) == 1
    assert vault.gc().removed == []
    saver.stdin.write("go\n")
    saver.stdin.close()
    run = saver.stdout.readline().strip()
    assert saver.wait(60) == 0
    saver.stdout.close()
    assert vault.verify([run]).findings == []
    assert vault.verify().findings == []


def test_what_a_killed_save_put_goes(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.csv").write_text("close\n1.0\n")
    command = [sys.executable, "-c", SAVE, str(Path(__file__).parents[1])]
    with subprocess.Popen(command, cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as saver:
        assert saver.stdout is not None
        assert saver.stdout.readline() == "put\n"
        saver.kill()
    (left,) = everything(repo)
    assert vault.gc().removed == [left]
    assert everything(repo) == set()
    assert list((repo / ".git/runvault/pending").glob("*")) == []


MANY = """
import sys
sys.path.insert(0, sys.argv[1])
import runvault as rv
from results import make_result

vault = rv.open(".")
for number in range(int(sys.argv[3])):
    # The same few results again and again under new addresses: their objects are there, dropped, or being dropped
    run = vault.save(make_result(0.1 * (number % 3)), strategy=sys.argv[2], params={"n": number}, data="prices.csv").run
    print(run.id, flush=True)
    if number % 2:
        vault.remove(run)
print("done", flush=True)
"""


@pytest.mark.faults
def test_collections_beside_savers_take_nothing_that_is_saved(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.csv").write_text("close\n1.0\n")
    count = full_counts(12, 150)
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, str(Path(__file__).parents[1]), f"s{number}", str(count)],
            cwd=repo,
            stdout=subprocess.DEVNULL,
        )
        for number in range(2)
    ]
    collections = dropped = 0
    while any(saver.poll() is None for saver in savers):
        dropped += len(vault.gc().removed)
        collections += 1
    assert [saver.returncode for saver in savers] == [0, 0]
    assert collections >= 5
    assert vault.count() == 2 * ((count + 1) // 2)
    assert vault.verify(artifacts=True).findings == []
    assert vault.verify().checked["kept"] == 0


def test_what_a_transfer_remembers_keeps_nothing(vault: rv.Vault, repo: Path, tmp_path: Path) -> None:
    """Where a remote moved, the commit up to which the old place had all stays remembered for ever."""
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "origin.git"))
    vault = rv.open(repo)
    vault.add_remote("storage", str(tmp_path / "old"))
    run = save(vault, 0.1)
    vault.push()
    vault.pull()
    vault.add_remote("storage", str(tmp_path / "new"))
    vault.remove(run)
    assert vault.gc().removed == []  # the remote branch has it

    vault.push()
    assert set(vault.gc().removed) == md5s(run)
