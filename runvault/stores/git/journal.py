"""The note that a writer leaves before it moves the branch, and what the next one does about it.

kill -9 never tears a branch, but it can leave ``<branch>.lock`` behind, which blocks every later writer for ever. Git
never removes such a file, rightly: it may be another program's. The journal tells whose it is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from runvault.stores.disk import install, process_holding

NAME = "ref-update.json"


@dataclass(frozen=True)
class Move:
    """A move of a branch that was about to happen."""

    ref: str
    old: str | None
    new: str


class LockHeldError(Exception):
    """``<branch>.lock`` is there, and not ours to remove; raised and caught in this package alone."""

    def __init__(self, lock: Path) -> None:
        super().__init__(lock)
        self.lock = lock


class Journal:
    """The journal of one clone. Its methods need the write lock: whoever left an entry is dead then.

    Parameters
    ----------
    common_dir : Path
        The repository's common directory.
    """

    def __init__(self, common_dir: Path) -> None:
        self._common_dir = common_dir
        self._path = common_dir / "runvault" / NAME

    def write(self, move: Move) -> None:
        """Note a move, on disk when this returns."""
        install(self._path, json.dumps(asdict(move)).encode())

    def clear(self) -> None:
        """Forget the move."""
        self._path.unlink(missing_ok=True)

    def recover(self) -> Move | None:
        """Remove the branch lock of a writer that died while it moved the branch, and return that move.

        Raises
        ------
        LockHeldError
            The lock looks like the dead writer's, but a live process has it open.
        """
        try:
            text, noted_ns = self._path.read_bytes(), self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        move = _parse(text)
        lock = lock_of(self._common_dir, move.ref) if move else None
        if move and lock and _is_of(lock, move, noted_ns):
            if process_holding(lock):
                raise LockHeldError(lock)
            lock.unlink(missing_ok=True)
        return move


def lock_of(common_dir: Path, ref: str) -> Path:
    """Return the file by which git and libgit2 lock a ref."""
    return common_dir / f"{ref}.lock"


def _parse(text: bytes) -> Move | None:
    """Return the move, None for what a power cut left of one: the branch cannot have been locked then."""
    try:
        return Move(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _is_of(lock: Path, move: Move, noted_ns: int) -> bool:
    """Tell the lock of the journal's writer from any other program's.

    It was made after the note, and holds as much of the new tip's id (the old one's, where the move was being undone)
    as the writer came to write; a lock that another program left behind is older, or holds another id. With the whole
    of the new id it is the writer's whatever the clock said: no other program knew that commit.
    """
    try:
        found, made_ns = lock.read_bytes()[:64], lock.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    if found == f"{move.new}\n".encode()[:64]:
        return True
    ours = [f"{commit}\n".encode() for commit in (move.new, move.old) if commit]
    return made_ns >= noted_ns and any(content.startswith(found) for content in ours)


def describe_lock(lock: Path) -> str:
    """Return the evidence about a branch lock, in words, for whoever has to decide."""
    try:
        found = lock.stat()
    except OSError:
        return f"{str(lock)!r} came and went"
    process = process_holding(lock)
    who = f"process {process} has it open" if process else "no process was seen to have it open"
    since = datetime.fromtimestamp(found.st_mtime, UTC)
    return f"{str(lock)!r} exists since {since:%Y-%m-%dT%H:%M:%SZ} ({found.st_size} bytes, {who})"
