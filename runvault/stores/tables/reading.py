"""Parquet into tables: caps first, then checksums, then values."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from runvault.errors import FormatError
from runvault.model.table import Array, Table
from runvault.stores.tables.arrays import to_numpy
from runvault.stores.tables.checks import check_values


def read_table(data: bytes, kind: str, *, columns: Sequence[str] | None = None, column: int | None = None) -> Table:
    """Return the table that `data` holds, its values checked as those of `kind`.

    Parameters
    ----------
    data : bytes
        A Parquet file.
    kind : str
        ``stats``, ``prices``, ``orders``, ``trades``, ``equity``, or any other name for a table of which only the
        shape is checked.
    columns : sequence of str, optional
        Read these columns only.
    column : int, optional
        Read only the rows of this column of a sweep (whose ``column`` has this value).

    Raises
    ------
    FormatError
        The file is no Parquet, is damaged, claims more than it can hold, or holds values that no engine writes.
    """
    try:
        table = _read(data, columns, column)
        check_values(kind, table)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise FormatError(f"{kind}.parquet: {_first_line(error)}") from error
    except FormatError as error:
        raise FormatError(f"{kind}.parquet: {error}", error.hint) from error
    return table


def _read(data: bytes, columns: Sequence[str] | None, column: int | None) -> Table:
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        strings = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True, read_dictionary=strings) as file:
        arrow = file.read(columns=None if columns is None else list(columns), use_threads=False)
    zones = {f.name: f.type.tz for f in arrow.schema if pa.types.is_timestamp(f.type) and f.type.tz}
    table = Table({name: to_numpy(arrow[name]) for name in arrow.column_names}, zones)
    return table if column is None else _rows(table, table.columns["column"] == column)


def _rows(table: Table, keep: Array) -> Table:
    return Table({name: values[keep] for name, values in table.columns.items()}, table.time_zones)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
