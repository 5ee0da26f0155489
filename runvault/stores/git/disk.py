"""Files that are on disk when a function returns, and who has one open."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def install(path: Path, content: bytes) -> None:
    """Put a file in place, whole or not at all, and on disk when this returns."""
    temporary = path.with_name(f"{path.name}.tmp")  # one writer at a time: the caller holds a lock
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
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
