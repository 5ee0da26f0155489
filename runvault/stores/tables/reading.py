"""Parquet into tables: claims first, then checksums, then values."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from runvault.errors import FormatError
from runvault.model.table import Array, Table
from runvault.stores.tables.arrays import TIME_ZONE, to_numpy
from runvault.stores.tables.checks import check_values
from runvault.stores.tables.claims import Claims, read_claims


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
    read = wanted if column is None or "column" in wanted else [*wanted, "column"]
    # Words are stored once however often they occur, so that a short file cannot become gigabytes of text
    file = pq.ParquetFile(
        pa.BufferReader(data), page_checksum_verification=True, read_dictionary=list(claims.strings), pre_buffer=False
    )
    with file:
        groups = range(file.metadata.num_row_groups) if column is None else _groups_with(file, claims, column)
        arrow = file.read_row_groups(list(groups), columns=read, use_threads=False)
    table = _to_table(arrow, read)
    if column is not None:
        table = _rows(table, table.columns["column"] == column)
    return Table({name: table.columns[name] for name in wanted}, table.time_zones)


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


def _to_table(arrow: pa.Table, names: Sequence[str]) -> Table:
    fields = {name: arrow.schema.field(name) for name in names}
    zones = {name: f.type.tz for name, f in fields.items() if pa.types.is_timestamp(f.type) and f.type.tz}
    for zone in zones.values():
        if not TIME_ZONE.fullmatch(zone):
            raise FormatError(f"no time zone: {zone[:50]!r}")
    return Table({name: to_numpy(arrow.column(name)) for name in names}, zones)


def _rows(table: Table, keep: Array) -> Table:
    return Table({name: values[keep] for name, values in table.columns.items()}, table.time_zones)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
