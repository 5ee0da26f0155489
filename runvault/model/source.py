"""What a projection of the archive reads it from: changed files, commits and contents, whoever keeps them.

The catalog follows the archive through this protocol, so that it knows nothing of Git's programs or libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

FileChange: TypeAlias = tuple[str, str | None]
"""A file that differs between two commits: its path, and its blob in the newer one, None where it is gone.

A plain tuple, for a tree has several files a run, and there may be a million runs.
"""


class Introduced(NamedTuple):
    """A content that a commit brought to a path.

    `time` is the committer's, in seconds since the epoch: of two commits that brought the same, the earlier counts.
    """

    commit: str
    path: str
    blob: str
    time: int = 0


class ArchiveSource(Protocol):
    """The history of one archive, read in bulk: each method costs one process, however many runs there are."""

    def changed_files(self, old: str | None, new: str) -> Iterator[FileChange]:
        """Yield every file that differs between the trees of two commits, all files of `new` where `old` is None.

        In the order of paths, so that the files of one folder follow each other.
        """
        ...

    def introduced(self, old: str | None, new: str) -> Iterator[Introduced]:
        """Yield every ``runs/**/manifest.json`` that the commits in ``old..new`` brought, parents before children.

        A merge may name again what it took over from a side: whoever reads keeps the first of equals.
        """
        ...

    def read_blobs(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield ``(blob, content)`` for each id, in the order asked; an id that is not there is left out."""
        ...

    def is_ancestor(self, old: str, new: str) -> bool:
        """Return whether `old` is `new` or reachable from it; False for a commit that is not there."""
        ...
