"""Files that are on disk when a function returns, and who has one open."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

SLOW_S = 0.002  # a sync that takes longer is worth threads
_MAX_THREADS = 8

T = TypeVar("T")


def install(path: Path, content: bytes) -> None:
    """Put a file in place, whole or not at all, and on disk when this returns."""
    temporary = path.with_name(f"{path.name}.tmp")  # one writer at a time: the caller holds a lock
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            sync_open(file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Bring the content of a file that another program wrote to disk."""
    if sys.platform == "win32":
        return  # needs the file open for writing, and objects are read-only
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to disk. Windows cannot open a folder, and keeps its own journal of names."""
    sync_file(path)


def sync_open(file: IO[bytes]) -> None:
    """Bring to disk what was written to an open file."""
    _sync(file.fileno())


def start_writing(file: IO[bytes]) -> None:
    """Have a file written whose sync is to follow: what is on its way together shares a journal commit.

    Linux writes what it is told to forget. Where this is not known, syncs find more to do.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # advice: the sync will tell
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_all(sync: Callable[[T], None], items: Iterable[T]) -> None:
    """Call `sync` for every item; where the first is slow, wait for the others together.

    Syncs that wait together share a journal commit and what the disk is told, and none holds the interpreter's lock. On
    a quick disk starting threads costs more than it saves.
    """
    todo = list(items)
    started = time.monotonic()
    for item in todo[:1]:
        sync(item)
    rest = todo[1:]
    if len(rest) < 2 or time.monotonic() - started < SLOW_S:
        for item in rest:
            sync(item)
        return
    try:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(rest), _MAX_THREADS)) as pool:
            for _ in pool.map(sync, rest):
                pass
    except RuntimeError:  # while Python ends no thread is to be had, and a handler of `atexit` may save
        for item in rest:
            sync(item)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        # There a plain fsync stops at the drive's own memory.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def process_holding(path: Path) -> int | None:
    """Return a process that has `path` open, None where none is seen. Without /proc none is ever seen."""
    try:
        wanted = path.stat()
    except OSError:
        return None
    for descriptor in _descriptors():
        # Processes come and go while we look, and other users' are closed to us.
        with suppress(OSError):
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return int(descriptor.parts[2])
    return None


def _descriptors() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield from (process / "fd").iterdir()
