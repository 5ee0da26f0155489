"""Which objects commits of an archive point to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from runvault.archive.stores import Stores
from runvault.errors import RunvaultError
from runvault.stores.dvc import parse_pointer
from runvault.stores.dvc.transfer import Wanted

PATTERNS = (":(glob)runs/*/*/*.dvc", ":(glob)data/*/*.dvc")


def pointers_brought(stores: Stores, old: str | None, new: str) -> Iterator[tuple[str, Wanted]]:
    """Yield every pointer that the commits in ``old..new`` brought, with its path; those of past revisions too."""
    brought = {each.blob: each.path for path in PATTERNS for each in stores.reader.introduced(old, new, path)}
    for blob, content in stores.reader.read_blobs(brought):
        path = brought[blob]
        name = path.rpartition("/")[2].removesuffix(".dvc")
        with suppress(RunvaultError):  # no pointer: whoever looks at the run is told
            pointer = parse_pointer(content, name, folder=path.startswith("data/") and name.endswith(".dir"))
            yield path, Wanted(pointer.md5, pointer.size)
