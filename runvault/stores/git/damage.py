"""What is wrong with a file or an object of the repository."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """Something of Git's own that is not as Git wrote it.

    Parameters
    ----------
    path : str
        The file, relative to the Git folder; of an object that is in no file, ``objects/ab/cdef…`` where it would be.
    problem : str
        What is wrong with it.
    object : str or None
        The object that is missing or damaged, where it is one alone.
    """

    path: str
    problem: str
    object: str | None = None


def path_of(name: str) -> str:
    """Return where the loose object of this name lies."""
    return f"objects/{name[:2]}/{name[2:]}"
