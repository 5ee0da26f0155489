"""Parquet into tables: claims first, then checksums, then values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from runvault.errors import FormatError
from runvault.model.table import Table
from runvault.stores.tables.arrays import TIME_ZONE, to_numpy
from runvault.stores.tables.checks import check_values
from runvault.stores.tables.claims import MAGIC, SMALL_BYTES, Claims, end_of, read_claims
from runvault.stores.tables.known import Column, keys_of, known, remember


def read_table(
    data: bytes,
    kind: str,
    *,
    columns: Sequence[str] | None = None,
    column: int | None = None,
    shape: tuple[int, int] | None = None,
) -> Table:
    """Return the table that `data` holds, its values checked as those of `kind`.

    Parameters
    ----------
    data : bytes
        A Parquet file.
    kind : str
        ``stats``, ``prices``, ``orders``, ``trades``, ``equity``, or any other name for a table of which only form and
        size are checked.
    columns : sequence of str, optional
        Read these columns only; only their values are checked.
    column : int, optional
        Read only the rows of this column of a sweep: those whose ``column`` has this value. Row groups without such
        rows are not read.
    shape : (int, int), optional
        Bars and columns of the portfolio; an order or trade elsewhere is refused.

    Raises
    ------
    FormatError
        The file is no Parquet, is damaged, claims more than it can hold, or holds values that no engine writes.
    """
    try:
        table = _read(data, read_claims(data), columns, column)
        check_values(kind, table, whole=columns is None, shape=shape)
    except FormatError as error:
        raise FormatError(f"{kind}.parquet: {error}", error.hint) from error
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise FormatError(f"{kind}.parquet: {_first_line(error)}") from error
    return table


def _read(data: bytes, claims: Claims, columns: Sequence[str] | None, column: int | None) -> Table:
    wanted = list(claims.columns if columns is None else columns)
    _refuse_missing(claims, wanted if column is None else [*wanted, "column"])
    if column is None:
        return _as_table(_columns(data, claims, wanted))
    read = wanted if "column" in wanted else [*wanted, "column"]
    with _opened(data, claims.strings) as file:
        found = _decoded(file, _groups_with(file, claims, column), read)
    keep = found["column"].values == column
    return _as_table({name: Column(found[name].values[keep], found[name].time_zone) for name in wanted})


def _columns(data: bytes, claims: Claims, wanted: Sequence[str]) -> dict[str, Column]:
    """Return whole columns; those that a table read before had too, byte for byte, are not decoded again."""
    keys = keys_of(data, claims)
    found = known(keys, wanted)
    rest = [name for name in wanted if name not in found]
    with _opened(data, [name for name in claims.strings if name in rest]) as file:
        decoded = _decoded(file, range(file.metadata.num_row_groups), rest) if rest else {}
    for name, column in decoded.items():
        if len(column.values) != claims.rows:
            raise FormatError(f"column {name!r} has {len(column.values)} rows, not {claims.rows}")
    remember(keys, decoded)
    return {name: found[name] if name in found else decoded[name] for name in wanted}


def _opened(data: bytes, strings: Sequence[str]) -> pq.ParquetFile:
    end = end_of(data)
    # Words are stored once however often they occur, so that a short file cannot become gigabytes of text
    return pq.ParquetFile(
        pa.BufferReader(data),
        metadata=_metadata(end) if len(end) <= SMALL_BYTES else None,
        page_checksum_verification=True,
        read_dictionary=list(strings),
        pre_buffer=False,
    )


@lru_cache(256)
def _metadata(end: bytes) -> pq.FileMetaData:
    """Return what pyarrow reads of the end of a file, the footer; where all the rest lies is nothing of it."""
    return pq.read_metadata(pa.BufferReader(MAGIC + end))


def _decoded(file: pq.ParquetFile, groups: Iterable[int], names: Sequence[str]) -> dict[str, Column]:
    arrow = file.read_row_groups(list(groups), columns=list(names), use_threads=False)
    schema = arrow.schema
    return {name: Column(to_numpy(arrow.column(name)), _time_zone(schema.field(name).type)) for name in names}


def _refuse_missing(claims: Claims, wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in claims.columns:
            raise FormatError(f"column {name!r} is missing")


def _groups_with(file: pq.ParquetFile, claims: Claims, column: int) -> list[int]:
    place = claims.columns.index("column")
    metadata = file.metadata
    bounds = [metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups)]
    return [
        group
        for group, bound in enumerate(bounds)
        if bound is None or not bound.has_min_max or bound.min <= column <= bound.max
    ]


def _time_zone(kind: pa.DataType) -> str | None:
    zone: str | None = kind.tz if pa.types.is_timestamp(kind) else None
    if zone and not TIME_ZONE.fullmatch(zone):
        raise FormatError(f"no time zone: {zone[:50]!r}")
    return zone or None


def _as_table(columns: Mapping[str, Column]) -> Table:
    zones = {name: column.time_zone for name, column in columns.items() if column.time_zone}
    return Table({name: column.values for name, column in columns.items()}, zones)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
