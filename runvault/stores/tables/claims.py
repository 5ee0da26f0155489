"""What a Parquet file claims to hold, refused before anything is allocated for it.

A kilobyte can claim a thousand million rows, a hundred thousand columns, or a page of two gigabytes, and pyarrow would
begin to make room for them. Names in this file are those of Parquet's own ``parquet.thrift``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from runvault.errors import FormatError
from runvault.stores.tables.thrift import Reader, Struct

MAGIC = b"PAR1"
BYTE_ARRAY = 6
CODECS = {0, 6}  # none, zstd
MAX_COLUMNS = 20_000
MAX_FOOTER_BYTES = 64 << 20
MAX_PAGE_BYTES = 32 << 20
ALWAYS_ALLOWED_BYTES = 256 << 20
EXPANSION = 64  # real tables shrink less

# The tables of runs are small and alike: what a few of them say is remembered, and nothing of large ones.
SMALL_BYTES = 4096
_FOOTERS, _COLUMNS = 512, 1024

_PLACES = (9, 11)  # where in the file a column's pages begin, and its dictionary


@dataclass(frozen=True)
class Chunk:
    """A column of one row group: where it lies, and a digest of all else that a small footer says of it."""

    codec: int
    start: int
    end: int
    told: bytes | None = None


@dataclass(frozen=True)
class Claims:
    """Rows and columns of a file; `strings` are the columns that hold bytes, `chunks` go row group by row group."""

    rows: int
    columns: tuple[str, ...]
    strings: tuple[str, ...]
    chunks: tuple[Chunk, ...] = ()


def allowed_bytes(size: int) -> int:
    """Return how much memory the table in a file of `size` bytes may take."""
    return max(ALWAYS_ALLOWED_BYTES, EXPANSION * size)


def refuse_shape(rows: int, columns: int, size: int) -> None:
    """Refuse a table that a file of `size` bytes cannot really hold; writers ask too, so that readers never must."""
    if columns > MAX_COLUMNS:
        raise FormatError(f"{columns} columns are more than {MAX_COLUMNS}")
    if rows * columns * 8 > allowed_bytes(size):
        raise FormatError(f"{rows} rows of {columns} columns do not fit a file of {size} bytes")


def read_claims(data: bytes) -> Claims:
    """Return what the footer claims, once every page header agrees that it stays within bounds.

    Raises
    ------
    FormatError
        No Parquet file, or one with nested columns, encryption, other codecs than zstd, pages without a checksum,
        pages outside the file, or more than `allowed_bytes`.
    """
    end = end_of(data)
    read = _claims if len(end) <= SMALL_BYTES else _claims.__wrapped__
    try:
        claims = read(end, len(data))
        _refuse_pages(data, len(data) - len(end), claims.chunks)
    except (LookupError, TypeError, AttributeError) as error:
        raise FormatError("its footer is garbled") from error
    return claims


def end_of(data: bytes) -> bytes:
    """Return the end of a file, which begins with the footer; FormatError where it has none."""
    if len(data) < 12 or data[:4] != MAGIC or data[-4:] != MAGIC:
        raise FormatError("no whole Parquet file")
    size = int.from_bytes(data[-8:-4], "little")
    start = len(data) - 8 - size
    if start < 4 or size > MAX_FOOTER_BYTES:
        raise FormatError("its footer does not fit")
    return data[start:]


@lru_cache(_FOOTERS)
def _claims(end: bytes, size: int) -> Claims:
    """Return what the `end` of a file of `size` bytes claims: it begins with the footer."""
    footer = Reader(end).struct()
    claims = _schema(footer)
    refuse_shape(claims.rows, len(claims.columns), size)
    others = {number: value for number, value in footer.items() if number not in (2, 3, 4)}
    told = hashlib.sha256(repr(others).encode()) if len(end) <= SMALL_BYTES else None
    return replace(claims, chunks=tuple(_chunks(footer, claims, told)))


def _schema(footer: Struct) -> Claims:
    root, *leaves = footer[2]
    if any(leaf.get(5) or leaf.get(3) == 2 for leaf in leaves) or root.get(5, 0) != len(leaves):
        raise FormatError("nested columns have no place in a table")
    names = [leaf[4].decode("utf-8", "strict") for leaf in leaves]
    if len(set(names)) != len(names):
        raise FormatError("two columns have one name")
    strings = tuple(name for name, leaf in zip(names, leaves, strict=True) if leaf[1] == BYTE_ARRAY)
    return Claims(footer[3], tuple(names), strings)


def _chunks(footer: Struct, claims: Claims, told: hashlib._Hash | None) -> Iterator[Chunk]:
    """Yield every column chunk."""
    groups = footer[4]
    if claims.rows < 0 or sum(group[3] for group in groups) != claims.rows or any(group[3] < 0 for group in groups):
        raise FormatError("its row groups do not add up")
    for group in groups:
        if len(group[1]) != len(claims.columns):
            raise FormatError("a row group lacks columns")
        for chunk, leaf in zip(group[1], footer[2][1:], strict=True):
            if 1 in chunk or 8 in chunk:
                raise FormatError("a column lies in another file or is encrypted")
            found = _chunk(chunk[3])
            yield found if told is None else replace(found, told=_digest(told, leaf, group[3], chunk[3], found.start))


def _chunk(metadata: Struct) -> Chunk:
    if not metadata[7]:
        return Chunk(metadata[4], 0, 0)  # no rows
    start = min(metadata.get(11) or metadata[9], metadata[9])
    return Chunk(metadata[4], start, start + metadata[7])


def _digest(told: hashlib._Hash, leaf: Struct, rows: int, metadata: Struct, start: int) -> bytes:
    """Return a digest of what a footer tells of a column, wherever in the file it lies."""
    places = [metadata[number] - start if metadata.get(number) else None for number in _PLACES]
    others = {number: value for number, value in metadata.items() if number not in _PLACES}
    digest = told.copy()
    digest.update(repr((leaf, rows, places, others)).encode())
    return digest.digest()


def _refuse_pages(data: bytes, end: int, chunks: tuple[Chunk, ...]) -> None:
    total = 0
    for chunk in chunks:
        if chunk.codec not in CODECS:
            raise FormatError("a column is compressed with something else than zstd")
        if chunk.start == chunk.end:
            continue
        if not 4 <= chunk.start <= chunk.end <= end:
            raise FormatError("a column lies outside the file")
        read = _page_sizes if chunk.end - chunk.start <= SMALL_BYTES else _page_sizes.__wrapped__
        for size in read(data[chunk.start : chunk.end]):
            total += size
            if size > MAX_PAGE_BYTES or total > allowed_bytes(len(data)):
                raise FormatError("its pages claim too much")


@lru_cache(_COLUMNS)
def _page_sizes(chunk: bytes) -> tuple[int, ...]:
    """Return how large each page of a column chunk claims to be when uncompressed."""
    sizes, position = [], 0
    while position < len(chunk):
        reader = Reader(chunk, position, 1000)
        page = reader.struct()
        if 4 not in page:
            raise FormatError("a page has no checksum")
        if page[2] < 0 or page[3] < 0:
            raise FormatError("a page has a negative size")
        position = reader.position + page[3]
        sizes.append(page[2])
    if position != len(chunk):
        raise FormatError("a page ends behind its column")
    return tuple(sizes)
