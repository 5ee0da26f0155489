"""Tables into Parquet."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from runvault.errors import FormatError
from runvault.model.table import Array, Table
from runvault.stores.tables.arrays import to_arrow
from runvault.stores.tables.claims import refuse_shape

LEVEL = 3  # 9 takes three times as long, and makes orders 2 % smaller
ROW_GROUP = 20_000  # lets one column of a sweep be read alone, for 0.3 % of size


def write_table(table: Table) -> bytes:
    """Return `table` as Parquet: zstd, page checksums, equal bytes for equal tables.

    Any Parquet reader opens the result; strings, timestamps and time zones come out as such. Values are not checked:
    `check_values` says whether a reader will accept them.

    Raises
    ------
    FormatError
        The table is larger than readers accept, or a column holds what no table can.
    """
    arrays = {name: _column(name, values, table.time_zones.get(name)) for name, values in table.columns.items()}
    arrow = pa.Table.from_arrays(list(arrays.values()), names=list(arrays))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, arrow.schema, **_options(arrow, table)) as writer:
        writer.write_table(arrow, ROW_GROUP)
    data: bytes = sink.getvalue().to_pybytes()
    refuse_shape(table.n_rows, len(arrays), len(data))
    return data


@dataclass
class TableWriter:
    """Writes tables of many runs: one that holds the same as the last of its name is not written again."""

    _last: dict[str, tuple[Table, bytes]] = field(default_factory=dict)

    def write(self, name: str, table: Table) -> bytes:
        """Return what `write_table` returns."""
        if name not in self._last or not table.holds_same(self._last[name][0]):
            self._last[name] = table, write_table(table)
        return self._last[name][1]


def _column(name: str, values: Array, time_zone: str | None) -> pa.Array:
    try:
        return to_arrow(values, time_zone)
    except (FormatError, pa.ArrowException, ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"column {name!r} cannot be written: {error}") from error


def _options(arrow: pa.Table, table: Table) -> dict[str, object]:
    packed = {f.name: "DELTA_BINARY_PACKED" for f in arrow.schema if _is_integral(f.type)}
    return {
        "version": "2.6",
        "compression": "zstd",
        "compression_level": LEVEL,
        "write_page_checksum": True,
        "use_dictionary": False,
        "column_encoding": packed,
        # Bounds of `column` are what a reader of one sweep column skips row groups by
        "write_statistics": ["column"] if arrow.num_rows > ROW_GROUP and "column" in packed else False,
        # Only this member holds the name of a time zone
        "store_schema": any(table.time_zones.values()),
    }


def _is_integral(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))
