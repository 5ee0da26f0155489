"""One writer of an archive at a time: a lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from runvault.errors import BusyError, RunvaultError
from runvault.model.hearing import unheard

LOCK_NAME = "write.lock"
HOLDER_NAME = "write.holder.json"

# A waiter looks this often. No library that knows every platform offers a blocking wait with a limit.
_POLL_S = 0.004


@contextmanager
def write_lock(folder: Path, timeout_s: float) -> Iterator[None]:
    """Hold the write lock in `folder`.

    Raises
    ------
    BusyError
        Another process held it for `timeout_s` seconds; the message names it.
    RunvaultError
        The folder cannot be written, or its file system knows no locks.
    """
    lock = _acquire(folder, timeout_s)
    try:
        _name_holder(folder)
        yield
    finally:
        lock.release()


def _acquire(folder: Path, timeout_s: float) -> FileLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_NAME)
        try:
            # Newer filelock falls back to a lock that outlives its holder, with a warning: refused just below.
            with unheard():
                lock.acquire(timeout=0)
        except Timeout:
            lock.acquire(timeout=timeout_s, poll_interval=_POLL_S)
    except Timeout as error:
        raise BusyError(f"the archive is being written by {holder(folder)}", "wait for it to end") from error
    except NotImplementedError as error:
        raise _no_locks(folder) from error
    except OSError as error:
        raise RunvaultError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    if isinstance(lock, SoftFileLock):
        lock.release()
        raise _no_locks(folder)
    return lock


def _no_locks(folder: Path) -> RunvaultError:
    hint = "keep the repository on a local file system; a synchronised folder or an old network mount loses runs"
    return RunvaultError(f"the file system of {str(folder)!r} has no file locks", hint)


def _name_holder(folder: Path) -> None:
    path, text = folder / HOLDER_NAME, json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    # For the message of those who wait, nothing more; a disk that is full must not fail the save at this point.
    with suppress(OSError):
        if path.exists() and path.read_text() == text:
            os.utime(path)  # file systems write at once what is emptied and written anew
        else:
            path.write_text(text)


def holder(folder: Path) -> str:
    """Return who holds the write lock, in words: process, host and since when."""
    path = folder / HOLDER_NAME
    try:
        known = json.loads(path.read_text())
        since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return f"process {int(known['pid'])} on {known['host']} since {since:%Y-%m-%dT%H:%M:%SZ}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
