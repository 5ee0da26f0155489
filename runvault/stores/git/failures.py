"""What the words of git and libgit2 mean to us."""

from __future__ import annotations

import re

from runvault.errors import IntegrityError, RunvaultError


class DisturbedError(RunvaultError):
    """Git's housekeeping runs beside us, or another process left something behind: a new attempt is worth it."""


# A pack that was repacked away, a pruned object (a KeyError holds nothing but its id), a fan-out folder that became
# empty or a temporary pack that a prune took, and a temporary name that is in use: forked processes draw the same ones,
# and a killed one leaves its behind.
_DISTURBED = re.compile(
    r"failed to find pack entry|object not found|cannot read (header|existing object)|invalid object specified"
    r"|^[0-9a-f]{40}$|doesn't exist on the repository|No such file or directory|File exists"
)

# Wrong content, and what a name says to be there and is not, or is something else: a ref or a tree that was damaged.
_DAMAGED = re.compile(
    r"hash mismatch|corrupt|bad object|not a tree object|unable to read tree|Could not read [0-9a-f]{40}|peeled into"
)


def failure(doing: str, said: str) -> RunvaultError:
    """Return the error for a message of git or libgit2.

    Examples
    --------
    >>> type(failure("cannot save", "failed to rename lockfile to 'objects/ab/cd': No such file or directory")).__name__
    'DisturbedError'
    >>> failure("cannot save", "No space left on device")
    RunvaultError('cannot save: No space left on device', None)
    """
    message = f"{doing}: {said}"
    if _DAMAGED.search(said):
        return IntegrityError(message, "'runvault verify' tells what is damaged, 'runvault verify --repair' mends it")
    if _DISTURBED.search(said):
        return DisturbedError(message, "try again; if it stays so, 'runvault verify' tells what is missing")
    return RunvaultError(message)
