"""Which code is the user's own: what a local branch holds, and what was run in this clone."""

from __future__ import annotations

import re
from typing import BinaryIO

from runvault.errors import RunvaultError
from runvault.stores.disk import sync_open
from runvault.stores.git.programs import run_git
from runvault.stores.git.repository import Repository

OWN_CODE = "own-code"

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def note_own_code(repository: Repository, commit: str) -> None:
    """Write down, once, that code was run in this clone.

    Raises
    ------
    RunvaultError
        The list cannot be written.
    """
    place = repository.state_dir / OWN_CODE
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a+b") as file:
            _append_once(file, commit.encode("ascii"))
    except OSError as error:
        raise RunvaultError(f"cannot write to {str(place)!r}: {error.strerror or error}") from error


def _append_once(file: BinaryIO, line: bytes) -> None:
    file.seek(0)
    known = file.read()
    if line in known.split(b"\n"):
        return
    # A line that a crash cut short stays one by itself.
    fence = b"" if known.endswith(b"\n") or not known else b"\n"
    file.write(fence + line + b"\n")
    file.flush()
    sync_open(file)


def is_own_code(repository: Repository, commit: str) -> bool:
    """Return whether a commit is code of the user's: in this clone's list, or reachable from HEAD or a local branch.

    Neither remote branches nor the archive branch count, nor a commit that is not here.
    """
    if not _COMMIT.fullmatch(commit):
        return False
    if commit in _listed(repository):
        return True
    args = ["for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/heads/"]
    done = repository.git(*args, ok=(0, 128, 129))
    if done.returncode:
        return False  # no such commit here
    branches = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    return any(branch != repository.ref for branch in branches) or _behind_head(repository, commit)


def _behind_head(repository: Repository, commit: str) -> bool:
    place = [f"--git-dir={repository.git_dir}", "--no-replace-objects"]
    # On the archive branch itself, as in a worktree that shows it, HEAD is no code.
    asked = run_git([*place, "symbolic-ref", "--quiet", "HEAD"], cwd=repository.git_dir, ok=(0, 1))
    if asked.stdout.decode("utf-8", "surrogateescape").strip() == repository.ref:
        return False
    args = ["merge-base", "--is-ancestor", commit, "HEAD"]
    return run_git([*place, *args], cwd=repository.git_dir, ok=(0, 1, 128)).returncode == 0


def _listed(repository: Repository) -> set[str]:
    try:
        return set((repository.state_dir / OWN_CODE).read_text("ascii", errors="replace").split("\n"))
    except FileNotFoundError:
        return set()
