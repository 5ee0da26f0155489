from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import git
from support import archive_in, edit_of, run_path, saves

from runvault.stores.git import maintenance
from runvault.stores.git.reading import Reader
from runvault.stores.git.writing import Writer


def loose(repo: Path) -> int:
    return int(git(repo, "count-objects").split()[0])


def packs(repo: Path) -> int:
    return len(list((repo / ".git/objects/pack").glob("*.pack")))


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_loose_objects_are_packed_now_and_then_and_never_pruned(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "PACK_AFTER", 100)
    repository = archive_in(repo)
    (repo / "strategy.py").write_text("never committed\n")
    unreachable = git(repo, "hash-object", "-w", "strategy.py").strip()
    writer, count, lock = (
        Writer(repository),
        repository.state_dir / "loose-objects",
        repo / ".git/objects/maintenance.lock",
    )

    def save_until_due(name: str) -> str:
        number = 0
        while True:
            commit = writer.update(saves(f"{name} {number}"))
            if count.read_text() == "0":
                return str(commit)
            number += 1

    save_until_due("first")
    wait_for(lambda: packs(repo) == 1 and not lock.exists())
    before = loose(repo)
    assert before > 100  # git keeps them until the next time, for those who looked before there was the pack
    commit = save_until_due("second")
    wait_for(lambda: packs(repo) >= 1 and loose(repo) < before and not lock.exists())
    assert git(repo, "cat-file", "-t", unreachable) == "blob\n"
    assert Reader(repository).read_run(commit, run_path("first 0"))
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""
    assert writer.update(saves("after"))


def test_a_sweep_does_not_count(repo: Path) -> None:
    repository = archive_in(repo)
    before = int((repository.state_dir / "loose-objects").read_text())
    Writer(repository).update(lambda _: edit_of("a", bulk=True))
    assert int((repository.state_dir / "loose-objects").read_text()) - before <= 1


def test_a_damaged_count_starts_anew(repo: Path) -> None:
    repository = archive_in(repo)
    (repository.state_dir / "loose-objects").write_text("many")
    Writer(repository).update(saves("a"))
    assert 5 < int((repository.state_dir / "loose-objects").read_text()) < 20
