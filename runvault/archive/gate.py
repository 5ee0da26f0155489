"""``runvault.json`` is the only switch of the format: what a newer runvault wrote is neither read nor changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runvault.errors import VaultNotFoundError
from runvault.model.records import parse_json
from runvault.model.run_json import check_format
from runvault.model.source import ArchiveSource, FileChange, Introduced

SWITCH = "runvault.json"


def check_switch(content: bytes | None) -> None:
    """Check the content of ``runvault.json``, None where the branch has no such file.

    Raises
    ------
    VaultNotFoundError
        The branch holds something else than an archive.
    SchemaTooNewError
        A newer runvault wrote the archive.
    FormatError
        It is no JSON, or states no format.
    """
    if content is None:
        raise VaultNotFoundError(f"the branch holds no archive: it has no {SWITCH}", hint="name another with --branch")
    check_format(parse_json(content, SWITCH), SWITCH)


class Gate:
    """An `ArchiveSource` that looks at the switch where it changed: a listing of an unchanged tip pays nothing."""

    def __init__(self, source: ArchiveSource) -> None:
        self._source = source

    def changed_files(self, old: str | None, new: str) -> Iterator[FileChange]:
        """Yield what differs between two commits, the switch having been looked at where it is among it."""
        seen = old is not None
        for change in self._source.changed_files(old, new):
            if change[0] == SWITCH:
                seen = True
                check_switch(self._content(change[1]))
            yield change
        if not seen:
            check_switch(None)

    def _content(self, blob: str | None) -> bytes | None:
        return None if blob is None else dict(self._source.read_blobs([blob])).get(blob)

    def introduced(self, old: str | None, new: str) -> Iterator[Introduced]:
        """Yield what commits brought."""
        return self._source.introduced(old, new)

    def read_blobs(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield contents by id."""
        return self._source.read_blobs(blobs)

    def is_ancestor(self, old: str, new: str) -> bool:
        """Return whether `old` is `new` or reachable from it."""
        return self._source.is_ancestor(old, new)
