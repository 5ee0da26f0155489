"""Files that have not changed since this process last looked: told by what git's index goes by, with its racy rule."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple, TypeVar

# A change in the same tick as the one before leaves no trace. FAT's clock is the coarsest, with two seconds.
RACY_NS = 2_000_000_000
_MOST = 10_000

K = TypeVar("K")
V = TypeVar("V")


class Stamp(NamedTuple):
    """What changes with the content of a file, with its names and with what is behind a name."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file; None where it changed so lately that the next change could leave an equal one."""
    now = time.time_ns()
    found = path.stat()
    if not found.st_ino or max(found.st_mtime_ns, found.st_ctime_ns) + RACY_NS > now:
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def remember(known: dict[K, V], key: K, value: V) -> None:
    """Note a fact in a table that starts anew once it is full."""
    if len(known) >= _MOST:
        known.clear()
    known[key] = value
