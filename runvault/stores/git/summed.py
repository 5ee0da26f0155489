"""Files of Git's own that end in the SHA-1 of all before it; libgit2 never compares it.

It maps indexes of packs into this process and believes the places that they name: a flipped bit leads it out of the
pack, or into the middle of another object, and ends the process (seen with libgit2 1.9 as a segmentation fault). So an
index is summed before libgit2 sees it, which takes 11 ms for 600,000 objects, and not again until it is another file.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from runvault.errors import IntegrityError

HASH_SIZE = 20
_CHUNK = 1 << 20

_seen: dict[Path, tuple[int, int, int]] = {}


def ends_in_own_sum(path: Path) -> bool:
    """Tell whether a file of Git's own ends in the SHA-1 of all before it."""
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - HASH_SIZE
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        return digest.digest() == file.read()


def refuse_damaged_indexes(common_dir: Path) -> None:
    """Raise IntegrityError where an index of packs is not what was written; each is looked at once a process."""
    folder = common_dir / "objects" / "pack"
    for index in (*sorted(folder.glob("*.idx")), folder / "multi-pack-index"):
        with suppress(FileNotFoundError):  # git packs anew beside us
            state = index.stat()
            now = (state.st_ino, state.st_size, state.st_mtime_ns)
            if _seen.get(index) != now:
                if not ends_in_own_sum(index):
                    raise IntegrityError(
                        f"objects/pack/{index.name} is damaged: it does not match its checksum",
                        "run 'runvault verify --repair'",
                    )
                _seen[index] = now
