"""Objects that a live process has put and no commit names yet: what a garbage collection beside it must leave.

Input data is stored before the archive's write lock is taken, hours before where a backtest runs in between. So every
process notes the objects that it puts, in a file that counts for as long as the process lives: it holds a lock, which
the kernel takes back. A process notes an object before it looks whether it is there already, under the same short lock
under which a collection reads the notes and deletes; so neither can miss the other.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from runvault.errors import BusyError

NOTES = "pending"
GATE = "objects.lock"
TIMEOUT_S = 60.0
_POLL_S = 0.004


class Pending:
    """The notes of this process, and of all others.

    Parameters
    ----------
    state_dir : Path
        The folder of what is true of this clone alone.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._folder = state_dir / NOTES
        self._lock = FileLock(state_dir / GATE)  # each thread holds it for itself
        self._counts: Counter[str] = Counter()
        self._file: IO[str] | None = None
        self._process = 0

    def note(self, md5s: Collection[str]) -> None:
        """Note that objects are about to be put, or counted on."""
        with self._gate():
            if self._file is None or self._process != os.getpid():  # after a fork the notes are the other process's
                self._open()
            self._write([f"+{md5}" for md5 in md5s])
            self._counts.update(md5s)

    def settle(self, md5s: Iterable[str]) -> None:
        """Take notes back, once each: a commit names the objects, or nothing will."""
        done = [md5 for md5 in md5s if self._counts[md5] > 0]
        if not done or self._file is None or self._process != os.getpid():
            return
        with self._gate():
            self._counts -= Counter(dict.fromkeys(done, 1))
            if self._counts:
                self._write([f"-{md5}" for md5 in dict.fromkeys(done)])
            else:
                self._file.truncate(0)

    def _write(self, lines: Iterable[str]) -> None:
        assert self._file is not None  # noqa: S101 - opened before
        self._file.write("".join(f"{line}\n" for line in lines))
        self._file.flush()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        path, alive = self._folder / name, FileLock(self._folder / f"{name}.lock")
        alive.acquire(timeout=0)
        self._counts, self._process = Counter(), os.getpid()
        self._file = path.open("a", encoding="ascii")
        weakref.finalize(self, _forget, self._file, path, alive, os.getpid())

    @contextmanager
    def collecting(self) -> Iterator[set[str]]:
        """Keep others from noting objects, and give those that are noted; notes of dead processes are removed."""
        with self._gate():
            yield {md5 for path in self._live() for md5 in _noted(path.read_text("ascii").split())}

    def _live(self) -> Iterator[Path]:
        for path in self._folder.glob("*-*[0-9a-f]"):
            lock = FileLock(path.with_name(f"{path.name}.lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                yield path
                continue
            path.unlink(missing_ok=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        try:
            with self._lock.acquire(timeout=TIMEOUT_S, poll_interval=_POLL_S):
                yield
        except Timeout as error:
            raise BusyError("objects are being collected by another process", "wait for it to end") from error


def _noted(lines: Iterable[str]) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line[1:]] += 1 if line.startswith("+") else -1
    return (md5 for md5, count in counts.items() if count > 0)


def _forget(file: IO[str], path: Path, alive: FileLock, process: int) -> None:
    if os.getpid() != process:
        return  # a child of whoever noted: the notes are not its own
    with suppress(OSError):
        file.close()  # what a full disk did not take is tried once more
    with suppress(OSError):
        path.unlink(missing_ok=True)
        alive.release()
        Path(alive.lock_file).unlink(missing_ok=True)
