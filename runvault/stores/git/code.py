"""The state of the user's own code, asked without touching it."""

from __future__ import annotations

from typing import TypedDict

from runvault.stores.git.programs import run_git
from runvault.stores.git.repository import Repository


class CodeState(TypedDict):
    """The `code` member of a manifest; `base` is set for snapshots alone, which a save does not make."""

    commit: str | None
    base: str | None
    branch: str | None
    dirty: bool | None


def code_of(repository: Repository, head: str | None) -> CodeState:
    """Return what code a result saved now came from.

    Parameters
    ----------
    repository : Repository
        Found from the user's place.
    head : str or None
        `Repository.head`, so that a caller can keep the answer while it stays the same.

    Returns
    -------
    CodeState
        `dirty` says whether tracked files differ from HEAD; untracked files do not count. None in a bare repository.
    """
    if repository.work_tree is None:
        return CodeState(commit=head, base=None, branch=None, dirty=None)
    args = ["status", "--porcelain=v2", "--branch", "--untracked-files=no", "--no-renames", "-z"]
    fields = run_git(args, cwd=repository.work_tree, keep_place=True).stdout.decode("utf-8", "replace").split("\0")
    branch = next((text.removeprefix("# branch.head ") for text in fields if text.startswith("# branch.head ")), None)
    dirty = any(text and not text.startswith("# ") for text in fields)
    return CodeState(commit=head, base=None, branch=None if branch == "(detached)" else branch, dirty=dirty)
