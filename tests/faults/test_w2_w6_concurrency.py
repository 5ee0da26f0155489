"""Many writers at once, ours and others', and git's housekeeping beside them: nothing acknowledged is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pygit2
import pytest
from driver import save
from harness import assert_sound, new_archive, saved_runs, start
from machine import full_counts, git, unpack

from runvault.errors import RunvaultError
from runvault.stores.git import writing
from runvault.stores.git.additions import NewObjects
from runvault.stores.git.branch import Branch
from runvault.stores.git.edits import Signature
from runvault.stores.git.maintenance import REPACK
from runvault.stores.git.repository import Repository

pytestmark = pytest.mark.faults

PLAIN_WRITER = """
import subprocess, sys
repo, prefix, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def git(*args, **more):
    return subprocess.run(["git", *args], cwd=repo, capture_output=True, text=True, **more)
for number in range(count):
    while True:
        tip = git("rev-parse", "runvault").stdout.strip()
        # The tree stays: what matters is that neither side's commit is lost.
        commit = git("commit-tree", "-p", tip, "-m", f"{prefix}-{number}", f"{tip}^{{tree}}").stdout.strip()
        if git("update-ref", "refs/heads/runvault", commit, tip).returncode == 0:
            break
"""


def finish(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Wait for drivers and return the words of every line they said."""
    lines = []
    for process in processes:
        lines += [line.split() for line in process.communicate(timeout=600)[0].splitlines()]
    return lines


def savers(repository: Repository, count: int, each: int, *more: str) -> list[subprocess.Popen[str]]:
    repo = str(repository.common_dir.parent)
    return [start("save", repo, repository.branch, f"w{number}", str(each), *more) for number in range(count)]


@contextmanager
def in_a_loop(repo: Path, *args: str) -> Iterator[Callable[[], int]]:
    """Run a git command again and again until the block ends."""
    stop = threading.Event()
    passes = []

    def loop() -> None:
        while not stop.is_set():
            subprocess.run(["git", *args], cwd=repo, capture_output=True, check=False)
            passes.append(1)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield lambda: len(passes)
    finally:
        stop.set()
        thread.join()


def test_concurrent_savers_queue(repo: Path) -> None:
    repository = new_archive(repo)
    count, each = full_counts(8, 16), full_counts(6, 50)
    lines = finish(savers(repository, count, each))
    assert Counter(line[0] for line in lines) == {"ack": count * each}
    assert saved_runs(repository) == {f"w{number}-{turn}" for number in range(count) for turn in range(each)}
    assert git(repo, "rev-list", "--count", "runvault") == f"{count * each + 1}\n"
    took = sorted(float(line[3]) for line in lines)
    assert took[int(len(took) * 0.99)] < 10  # 3 s on a quiet machine; nobody starves
    assert_sound(repository)


def test_concurrent_sweeps_and_saves_queue(repo: Path) -> None:
    repository = new_archive(repo)
    each = full_counts(3, 25)
    lines = finish([*savers(repository, 2, each), start("save", str(repo), "runvault", "bulk", str(each), "bulk")])
    assert Counter(line[0] for line in lines) == {"ack": 3 * each}
    assert len(saved_runs(repository)) == 3 * each
    assert_sound(repository)


def test_writers_that_know_nothing_of_our_lock_lose_nothing_and_cost_nothing(repo: Path, tmp_path: Path) -> None:
    repository = new_archive(repo)
    writers, each = full_counts(2, 4), full_counts(8, 50)
    ours = savers(repository, writers, each)
    theirs = [
        subprocess.Popen([sys.executable, "-c", PLAIN_WRITER, str(repo), f"plain{number}", str(each)])
        for number in range(writers)
    ]
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch", "runvault", str(repo), str(clone))
    with in_a_loop(repo, "fetch", "--quiet", str(clone), "runvault:runvault"):
        lines = finish(ours)
        assert [process.wait(600) for process in theirs] == [0] * writers
    assert Counter(line[0] for line in lines) == {"ack": writers * each}
    assert len(saved_runs(repository)) == writers * each
    subjects = Counter(git(repo, "log", "--format=%s", "runvault").split("\n"))
    assert all(subjects[f"plain{number}-{turn}"] == 1 for number in range(writers) for turn in range(each))
    assert git(repo, "rev-list", "--count", "runvault") == f"{2 * writers * each + 1}\n"
    assert_sound(repository)


@pytest.mark.parametrize(
    ("command", "passes"),
    [
        (("pack-refs", "--all", "--prune"), full_counts(10, 500)),
        (("gc", "--quiet"), full_counts(1, 20)),
        (("maintenance", "run", "--task=loose-objects", "--task=incremental-repack"), full_counts(1, 50)),
        (REPACK, full_counts(1, 50)),
    ],
    ids=["pack-refs", "gc", "maintenance", "packing"],
)
def test_saving_beside_housekeeping(repo: Path, command: tuple[str, ...], passes: int) -> None:
    repository = new_archive(repo)
    writers, each = full_counts(2, 3), full_counts(10, 100)
    with in_a_loop(repo, *command) as passed:
        lines = finish(savers(repository, writers, each))
        while passed() < passes:
            lines += finish([start("save", str(repo), "runvault", f"more{passed()}", "5")])
    assert Counter(line[0] for line in lines) == {"ack": len(lines)}
    assert saved_runs(repository) == {line[1] for line in lines}
    assert_sound(repository)


