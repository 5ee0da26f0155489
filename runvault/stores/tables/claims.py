"""What a Parquet file claims to hold, refused before anything is allocated for it.

A kilobyte can claim a thousand million rows, a hundred thousand columns, or a page of two gigabytes, and pyarrow would
begin to make room for them. Names in this file are those of Parquet's own ``parquet.thrift``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Claims:
    """Rows and columns of a file; `strings` are the columns that hold bytes."""

    rows: int
    columns: tuple[str, ...]
    strings: tuple[str, ...]


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
    try:
        start, footer = _footer(data)
        claims = _schema(footer)
        refuse_shape(claims.rows, len(claims.columns), len(data))
        _refuse_pages(data, start, list(_chunks(footer, claims)))
    except (LookupError, TypeError, AttributeError) as error:
        raise FormatError("its footer is garbled") from error
    return claims


def _footer(data: bytes) -> tuple[int, Struct]:
    if len(data) < 12 or data[:4] != MAGIC or data[-4:] != MAGIC:
        raise FormatError("no whole Parquet file")
    size = int.from_bytes(data[-8:-4], "little")
    start = len(data) - 8 - size
    if start < 4 or size > MAX_FOOTER_BYTES:
        raise FormatError("its footer does not fit")
    return start, Reader(data, start).struct()


def _schema(footer: Struct) -> Claims:
    root, *leaves = footer[2]
    if any(leaf.get(5) or leaf.get(3) == 2 for leaf in leaves) or root.get(5, 0) != len(leaves):
        raise FormatError("nested columns have no place in a table")
    names = [leaf[4].decode("utf-8", "strict") for leaf in leaves]
    if len(set(names)) != len(names):
        raise FormatError("two columns have one name")
    strings = tuple(name for name, leaf in zip(names, leaves, strict=True) if leaf[1] == BYTE_ARRAY)
    return Claims(footer[3], tuple(names), strings)


def _chunks(footer: Struct, claims: Claims) -> Iterator[Struct]:
    """Yield the metadata of every column chunk."""
    groups = footer[4]
    if claims.rows < 0 or sum(group[3] for group in groups) != claims.rows or any(group[3] < 0 for group in groups):
        raise FormatError("its row groups do not add up")
    for group in groups:
        if len(group[1]) != len(claims.columns):
            raise FormatError("a row group lacks columns")
        for chunk in group[1]:
            if 1 in chunk or 8 in chunk:
                raise FormatError("a column lies in another file or is encrypted")
            yield chunk[3]


def _refuse_pages(data: bytes, end: int, chunks: list[Struct]) -> None:
    total = 0
    for chunk in chunks:
        if chunk[4] not in CODECS:
            raise FormatError("a column is compressed with something else than zstd")
        for size in _page_sizes(data, end, chunk):
            total += size
            if size > MAX_PAGE_BYTES or total > allowed_bytes(len(data)):
                raise FormatError("its pages claim too much")


def _page_sizes(data: bytes, end: int, chunk: Struct) -> Iterator[int]:
    """Yield how large each page of a chunk claims to be when uncompressed."""
    if not chunk[7]:
        return  # no rows
    position = min(chunk.get(11) or chunk[9], chunk[9])
    last = position + chunk[7]
    if not 4 <= position <= last <= end:
        raise FormatError("a column lies outside the file")
    while position < last:
        reader = Reader(data, position, 1000)
        page = reader.struct()
        if 4 not in page:
            raise FormatError("a page has no checksum")
        if page[2] < 0 or page[3] < 0:
            raise FormatError("a page has a negative size")
        position = reader.position + page[3]
        yield page[2]
    if position != last:
        raise FormatError("a page ends behind its column")
