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

_DAMAGED = re.compile(r"hash mismatch|corrupt")


def error_for(said: str) -> type[RunvaultError]:
    """Return the class of error for a message of git or libgit2.

    Examples
    --------
    >>> error_for("failed to rename lockfile to 'objects/ab/cd': No such file or directory").__name__
    'DisturbedError'
    >>> error_for("No space left on device").__name__
    'RunvaultError'
    """
    if _DAMAGED.search(said):
        return IntegrityError
    return DisturbedError if _DISTURBED.search(said) else RunvaultError
