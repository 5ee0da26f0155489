"""The user's checkout is never touched: HEAD, index, work tree, stash, configuration and other refs, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from driver import save
from machine import full_counts, git

from runvault.stores.git.code import code_of
from runvault.stores.git.init import check_writable, init_archive
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository

pytestmark = pytest.mark.faults


def dirty(repo: Path) -> Path:
    (repo / "other.py").write_text("a = 1\n")
    git(repo, "add", "other.py")
    git(repo, "commit", "--quiet", "--message", "other")
    (repo / "strategy.py").write_text("FAST = 99\n")
    git(repo, "stash", "--quiet")
    return repo


def staged(repo: Path) -> Path:
    (repo / "strategy.py").write_text("FAST = 12\n")
    (repo / "new.py").write_text("x = 1\n")
    git(repo, "add", "--all")
    return repo


def unstaged(repo: Path) -> Path:
    (repo / "strategy.py").write_text("FAST = 13\n")
    (repo / "other.py").unlink()
    return repo


def untracked(repo: Path) -> Path:
    (repo / "notes").mkdir()
    (repo / "notes" / "idea.txt").write_text("try 20\n")
    (repo / "runs").mkdir()
    (repo / "runs" / "mine.txt").write_text("not an archive's\n")
    return repo


def two_sides(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "-b", "side")
    (repo / "strategy.py").write_text("FAST = 30\n")
    git(repo, "commit", "--quiet", "--all", "--message", "side")
    git(repo, "checkout", "--quiet", "main")
    (repo / "strategy.py").write_text("FAST = 40\n")
    git(repo, "commit", "--quiet", "--all", "--message", "main")


def merging(repo: Path) -> Path:
    two_sides(repo)
    git(repo, "merge", "--quiet", "side", check=False)
    assert (repo / ".git" / "MERGE_HEAD").exists()
    return repo


def rebasing(repo: Path) -> Path:
    two_sides(repo)
    git(repo, "rebase", "--quiet", "side", check=False)
    assert (repo / ".git" / "rebase-merge").exists()
    return repo


def detached(repo: Path) -> Path:
    git(repo, "checkout", "--quiet", "--detach", "HEAD~1")
    return repo


def unborn(repo: Path) -> Path:
    git(repo, "checkout", "--quiet", "--orphan", "fresh")
    return repo


def linked(repo: Path) -> Path:
    place = repo.parent / "linked"
    git(repo, "worktree", "add", "--quiet", "-b", "feature", str(place))
    (place / "strategy.py").write_text("FAST = 50\n")
    return place


def unchanged(repo: Path) -> Path:
    return repo


def checked_out(repo: Path) -> Path:
    git(repo, "worktree", "add", "--quiet", str(repo.parent / "seen"), "runvault")
    return repo


STATES: list[Callable[[Path], Path]] = [
    unchanged,
    staged,
    unstaged,
    untracked,
    merging,
    rebasing,
    detached,
    unborn,
    linked,
    checked_out,
]


def fingerprint(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of change and content of every file but what an archive consists of."""
    ours = (".git/objects/", ".git/runvault/", ".git/refs/heads/runvault", ".git/logs/refs/heads/runvault", "seen/")
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        inside = name.removeprefix("repo/")
        if path.is_file() and not inside.startswith((*ours, ".git/worktrees/seen/index")):
            stat = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (stat.st_mode, stat.st_mtime_ns, digest)
    return found


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_saving_leaves_everything_else_as_it_was(repo: Path, state: Callable[[Path], Path]) -> None:
    init_archive(Repository.find(repo))
    place = state(dirty(repo))
    status = git(place, "status", "--porcelain=v2", "-z", "--branch")
    before = fingerprint(repo.parent)
    count = full_counts(5, 100)
    for number in range(count):
        repository = Repository.find(place)
        check_writable(repository)
        code_of(repository, repository.head())
        assert save(repository, f"run-{number}", bulk=number % 5 == 4)
        assert Reader(repository).read_file(str(repository.tip()), "runvault.json")
    assert fingerprint(repo.parent) == before
    assert git(place, "status", "--porcelain=v2", "-z", "--branch") == status
    assert git(repo, "rev-list", "--count", "runvault") == f"{count + 1}\n"
    if state is checked_out:
        seen = repo.parent / "seen"
        assert git(seen, "status", "--porcelain") == ""
        listed = git(seen, "ls-tree", "-r", "--name-only", "runvault").split()
        assert all((seen / path).is_file() for path in listed)
        assert len(listed) == 5 * count + 5
