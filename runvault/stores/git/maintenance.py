"""Making few packs of the many that saves leave, one or two each; never pruning any object."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO

from runvault.stores.git.packs import gc_is_running
from runvault.stores.git.programs import DURABLE, git_argv, git_environment
from runvault.stores.git.repository import Repository

# git itself finds 50 packs too many, with those of the user and what earlier packings left, and then packs everything
# anew, in front of whoever commits next.
PACK_AFTER = 30

# Makes one pack of all loose objects and of the smallest packs, as many as it takes for each pack to hold twice the
# objects of the next smaller one: so packs stay few, and an object is copied only so often. Merging saves the space: a
# folder of runs is kept whole once a pack and as a difference each other time, and comes again after some 256 saves.
# Objects that nothing refers to go along, where gc and prune drop them: one whose commit is still to come is safe.
# Do not add --keep-pack: before git 2.37 a geometric repack deletes the packs that it names.
REPACK = ("repack", "--geometric=2", "-d", "-l", "-n", "--quiet", "--no-write-bitmap-index")

# Saving goes on beside it, on the other cores.
_TUNING = ("-c", "pack.threads=1")


class Maintenance:
    """Counts the packs we made, and has git make few of them now and then.

    Parameters
    ----------
    repository : Repository
        Whose objects.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._path = repository.state_dir / "new-packs"

    def count(self, made: int) -> bool:
        """Add to the count, under the write lock; return whether packing is due, and begin to count anew then.

        A count that is lost costs a late packing and nothing else.
        """
        try:
            before = int(self._path.read_text())
        except (OSError, ValueError):
            before = 0
        due = before + made >= PACK_AFTER
        with suppress(OSError):
            self._path.write_text(str(0 if due else before + made))
        return due

    def start(self) -> None:
        """Start packing, detached: it outlives this process, and a failure of it is no failure of the save.

        Not beside another packing, which would do the same work twice, and not beside ``git gc``: of an object that is
        in two packs it keeps one copy, which may be the one that gc is about to drop.
        """
        if gc_is_running(self._repository.common_dir):
            return
        argv = git_argv([f"--git-dir={self._repository.common_dir}", *DURABLE, *_TUNING, *REPACK])
        with suppress(OSError), self._path.open("r+b") as turn:
            if not _locked(turn):
                return
            process = subprocess.Popen(
                argv,
                cwd=self._repository.common_dir,
                env=git_environment(),
                stdin=turn,  # never read: the lock on it lasts as long as somebody has it open
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            # Somebody has to wait for it, or it stays behind as a zombie of a long notebook session.
            try:
                threading.Thread(target=process.wait, daemon=True).start()
            except RuntimeError:  # Python starts no thread when it ends: this is a save of an atexit handler
                process.returncode = 0  # the system waits for it, and no warning is due

    def runs(self) -> bool:
        """Return whether a packing that a save started is under way; not known on Windows."""
        try:
            with self._path.open("r+b") as turn:
                return not _locked(turn)
        except OSError:
            return False


def _locked(file: IO[bytes]) -> bool:
    """Lock an open file, until the last process that has it open closes it; return False where another has."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
