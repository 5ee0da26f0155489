from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from machine import git
from support import archive_in, edit_of, run_path, saves

from runvault.stores.git import maintenance
from runvault.stores.git.branch import Branch
from runvault.stores.git.maintenance import Maintenance
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import Writer


def loose(repo: Path) -> int:
    return int(git(repo, "count-objects").split()[0])


def packs(repo: Path) -> set[Path]:
    return set((repo / ".git/objects/pack").glob("*.pack"))


def packed_bytes(repo: Path) -> int:
    return sum(pack.stat().st_size for pack in packs(repo))


def wait_for_packing(repository: Repository) -> None:
    deadline = time.monotonic() + 60
    while Maintenance(repository).runs():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def save_until_due(repository: Repository, name: str) -> str:
    """Save runs until a packing begins, and see it end; return the last commit."""
    for number in itertools.count():
        commit = Writer(repository).update(saves(f"{name} {number}"))
        if (repository.state_dir / "new-packs").read_text() == "0":
            break
    wait_for_packing(repository)
    return str(commit)


@pytest.fixture
def repository(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return an archive that is packed every eleven saves."""
    monkeypatch.setattr(maintenance, "PACK_AFTER", 11)
    return archive_in(repo)


def test_a_python_that_ends_starts_no_packing_and_no_error(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 3.12 on an atexit handler has no new threads."""

    def refuse(*_args: Any) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr("threading.Thread.start", refuse)
    save_until_due(repository, "at the end")


def unreachable_blob(repo: Path, text: str) -> str:
    (repo / "strategy.py").write_text(text)
    return git(repo, "hash-object", "-w", "strategy.py").strip()


def pack_alone(repo: Path, name: str) -> Path:
    """Move a loose object into a pack of its own."""
    base = repo / ".git/objects/pack/pack"
    subprocess.run(["git", "pack-objects", "--quiet", str(base)], cwd=repo, input=name.encode(), check=True)
    git(repo, "prune-packed")
    return max(packs(repo), key=lambda pack: pack.stat().st_mtime_ns)


def test_packs_are_merged_now_and_then_and_no_object_is_pruned(repo: Path, repository: Repository) -> None:
    unreachable = unreachable_blob(repo, "never committed\n")
    save_until_due(repository, "first")
    assert (len(packs(repo)), loose(repo)) == (1, 0)
    commit = save_until_due(repository, "second")
    assert loose(repo) == 0
    assert git(repo, "cat-file", "-t", unreachable) == "blob\n"
    assert Reader(repository).read_run(commit, run_path("first 0"))
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""
    assert Writer(repository).update(saves("after"))


def test_what_nobody_refers_to_survives_every_merge_of_packs(repo: Path, repository: Repository) -> None:
    kept = unreachable_blob(repo, "in a pack that is to be kept\n")
    kept_pack = pack_alone(repo, kept)
    kept_pack.with_suffix(".keep").touch()
    lost = [kept]
    for turn in range(6):
        lost += [unreachable_blob(repo, f"{where} {turn}\n") for where in ("packed", "loose")]
        pack_alone(repo, lost[-2])
        save_until_due(repository, f"turn {turn}")
        assert [git(repo, "cat-file", "-t", blob) for blob in lost] == ["blob\n"] * len(lost)
    assert kept_pack.exists()
    assert len(packs(repo)) <= 4  # of 13, so that most were merged
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_a_packing_in_the_middle_of_a_save_costs_it_nothing(
    repo: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, bulk: bool
) -> None:
    save_until_due(repository, "before")
    move = Branch.move

    def pack_then_move(*args: Any) -> None:
        Maintenance(repository).start()
        wait_for_packing(repository)
        assert loose(repo) == 0
        move(*args)

    monkeypatch.setattr(Branch, "move", pack_then_move)
    commit = Writer(repository).update(lambda _: edit_of("during", bulk=bulk))
    assert commit
    assert Reader(repository).read_run(commit, run_path("during"))
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""


def test_packs_stay_few_and_find_the_differences_across_packings(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "PACK_AFTER", 5)
    repository = archive_in(repo)
    # In 8 of the 256 folders, so that a packing sees each about as often as 200 saves see each of 256.
    names = (name for name in map(str, itertools.count()) if run_path(name) < "runs/08")
    for name in itertools.islice(names, 80):
        Writer(repository).update(saves(name))
        wait_for_packing(repository)
    assert len(packs(repo)) <= 4
    ours = packed_bytes(repo) / (80 - loose(repo) / 9)
    git(repo, "gc", "--quiet")
    assert ours < 1.5 * packed_bytes(repo) / 80


def test_packs_of_an_alternate_are_neither_copied_nor_taken(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PACK_AFTER", 11)
    for number in range(3):
        (repo / "strategy.py").write_text(f"FAST = {number}\n")
        git(repo, "commit", "--quiet", "--all", "--message", f"strategy: {number}")
        git(repo, "repack", "-d", "--quiet")
    borrower = tmp_path / "borrower"
    git(tmp_path, "clone", "--quiet", "--shared", str(repo), str(borrower))
    before, repository = packs(repo), archive_in(borrower)
    for turn in range(3):
        save_until_due(repository, f"turn {turn}")
    assert packs(repo) == before
    assert loose(borrower) == 0
    assert git(borrower, "fsck", "--strict", "--full", "--no-dangling") == ""
    # Without the other repository, what it lent is missing, and nothing else.
    (borrower / ".git/objects/info/alternates").unlink()
    assert git(borrower, "cat-file", "-t", "HEAD", check=False) == ""
    assert Reader(repository).read_run(str(repository.tip()), run_path("turn 2 0"))


def test_a_linked_worktree_packs_what_is_common(repo: Path, tmp_path: Path, repository: Repository) -> None:
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "--quiet", "--detach", str(linked))
    save_until_due(Repository.find(linked, "runvault"), "linked")
    assert (len(packs(repo)), loose(repo)) == (1, 0)


def test_nothing_is_packed_beside_gc_or_another_packing(repo: Path, repository: Repository) -> None:
    fcntl = pytest.importorskip("fcntl")
    Writer(repository).update(saves("a"))
    before = packs(repo)
    (repo / ".git/gc.pid").write_text(f"{os.getpid()} here")
    Maintenance(repository).start()
    wait_for_packing(repository)
    assert packs(repo) == before
    (repo / ".git/gc.pid").unlink()
    with (repository.state_dir / "new-packs").open("rb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        assert Maintenance(repository).runs()
        Maintenance(repository).start()
    wait_for_packing(repository)
    assert packs(repo) == before
    Maintenance(repository).start()
    wait_for_packing(repository)
    assert len(packs(repo)) == 1 < len(before)


def test_a_sweep_counts_as_one_pack(repo: Path) -> None:
    repository = archive_in(repo)
    before = int((repository.state_dir / "new-packs").read_text())
    Writer(repository).update(lambda _: edit_of("a", bulk=True))
    assert int((repository.state_dir / "new-packs").read_text()) - before == 1


def test_a_damaged_count_starts_anew(repo: Path) -> None:
    repository = archive_in(repo)
    (repository.state_dir / "new-packs").write_text("many")
    Writer(repository).update(saves("a"))
    assert (repository.state_dir / "new-packs").read_text() == "1"
