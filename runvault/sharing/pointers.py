"""Which objects commits of an archive point to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

from runvault.archive.stores import Stores
from runvault.errors import RunvaultError
from runvault.stores.dvc import parse_pointer
from runvault.stores.dvc.transfer import Wanted

PATTERNS = (":(glob)runs/*/*/*.dvc", ":(glob)data/*/*.dvc")


def pointers_brought(stores: Stores, old: str | None, new: str) -> Iterator[tuple[str, Wanted]]:
    """Yield every pointer that the commits in ``old..new`` brought, with its path; those of past revisions too.

    With each of its paths, where runs share one: which of them may stay out is for the caller to say.
    """
    brought: dict[str, set[str]] = defaultdict(set)
    for pattern in PATTERNS:
        for each in stores.reader.introduced(old, new, pattern):
            brought[each.blob].add(each.path)
    for blob, content in stores.reader.read_blobs(brought):
        for path in brought[blob]:
            name = path.rpartition("/")[2].removesuffix(".dvc")
            with suppress(RunvaultError):  # no pointer: whoever looks at the run is told
                pointer = parse_pointer(content, name, folder=path.startswith("data/") and name.endswith(".dir"))
                yield path, Wanted(pointer.md5, pointer.size)
