"""Objects as a pack: what a prune that is already running cannot take.

``git gc --prune=now`` decides what is reachable, and deletes the loose objects that were not some moments later; a
commit that the branch came to hold in between would lose its objects after it was acknowledged. A pack that is written
once the branch holds the commit is safe: that gc has listed the packs it will drop, and the next one sees the branch.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha1
from itertools import accumulate
from pathlib import Path
from zlib import crc32

from pygit2.enums import ObjectType

from runvault.stores.disk import sync_folder
from runvault.stores.git.objects import translated
from runvault.stores.git.programs import DURABLE
from runvault.stores.git.repository import Repository
from runvault.stores.git.summed import HASH_SIZE

LEVELS = (1, 2, 6, 9)  # of zlib: libgit2's first, and those that differ in the first bytes of all that they deflate

_HEAD = 12  # bytes of a pack before its first entry
_TABLED = 1 << 31  # set in what is no offset, but a place in the table of those …
_FAR = _TABLED  # … from here on


def write_pack(repository: Repository, objects: Collection[tuple[ObjectType, bytes]]) -> None:
    """Write objects as one pack, on disk when this returns."""
    repository.git(*DURABLE, "index-pack", "--stdin", stdin=pack_of(objects))
    with translated("cannot sync the folder of packs"):
        sync_folder(repository.common_dir / "objects" / "pack")


def pack_of(objects: Iterable[tuple[ObjectType, bytes]]) -> bytes:
    """Return a pack stream, version 2, without deltas (gitformat-pack)."""
    return _pack([_entry(kind, content) for kind, content in objects])


def pack_with_index(objects: Mapping[str, tuple[ObjectType, bytes]], level: int = LEVELS[0]) -> tuple[bytes, bytes]:
    """Return objects by id as a pack, and its index, version 2 (gitformat-pack)."""
    entries = [_entry(kind, content, level) for kind, content in objects.values()]
    pack = _pack(entries)
    ends = accumulate(map(len, entries), initial=_HEAD)
    rows = sorted((bytes.fromhex(name), crc32(entry), next(ends)) for name, entry in zip(objects, entries, strict=True))
    counts = Counter(name[0] for name, _, _ in rows)
    far = [offset for _, _, offset in rows if offset >= _FAR]
    places = (_TABLED | far.index(offset) if offset >= _FAR else offset for _, _, offset in rows)
    parts = [
        b"\xfftOc\0\0\0\2",
        *map(_word, accumulate(counts[byte] for byte in range(256))),
        *(name for name, _, _ in rows),
        *(_word(crc) for _, crc, _ in rows),
        *map(_word, places),
        *(offset.to_bytes(8, "big") for offset in far),
        pack[-HASH_SIZE:],
    ]
    return pack, _summed(parts)


def _pack(entries: Sequence[bytes]) -> bytes:
    return _summed([b"PACK", _word(2), _word(len(entries)), *entries])


def _summed(parts: Iterable[bytes]) -> bytes:
    body = b"".join(parts)
    return body + sha1(body, usedforsecurity=False).digest()


def _word(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _entry(kind: ObjectType, content: bytes, level: int = LEVELS[0]) -> bytes:
    return _entry_head(kind, len(content)) + zlib.compress(content, level)


def _entry_head(kind: ObjectType, size: int) -> bytes:
    """Return type and size: three bits of type and four of size, then seven bits a byte, lowest first."""
    byte, size = int(kind) << 4 | size & 15, size >> 4
    head = bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    return bytes(head)


def gc_is_running(common_dir: Path) -> bool:
    """Return whether ``git gc`` says that it runs here; a note that a killed one left behind does not count."""
    try:
        pid = int((common_dir / "gc.pid").read_text().split()[0])
    except FileNotFoundError:
        return False
    except (OSError, ValueError, IndexError):
        return True  # being written, or not to be read: what it costs to believe it is a few milliseconds
    return _lives(pid)


def _lives(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end it there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
