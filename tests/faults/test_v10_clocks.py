"""V10: clocks that are decades off, jump while a run is saved, or disagree: nothing is lost, doubled or out of order.

A process of its own has the clock put wrong where runvault looks at it; where libfaketime is found, by that as well.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self, cast

import pytest
from catalogs import whole
from machine import full_counts, git
from team import name_storage

import runvault as rv
from runvault.api.sharing import clone
from runvault.model.ids import RunId
from runvault.model.records import dump_json
from runvault.stores.git.journal import Journal, Move, lock_of
from runvault.stores.git.lock import write_lock

pytestmark = pytest.mark.faults

YEARS_50 = 50 * 365.25 * 86_400
SCRIPT = Path(__file__).with_name("clocked.py")
LIBRARIES = [
    path
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib", os.environ.get("FAKETIME_LIB", "/nowhere"))
    for path in (*Path(folder).glob("faketime/libfaketime.so.1"), *Path(folder).glob("*/faketime/libfaketime.so.1"))
]

CLOCKS: dict[str, list[float]] = {
    "50 years ago": [-YEARS_50],
    "in 50 years": [YEARS_50],
    "before 1970": [-YEARS_50 * 1.4],
    "jumps back": [0.0, -0.9, -5.0, -YEARS_50],
    "jumps ahead": [0.0, 0.9, 3600.0, YEARS_50],
    "jumps about": [0.0, -YEARS_50, 0.4, YEARS_50, -0.4, -3600.0, 3600.0],
}

ROUNDS = full_counts(2, 20)
WRITERS = full_counts(4, 8)
SAVES = full_counts(3, 25)
CLONES = full_counts(3, len(CLOCKS))
SCHEDULES = full_counts(1, 40)
TURNS = full_counts(10, 80)


class Clocked:
    """A process with a clock of its own that does what it is told; see clocked.py."""

    def __init__(self, folder: Path, clock: Sequence[float], **env: str) -> None:
        more = {"PYTHONPATH": str(SCRIPT.parent.parent), "PYTHONWARNINGS": "error", **env}
        args = [sys.executable, str(SCRIPT), str(folder), json.dumps(list(clock))]
        self._process = subprocess.Popen(
            args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | more
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tell_no_more()
        cast(IO[str], self._process.stdout).close()
        assert self._process.wait(60) == 0

    def tell(self, do: str, **words: Any) -> None:
        """Give it a step, and do not wait."""
        stdin = cast(IO[str], self._process.stdin)
        stdin.write(json.dumps({"do": do, **words}) + "\n")
        stdin.flush()

    def tell_no_more(self) -> None:
        cast(IO[str], self._process.stdin).close()

    def answer(self) -> dict[str, Any]:
        return dict(json.loads(cast(IO[str], self._process.stdout).readline()))

    def ask(self, do: str, **words: Any) -> Any:
        """Give it a step that has to succeed and return what came of it."""
        self.tell(do, **words)
        answer = self.answer()
        assert "done" in answer, answer
        return answer["done"]

    def run(self, *args: str) -> str:
        status, said = self.ask("command", args=list(args))
        assert status == 0, (args, said)
        return str(said)


@contextmanager
def under_libfaketime(folder: Path, clock: Sequence[float], file: Path) -> Iterator[Clocked]:
    """A process whose whole C library, and the git programs it calls, have another time, which jumps at each step."""
    turns = [f"{offset:+.6f}" for offset in clock]
    file.write_text(turns[0])
    env = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    with Clocked(folder, [], **env) as process:
        ask, count = process.ask, iter(range(1 << 30))

        def jumping(do: str, **words: Any) -> Any:
            fresh = file.with_suffix(".new")
            fresh.write_text(turns[next(count) % len(turns)])
            fresh.replace(file)
            return ask(do, **words)

        process.ask = jumping  # type: ignore[method-assign]
        yield process


# What has to be so, whatever the clocks said


def commit_times(repo: Path) -> dict[str, int]:
    listed = git(repo, "log", "--format=%H %ct", "runvault").split()
    return dict(zip(listed[::2], map(int, listed[1::2]), strict=True))


def assert_in_order(repo: Path, vault: rv.Vault) -> None:
    """No commit is earlier than its parents, no run than the commit it was made on; revisions come as history has."""
    times = commit_times(repo)
    brought: dict[str, list[str]] = {}
    for line in git(repo, "log", "--reverse", "--topo-order", "--format=%H %P", "runvault").splitlines():
        commit, *parents = line.split()
        assert all(times[commit] >= times[parent] for parent in parents)
        if len(parents) != 1:
            continue
        changed = git(repo, "diff-tree", "-r", "-z", "--no-renames", parents[0], commit).split("\0")
        for meta, path in zip(changed[::2], changed[1::2], strict=False):
            run = RunId.from_path(path)
            new = meta.split()[3]
            if run is None or not path.endswith("/manifest.json") or not new.strip("0"):
                continue
            manifest = json.loads(git(repo, "cat-file", "blob", new))
            if new not in brought.setdefault(str(run), []):
                created = datetime.fromisoformat(manifest["created_at"])
                assert created >= datetime.fromtimestamp(times[parents[0]], UTC)
                brought[str(run)].append(new)
    for run, blobs in brought.items():
        revisions = vault.stores.catalog().revisions(vault.stores.repository.ref, run)
        assert [revision.blob for revision in revisions] == blobs, run
    shown = [(run["created_at"], run["id"]) for run in vault.iter_members(vault.selection())]
    assert shown == sorted(sorted(shown, key=lambda each: each[1]), key=lambda each: each[0], reverse=True)
    assert len({run for _, run in shown}) == len(shown)


def assert_sound(repo: Path, *, objects: bool = True) -> rv.Vault:
    """Everything verifies, and a catalog brought up to date is the one that is made anew.

    Without `objects`, those of others may not be here yet.
    """
    vault = rv.open(repo)
    kept = whole(vault.stores.catalog())
    vault.reindex()
    assert whole(rv.open(repo).stores.catalog()) == kept
    found = [each for each in vault.verify().findings if objects or not each.problem.endswith("is not here")]
    assert found == []
    git(repo, "fsck", "--strict", "--no-dangling")
    return vault


def use_everything(process: Clocked) -> list[str]:
    """Save, revise, sweep, annotate, remove and restore; return the runs that were revised."""
    known: list[str] = []
    for turn in range(ROUNDS):
        run, created = process.ask("save", n=turn, total=0.1, tags=["first"], note="saved")
        assert created
        for revision in (0.2, 0.3, 0.4):
            assert process.ask("save", n=turn, total=revision) == [run, True]
        assert process.ask("save", n=turn, total=0.4) == [run, False]
        for note in ("b", "a", "c"):
            process.ask("update", method="note", args=[run, note])
        process.ask("update", method="tag", args=[run, ["golden"], ["first"]])
        process.ask("update", method="tag", args=[run, ["first"], ["golden"]])
        process.ask("update", method="alias", args=["best", run])
        said = process.ask("members", run=run)
        assert (said["tags"], said["note"], said["alias"]) == (["first"], "saved\nb\na\nc", "best")
        process.ask("update", method="remove", args=[run])
        assert process.ask("save", n=turn, total=0.5)[1]
        process.ask("update", method="restore", args=[f"{run}~1"])
        process.ask("update", method="remove", args=[run])
        process.ask("update", method="restore", args=[run])
        known.append(run)
        swept = process.ask("sweep", ns=[100 * turn + 50, 100 * turn + 51], totals=[0.1, 0.2])
        again = process.ask("sweep", ns=[100 * turn + 50, 100 * turn + 51], totals=[0.15, 0.2])
        assert [created for _, created in (*swept, *again)] == [True, True, True, False]
        process.ask("sweep", ns=[100 * turn + 50, 100 * turn + 51], totals=[0.2, 0.2])
    return known


def assert_everything_is_there(repo: Path, known: Sequence[str]) -> None:
    vault = assert_sound(repo)
    assert_in_order(repo, vault)
    assert vault.list().total == 3 * ROUNDS
    for run in known:
        totals = [revision.metrics["total_return"] for revision in vault.history(run)]
        assert totals == [0.1, 0.2, 0.3, 0.4, 0.5]
        assert vault.get(run).metrics["total_return"] == 0.4
        assert vault.get(run).revision == 4
        # The save after the removal began anew, with no words; the restore took those that the run had then.
        assert vault.get(run).tags == []
    assert len(commit_times(repo)) == git(repo, "log", "--format=%s", "runvault").count("\n")


@pytest.mark.parametrize("clock", CLOCKS)
def test_nothing_is_lost_or_out_of_order_whatever_the_clock_says(repo: Path, clock: str) -> None:
    rv.init(repo)
    with Clocked(repo, CLOCKS[clock]) as process:
        known = use_everything(process)
    assert_everything_is_there(repo, known)


@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")
@pytest.mark.parametrize("clock", list(CLOCKS)[: full_counts(2, len(CLOCKS))])
def test_nothing_is_lost_or_out_of_order_under_libfaketime(repo: Path, tmp_path: Path, clock: str) -> None:
    rv.init(repo)
    with under_libfaketime(repo, CLOCKS[clock], tmp_path / "faketime") as process:
        known = use_everything(process)
    assert_everything_is_there(repo, known)


# Several clocks


def test_writers_whose_clocks_disagree_lose_nothing(repo: Path) -> None:
    rv.init(repo)
    clocks = [*CLOCKS.values(), [0.0]]
    with ExitStack() as stack:
        writers = [stack.enter_context(Clocked(repo, clocks[n % len(clocks)])) for n in range(WRITERS)]
        for n, writer in enumerate(writers):
            for turn in range(SAVES):
                writer.tell("save", n=turn, total=(n + 1) / 10)  # one address for all: each a revision, or known
                writer.tell("save", n=100 + SAVES * n + turn, total=0.5, tags=[f"by-{n}"])
        answers = [writer.answer() for writer in writers for _ in range(2 * SAVES)]
    assert all("done" in answer for answer in answers), answers
    vault = assert_sound(repo)
    assert_in_order(repo, vault)
    assert {answer["done"][0] for answer in answers} == {run.id for run in vault.list()}
    assert vault.list().total == SAVES * (WRITERS + 1)
    assert {len(run.tags) for run in vault.list() if run.params["n"] >= 100} == {1}
    made = sum(answer["done"][1] for answer in answers)
    assert sum(len(vault.history(run)) for run in vault.list()) == made
    assert git(repo, "rev-list", "--count", "runvault").strip() == str(made + 1)


@pytest.fixture
def origin(tmp_path: Path, repo: Path) -> Path:
    path = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", str(path))
    git(repo, "remote", "add", "origin", str(path))
    vault = rv.init(repo)
    name_storage(repo, tmp_path / "storage")
    git(repo, "add", ".dvc", ".dvcignore")
    git(repo, "commit", "--quiet", "--message", "dvc: a remote")
    vault.push()
    git(repo, "push", "--quiet", "origin", "main")
    return path


@pytest.mark.parametrize("schedule", range(SCHEDULES))
def test_clones_whose_clocks_disagree_end_with_one_tree(origin: Path, tmp_path: Path, schedule: int) -> None:
    chance = random.Random(schedule)
    names = sorted(CLOCKS)[:CLONES]
    folders = [tmp_path / name.replace(" ", "-") for name in names]
    for folder in folders:
        clone(str(origin), folder, None, artifacts=True, data=True)
    saved: set[str] = set()
    results: set[tuple[str, float]] = set()
    notes: Counter[str] = Counter()
    with ExitStack() as stack:
        clones = [
            stack.enter_context(Clocked(folder, CLOCKS[name])) for folder, name in zip(folders, names, strict=True)
        ]
        for turn in range(TURNS):
            each = chance.choice(clones)
            address, total = chance.randrange(4), chance.randrange(1, 4) / 10
            run, _ = each.ask("save", n=address, total=total)
            saved.add(run)
            results.add((run, total))
            if chance.random() < 0.5:
                each.ask("update", method="note", args=[run, f"note {turn}"])
                notes[run] += 1
            if chance.random() < 0.5:
                each.run(chance.choice(["push", "pull"]))
        for _ in range(2):
            for each in clones:
                each.run("push")
        for each in clones:
            each.run("pull")
    assert len({git(folder, "rev-parse", "runvault^{tree}") for folder in folders}) == 1
    for folder in folders:
        vault = assert_sound(folder)
        assert {run.id for run in vault.list()} == saved
        history = {(run, each.metrics["total_return"]) for run in saved for each in vault.history(run)}
        assert history == results
        assert {run: len(vault.get(run).note.splitlines()) for run in saved} == {run: notes[run] for run in saved}
        times = commit_times(folder)
        for line in git(folder, "log", "--format=%H %P", "runvault").splitlines():
            commit, *parents = line.split()
            assert all(times[commit] >= times[parent] for parent in parents)


def test_a_merge_gives_one_tree_whoever_merges_at_whatever_time(origin: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("ada", "grace")]
    clocks = [[-YEARS_50], [YEARS_50]]
    for folder in folders:
        clone(str(origin), folder, None, artifacts=True, data=True)
    with ExitStack() as stack:
        ada, grace = (stack.enter_context(Clocked(*each)) for each in zip(folders, clocks, strict=True))
        for n, each in enumerate((ada, grace)):
            run, _ = each.ask("save", n=0, total=0.1 + n / 10, tags=[f"by-{n}"], note=f"note {n}")
            each.ask("update", method="alias", args=[f"best-{n}", run])
        for folder, other in (folders, folders[::-1]):
            git(folder, "fetch", "--quiet", str(other), "runvault:refs/heads/other")
        for each in (ada, grace):
            each.run("merge", "other")
    trees = {git(folder, "rev-parse", "runvault^{tree}") for folder in folders}
    assert len(trees) == 1
    for folder in folders:
        run = assert_sound(folder, objects=False).get("latest")
        assert run.metrics["total_return"] == 0.2  # of two results the one that says it is later
        assert (sorted(run.tags), run.note, run.alias) == (["by-0", "by-1"], "note 0\nnote 1", "best-1")


# Locks and limits


def test_no_lock_is_broken_by_age_and_no_limit_follows_the_clock(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = rv.init(repo)
    with Clocked(repo, CLOCKS["jumps about"]) as process:
        process.ask("save", n=0, total=0.1)  # everything is imported
        branch = lock_of(repo / ".git", "refs/heads/runvault")
        for made in full_counts([1.0], [1.0, time.time() + YEARS_50]):
            branch.write_text("")
            os.utime(branch, (made, made))
            begun = time.monotonic()
            process.tell("save", n=1, total=0.1)
            assert process.answer()["error"] == "BusyError"
            assert 9 < time.monotonic() - begun < 30  # LOCKED_S, on the monotonic clock
            assert branch.exists()
        branch.unlink()
        state = vault.stores.repository.state_dir
        with write_lock(state, 1):
            for made in (1.0, time.time() + YEARS_50):
                os.utime(state / "write.lock", (made, made))
                process.tell("save", n=2, total=0.1)
                time.sleep(1)
                assert vault.list().total == 1
            os.utime(state / "write.lock", (1, 1))
        assert all("done" in process.answer() for _ in range(2))
    assert vault.list().total == 2


def test_the_lock_of_a_dead_writer_goes_though_the_clock_jumped_back_before_it(repo: Path) -> None:
    vault = rv.init(repo)
    ref, lock = vault.stores.repository.ref, lock_of(repo / ".git", "refs/heads/runvault")
    Journal(repo / ".git").write(Move(ref, vault.stores.repository.tip(), "1" * 40))
    lock.write_text("1" * 40 + "\n")
    os.utime(lock, (1, 1))
    with Clocked(repo, [0.0]) as process:
        process.ask("save", n=1, total=0.1)
    assert not lock.exists()


# Spellings of time


ZONES = ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu"]


@pytest.mark.parametrize("zone", ZONES[: full_counts(2, 4)])
@pytest.mark.parametrize("change", ["2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"])
def test_a_change_of_the_local_time_changes_nothing(repo: Path, zone: str, change: str) -> None:
    rv.init(repo)
    begin = datetime.fromisoformat(change).timestamp() - time.time() - 1800
    clock = [begin + 10 * turn for turn in range(2000)]
    query = ["list", "--json", "--since", change[:19], "--until", "2026-12-31"]
    with Clocked(repo, clock, TZ=zone) as process:
        runs = [process.ask("save", n=turn, total=turn / 10)[0] for turn in range(8)]
        here = [process.run(*args) for args in (["list", "--json"], query, ["show", "latest"], ["log", "--json"])]
    with Clocked(repo, [], TZ="UTC") as process:
        there = [process.run(*args) for args in (["list", "--json"], query, ["show", "latest"], ["log", "--json"])]
    assert here == there
    assert [run["id"] for run in json.loads(here[0])["runs"]] == runs[::-1]
    assert_in_order(repo, assert_sound(repo))


LEAP = "2016-12-31T23:59:60.000000Z"


def test_a_leap_second_is_no_time_for_anybody(repo: Path) -> None:
    vault = rv.init(repo)
    with Clocked(repo, [datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() - time.time()]) as process:
        run, _ = process.ask("save", n=0, total=0.1)
        sound = process.ask("save", n=1, total=0.1)[0]
        for option in ("--since", "--until"):
            assert process.ask("command", args=["list", option, LEAP])[0] == 13
        # Another program spells the second that its clock shows.
        git(repo, "worktree", "add", "--quiet", "../other", "runvault")
        other = repo.parent / "other"
        path = other / RunId.parse(run).path / "manifest.json"
        path.write_bytes(dump_json({**json.loads(path.read_bytes()), "created_at": LEAP}))
        git(other, "commit", "--quiet", "--all", "--message", "a leap second")
        git(repo, "worktree", "remove", "--force", str(other))
        listed = process.run("list", "--json")
        assert [each["id"] for each in json.loads(listed)["runs"]] == [sound]
        assert process.ask("command", args=["show", run])[0] in (11, 20)
        process.ask("save", n=2, total=0.1)
    assert [finding.run for finding in vault.verify().findings] == [run]


LATE = [2**32, 253_402_300_800, 2**32 - 1, 253_402_300_799, 99_999_999_999_999]


@pytest.mark.parametrize("seconds", LATE[: full_counts(2, 5)])
def test_behind_a_commit_of_any_year_there_is_another(repo: Path, seconds: int) -> None:
    vault = rv.init(repo)
    tree, tip = git(repo, "rev-parse", "runvault^{tree}", "runvault").split()
    by = f"Ada <ada@example.org> {seconds} +0000"
    content = f"tree {tree}\nparent {tip}\nauthor {by}\ncommitter {by}\n\nmuch later\n"
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"], cwd=repo, input=content.encode(), capture_output=True
    )
    git(repo, "update-ref", "refs/heads/runvault", made.stdout.decode().strip())
    with Clocked(repo, [0.0]) as process:
        run, _ = process.ask("save", n=1, total=0.1, note="one")
        assert process.ask("save", n=1, total=0.2) == [run, True]
        process.ask("update", method="note", args=[run, "another"])
        process.ask("sweep", ns=[5, 6], totals=[0.1, 0.2])
        assert process.ask("members", run=run)["note"] == "one\nanother"
        assert len(json.loads(process.run("log", "--json"))["commits"]) == 6
    assert [each.metrics["total_return"] for each in vault.history(run)] == [0.1, 0.2]
    assert set(list(commit_times(repo).values())[:-1]) == {seconds}
