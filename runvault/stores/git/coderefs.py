"""The refs that keep code: made under the write lock, with a note for the next one if this one dies in the middle."""

from __future__ import annotations

import time
from pathlib import Path

from runvault.stores.git.branch import Branch, busy
from runvault.stores.git.journal import Journal, LockHeldError, Move, lock_of
from runvault.stores.git.lock import write_lock
from runvault.stores.git.objects import translated
from runvault.stores.git.programs import DURABLE, git_failure
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import LOCKED_S, TIMEOUT_S

CODE_REFS = "refs/runvault/code"

_PAUSE_S = 0.1


def keep_code(repository: Repository, commit: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Make the ref that keeps a commit, unless it is there: a sweep asks for the same one again and again.

    Parameters
    ----------
    timeout_s : float
        How long to wait for other writers; for a program that has the ref itself locked at most `LOCKED_S`.

    Raises
    ------
    BusyError
        Others held the archive, or the ref, for that long.
    RunvaultError
        The ref could not be written.
    """
    ref = f"{CODE_REFS}/{commit}"
    try:
        if (repository.common_dir / ref).read_bytes().strip() == commit.encode("ascii"):
            return
    except OSError:
        pass  # packed, a reftable, or missing: git knows
    with write_lock(repository.state_dir, timeout_s):
        deadline = time.monotonic() + min(LOCKED_S, timeout_s)
        while (held := _make(repository, ref, commit)) is not None:
            if time.monotonic() > deadline:
                raise busy(held, f"the ref of code {commit[:12]}")
            time.sleep(_PAUSE_S)


def _make(repository: Repository, ref: str, commit: str) -> Path | None:
    """Make the ref; return the lock of another program where one is in the way."""
    lock, journal = lock_of(repository.common_dir, ref), Journal(repository.common_dir)
    try:
        Branch(repository).recover()  # where a writer died, its lock goes: it may be on this very ref
    except LockHeldError as error:
        return error.lock
    if lock.exists():
        return lock
    with translated("cannot write the journal"):
        journal.write(Move(ref, None, commit))
    args = [*DURABLE, "-c", "core.logAllRefUpdates=false", "update-ref", ref, commit]
    done = repository.git(*args, ok=range(-64, 256))
    if done.returncode >= 0:
        journal.clear()
    # A git that was killed leaves its lock; the note stays for the next one, who removes it.
    if done.returncode:
        raise git_failure(args, done.returncode, done.stderr)
    return None