def test_saving_beside_a_prune_that_takes_unreachable_objects(repo: Path) -> None:
    repository = new_archive(repo)
    writers, each = full_counts(2, 3), full_counts(15, 100)
    with in_a_loop(repo, "gc", "--quiet", "--prune=now"):
        lines = finish([*savers(repository, writers, each), start("save", str(repo), "runvault", "b", "3", "bulk")])
    assert {line[0] for line in lines} <= {"ack", "error"}  # a traceback would be neither
    acknowledged = {line[1] for line in lines if line[0] == "ack"}
    assert len(acknowledged) > each / 2
    assert acknowledged <= saved_runs(repository)
    assert_sound(repository)


@pytest.mark.parametrize("command", [("repack", "-a", "-d", "--quiet"), ("gc", "--quiet", "--prune=now")])
def test_what_drops_unreachable_packs_takes_none_that_a_save_has_just_made(
    repo: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    repository = new_archive(repo)
    swap, packs = Branch._swap, repo / ".git/objects/pack"

    def drop_then_swap(self: Branch, *args: Any) -> bool:
        [held] = packs.glob("*.keep")
        git(repo, *command)
        assert held.with_suffix(".pack").exists()
        return swap(self, *args)

    def unneeded(*_: object) -> None:
        raise AssertionError("nothing is gone")

    monkeypatch.setattr(Branch, "_swap", drop_then_swap)
    monkeypatch.setattr(writing.Writer, "_write_again", unneeded)
    assert save(repository, "held") == repository.tip()
    assert not list(packs.glob("*.keep"))
    assert saved_runs(repository) == {"held"}
    assert_sound(repository)


def take_objects(repository: Repository, keep: str) -> None:
    """Do what a prune does that found nothing pointing at the new objects, except to the commit itself."""
    unpack(repository.common_dir.parent)
    reached = git(repository.common_dir, "rev-list", "--objects", "--all").split("\n")
    kept = {line.split(" ")[0] for line in reached} | {keep}
    for path in (repository.common_dir / "objects").glob("??/*"):
        if path.parent.name + path.name not in kept:
            path.unlink()


def test_objects_pruned_before_the_branch_moves_are_written_again(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = new_archive(repo)
    write, prunes = NewObjects.write, []

    def write_then_prune(new: NewObjects, folder: Path, needed: set[str]) -> None:
        write(new, folder, needed)
        if len(prunes) < 3:
            unpack(repo)
            prunes.append(git(repo, "prune", "--expire=now"))

    monkeypatch.setattr(NewObjects, "write", write_then_prune)
    assert save(repository, "pruned") == repository.tip()
    assert len(prunes) == 3
    assert saved_runs(repository) == {"pruned"}
    assert_sound(repository)


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_objects_pruned_as_the_branch_moves_are_written_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, bulk: bool
) -> None:
    repository = new_archive(repo)
    swap = Branch._swap

    def prune_then_swap(
        self: Branch, handle: pygit2.Repository, author: Signature, old: str, new: str, subject: str
    ) -> bool:
        take_objects(repository, keep=new)
        return swap(self, handle, author, old, new, subject)

    monkeypatch.setattr(Branch, "_swap", prune_then_swap)
    assert save(repository, "pruned", bulk=bulk) == repository.tip()
    assert saved_runs(repository) == {"pruned"}
    assert_sound(repository)


@pytest.mark.parametrize("first", [False, True])
def test_a_writer_that_dies_on_pruned_objects_leaves_no_broken_branch(
    repo: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    repository = Repository.find(repo) if first else new_archive(repo)
    before = repository.tip()

    def die(self: writing.Writer, tip: object, edit: object, made: writing._Made, **_: bool) -> None:
        unpack(repo)
        for name in made.built.contents:
            (repo / ".git" / "objects" / name[:2] / name[2:]).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing.Writer, "_confirm", die)
        with pytest.raises(KeyboardInterrupt):
            new_archive(repo) if first else save(repository, "lost")
    assert repository.tip() != before
    if first:
        new_archive(repo)
    assert save(repository, "next") == repository.tip()
    assert saved_runs(repository) == {"next"}
    assert git(repo, "rev-list", "--count", "runvault") == "2\n"
    assert_sound(repository)


def test_a_branch_goes_back_when_its_objects_cannot_be_written_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = new_archive(repo)
    before = repository.tip()
    swap = Branch._swap

    def prune_then_swap(
        self: Branch, handle: pygit2.Repository, author: Signature, old: str, new: str, subject: str
    ) -> bool:
        take_objects(repository, keep=new)
        return swap(self, handle, author, old, new, subject)

    def full(*_: object) -> None:
        raise RunvaultError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Branch, "_swap", prune_then_swap)
        patched.setattr(writing.Writer, "_write_again", full)
        with pytest.raises(RunvaultError, match="pruned while it was saved: no space left"):
            save(repository, "lost")
    assert repository.tip() == before
    assert save(repository, "next") == repository.tip()
    assert_sound(repository)
