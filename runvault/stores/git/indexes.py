"""Indexes of packs, looked at before libgit2 maps them: one that names a place beyond its pack would end this process.

Of all bits that can flip in an index these alone do (seen with libgit2 1.9 as a segmentation fault); the others make
it say that an object is missing or damaged. The whole checksum would cost 12 ms for 600,000 objects at every start,
this costs 0.3 ms, and nothing again until the index is another file.
"""

from __future__ import annotations

import os
import sys
from array import array
from contextlib import suppress
from pathlib import Path

from runvault.errors import IntegrityError

_HEAD, _NAME, _CRC, _PLACE, _HASH = 8 + 4 * 256, 20, 4, 4, 20  # gitformat-pack, version 2
_MAGIC = b"\377tOc\0\0\0\2"
_ELSEWHERE = 1 << 31  # the place is in the table of long ones

_seen: dict[Path, tuple[int, int, int]] = {}


def refuse_wild_indexes(common_dir: Path) -> None:
    """Raise IntegrityError where an index names a place beyond its pack; each index is looked at once a process."""
    folder = common_dir / "objects" / "pack"
    for index in (*sorted(folder.glob("*.idx")), folder / "multi-pack-index"):
        with suppress(FileNotFoundError):  # git packs anew beside us
            state = index.stat()
            now = (state.st_ino, state.st_size, state.st_mtime_ns)
            if _seen.get(index) != now:
                _refuse_wild(index) if index.suffix else _refuse_wild_of_many(index)
                _seen[index] = now


def _refuse_wild(index: Path) -> None:
    size = index.with_suffix(".pack").stat().st_size
    with index.open("rb") as file:
        head = file.read(_HEAD)
        if len(head) < _HEAD or not head.startswith(_MAGIC):
            return  # libgit2 looks at the head itself, and at the length
        count = int.from_bytes(head[-4:], "big")
        file.seek((_NAME + _CRC) * count, 1)
        places, rest = file.read(_PLACE * count), file.read()
    long = rest[: -2 * _HASH]
    if len(places) != _PLACE * count or len(rest) < 2 * _HASH or len(long) % 8:
        return
    # Beyond 2 GB an entry names one of the long places; libgit2 sees itself where there is none.
    near = _largest(places, "I", below=_ELSEWHERE if long else 0)
    far = _largest(long, "Q")
    if max(near, far) >= size:
        raise _wild(index)


def _refuse_wild_of_many(index: Path) -> None:
    """Look at an index of several packs: a number of a pack and a place in it for each object."""
    import numpy as np

    content = index.read_bytes()
    chunks = _chunks(content)
    if not {b"PNAM", b"OOFF"} <= chunks.keys() or len(chunks[b"OOFF"]) % 8 or len(chunks.get(b"LOFF", b"")) % 8:
        return  # libgit2 looks at these itself
    packs = [index.parent / os.fsdecode(name) for name in chunks[b"PNAM"].split(b"\0") if name]
    sizes = np.array([pack.with_suffix(".pack").stat().st_size for pack in packs], np.uint64)
    entries = np.frombuffer(chunks[b"OOFF"], ">u4").reshape(-1, 2)
    entries = entries[entries[:, 0] < len(packs)]  # it sees others itself
    far = (entries[:, 1] >= _ELSEWHERE) & (b"LOFF" in chunks)
    long = np.frombuffer(chunks.get(b"LOFF", b""), ">u8")
    if (~far & (entries[:, 1] >= sizes[entries[:, 0]])).any() or (long >= sizes.max(initial=0)).any():
        raise _wild(index)


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Return the parts of an index of several packs, by their names (gitformat-chunk)."""
    table = [content[place : place + 12] for place in range(12, 12 + 12 * (content[6:7] or b"\0")[0] + 12, 12)]
    starts = [int.from_bytes(row[4:], "big") for row in table]
    return {row[:4]: content[start:end] for row, start, end in zip(table, starts, starts[1:], strict=False)}


def _wild(index: Path) -> IntegrityError:
    return IntegrityError(
        f"objects/pack/{index.name} is damaged: it names a place beyond the end of its pack",
        "run 'runvault verify --repair'",
    )


def _largest(numbers: bytes, kind: str, below: int = 0) -> int:
    """Return the largest of big-endian numbers, of those below a bound where there is one."""
    if "numpy" in sys.modules:  # as while anything is saved; for a tag it is not worth its import
        import numpy as np

        found = np.frombuffer(numbers, ">u4" if kind == "I" else ">u8")
        found = found[found < below] if below else found
        return int(found.max(initial=0))
    values = array(kind, numbers)
    if sys.byteorder == "little":
        values.byteswap()
    return max((each for each in values if each < below) if below else values, default=0)
