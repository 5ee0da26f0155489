"""V10: clocks that are decades off, jump while a run is saved, or disagree: nothing is lost, doubled or out of order.

A process of its own has the clock put wrong where runvault looks at it; where libfaketime is found, by that as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self, cast

import pytest
from catalogs import whole
from machine import full_counts, git

import runvault as rv
from runvault.model.ids import RunId

pytestmark = pytest.mark.faults

YEARS_50 = 50 * 365.25 * 86_400
SCRIPT = Path(__file__).with_name("clocked.py")
LIBRARIES = [
    path
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib", os.environ.get("FAKETIME_LIB", "/nowhere"))
    for path in (*Path(folder).glob("faketime/libfaketime.so.1"), *Path(folder).glob("*/faketime/libfaketime.so.1"))
]

ROUNDS = full_counts(2, 20)
WRITERS = full_counts(4, 8)
SAVES = full_counts(3, 25)
SCHEDULES = full_counts(1, 40)
TURNS = full_counts(10, 80)

CLOCKS: dict[str, list[float]] = {
    "50 years ago": [-YEARS_50],
    "in 50 years": [YEARS_50],
    "before 1970": [-YEARS_50 * 1.4],
    "jumps back": [0.0, -0.9, -5.0, -YEARS_50],
    "jumps ahead": [0.0, 0.9, 3600.0, YEARS_50],
    "jumps about": [0.0, -YEARS_50, 0.4, YEARS_50, -0.4, -3600.0, 3600.0],
}


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
    """A process whose whole C library has another time, which jumps every few milliseconds."""
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


def assert_sound(repo: Path) -> rv.Vault:
    """Everything verifies, and a catalog brought up to date is the one that is made anew."""
    vault = rv.open(repo)
    kept = whole(vault.stores.catalog())
    vault.reindex()
    assert whole(rv.open(repo).stores.catalog()) == kept
    assert vault.verify().findings == []
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
@pytest.mark.parametrize("clock", CLOCKS)
def test_nothing_is_lost_or_out_of_order_under_libfaketime(repo: Path, tmp_path: Path, clock: str) -> None:
    rv.init(repo)
    with under_libfaketime(repo, CLOCKS[clock], tmp_path / "faketime") as process:
        known = use_everything(process)
    assert_everything_is_there(repo, known)
