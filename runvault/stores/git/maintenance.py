"""Packing the loose objects that single saves leave, about 13 each; never pruning any."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress

from runvault.stores.git.programs import DURABLE, git_argv, git_environment
from runvault.stores.git.repository import Repository

PACK_AFTER = 2_000

# Neither task drops an object that nothing refers to, as gc and prune do: the first packs loose objects and deletes
# those that are in a pack already, the second joins small packs. An object whose commit is still to come is safe.
_TASKS = ("--task=loose-objects", "--task=incremental-repack")


class Maintenance:
    """Counts the loose objects we made, and has git pack them now and then.

    Parameters
    ----------
    repository : Repository
        Whose objects.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._path = repository.state_dir / "loose-objects"

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
        """Start packing, detached: it outlives this process, and a failure of it is no failure of the save."""
        argv = git_argv(
            [f"--git-dir={self._repository.common_dir}", *DURABLE, "maintenance", "run", "--quiet", *_TASKS]
        )
        with suppress(OSError):
            process = subprocess.Popen(
                argv,
                cwd=self._repository.common_dir,
                env=git_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            # Somebody has to wait for it, or it stays behind as a zombie of a long notebook session.
            threading.Thread(target=process.wait, daemon=True).start()
