"""Moving a branch, if nobody else has: compare-and-swap, with a journal for those who die in the middle."""

from __future__ import annotations

from pathlib import Path

import pygit2

from runvault.errors import BusyError
from runvault.stores.disk import sync_folder
from runvault.stores.git.edits import Signature
from runvault.stores.git.journal import Journal, LockHeldError, Move, describe_lock, lock_of
from runvault.stores.git.objects import LIBRARY_ERRORS, open_repository, translated
from runvault.stores.git.repository import Repository


class MovedError(Exception):
    """The branch was moved while an attempt was under way; raised and caught in this package alone."""


class Branch:
    """The archive branch, for whoever holds the write lock.

    Parameters
    ----------
    repository : Repository
        Where, and which branch.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._journal = Journal(repository.common_dir)
        self._lock = lock_of(repository.common_dir, repository.ref)

    def read(self, handle: pygit2.Repository) -> str | None:
        """Return the commit that the branch names, whether that is there or not; None where there is no branch."""
        return _read_ref(handle, self._repository.ref)

    def move(self, handle: pygit2.Repository, author: Signature, old: str | None, new: str, subject: str) -> None:
        """Move the branch from `old` to `new`; None makes it. The journal stays until `settle`.

        Raises
        ------
        MovedError
            It is not at `old` any more.
        LockHeldError
            Another program has locked it.
        """
        ref = self._repository.ref
        with translated("cannot write the journal"):
            self._journal.write(Move(ref, old, new))
        try:
            clean = self._swap(handle, author, old, new, subject)
        except Exception:
            # Nothing was moved, and we hold no lock on the branch: a lock that is there later is not ours.
            self.settle()
            raise
        if not clean or old is None or ref.count("/") > 2:
            self._sync(ref, new=True)

    def settle(self) -> None:
        """Clear the journal: the move is done and seen to be whole, or was none."""
        with translated("cannot clear the journal"):
            self._journal.clear()

    def recover(self) -> None:
        """Finish what a dead writer left: its lock goes, and a branch that it moved onto pruned objects goes back.

        Raises
        ------
        LockHeldError
            A live process has the lock open that seems to be the dead writer's.
        """
        with translated("cannot recover from a writer that died"):
            move = self._journal.recover()
        if move is not None:
            if not self._is_whole(move):
                self.set_back(move.old, move.new, ref=move.ref)
            # It may have died before the move was on disk, and what it saved counts as saved from now on.
            self._sync(move.ref, new=move.old is None)
        self.settle()

    def set_back(self, old: str | None, new: str, *, ref: str | None = None) -> None:
        """Undo a move from `old` to `new` that was never acknowledged."""
        ref = ref or self._repository.ref
        handle = open_repository(self._repository.common_dir)
        with translated(f"cannot set {ref} back to {old}"):
            reference = handle.lookup_reference(ref)
            if str(reference.target) == new and old is None:
                reference.delete()
            elif str(reference.target) == new:
                reference.set_target(str(old), "undo: objects of the commit were pruned")
        # The log names a commit that is not there, which `git fsck` would call damage.
        never = ("--expire=never", "--expire-unreachable=never")
        self._repository.git("reflog", "expire", "--stale-fix", *never, ref, ok=(0, 1, 128, 255))

    def refuse_locked(self) -> None:
        """Raise LockHeldError where another program has the branch locked, before a move is prepared for nothing."""
        if self._lock.exists():
            raise LockHeldError(self._lock)

    def _swap(self, handle: pygit2.Repository, author: Signature, old: str | None, new: str, subject: str) -> bool:
        """Move the branch or raise what hinders it; False where it moved and the last sync of it failed."""
        ref = self._repository.ref
        try:
            handle.set_ident(author.name, author.email)
            if old is None:
                handle.create_reference_direct(ref, new, False, f"commit (initial): {subject}")
                return True
            reference = handle.lookup_reference(ref)
            if str(reference.target) != old:
                raise MovedError
            # libgit2 compares with what `reference` was looked up as, under <branch>.lock
            reference.set_target(new, f"commit: {subject}")
        except LIBRARY_ERRORS as error:
            now = self.read(handle)
            if now == new:
                return False
            if now != old:
                raise MovedError from error
            if "failed to lock file" in str(error):
                raise LockHeldError(self._lock) from error
            with translated(f"cannot move branch {self._repository.branch!r}"):
                raise
        return True

    def _is_whole(self, move: Move) -> bool:
        if _read_ref(open_repository(self._repository.common_dir), move.ref) != move.new:
            return True  # not moved, or moved on from by somebody who could read it
        known = ["--not", move.old] if move.old else []
        walked = self._repository.git("rev-list", "--objects", "--quiet", move.new, *known, ok=(0, 1, 128))
        return walked.returncode == 0

    def _sync(self, ref: str, *, new: bool) -> None:
        """Sync the folders of a ref and of its log, and those above where libgit2 may have made them."""
        with translated(f"cannot sync the folders of {ref}"):
            for place in (ref, f"logs/{ref}"):
                folders = list(Path(place).parents) if new else [Path(place).parent]
                for folder in (self._repository.common_dir / each for each in folders):
                    if folder.is_dir():
                        sync_folder(folder)


def busy(lock: Path, what: str = "the archive branch") -> BusyError:
    """Return the error for a branch, or another ref, that others keep locked, with the evidence."""
    return BusyError(
        f"{what} is locked by another program: {describe_lock(lock)}",
        f"if no git program is running here, remove {str(lock)!r}",
    )


def _read_ref(handle: pygit2.Repository, ref: str) -> str | None:
    with translated(f"cannot read {ref}"):
        try:
            return str(handle.lookup_reference(ref).resolve().target)
        except KeyError:
            return None
