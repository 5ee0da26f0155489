"""Order records, log records and call sequences as tables, and back.

Records of grouped simulations come in the order of bars. Tables hold them by column, so that one column of a sweep
can be read alone; ids restore the order, or ``position`` where ids do not rise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.errors import FormatError
from runvault.model.table import Array, Table

RENAMED = {"col": "column", "idx": "bar"}
_ORDER_FIELDS = ("id", "col", "idx", "size", "price", "fees", "side")


def orders_table(records: Array, times: Array | None, zone: str | None) -> Table:
    """Return order records as a table; `times` are the row labels by bar, None where they are no single array."""
    rows = records[np.argsort(records["col"], kind="stable")]
    table: dict[str, Array] = {"id": rows["id"], "column": rows["col"], "bar": rows["idx"]}
    if times is not None:
        table["time"] = times[rows["idx"]]
    table |= {name: rows[name] for name in ("size", "price", "fees")} | {"side": rows["side"].astype(np.int8)}
    table = {name: np.ascontiguousarray(values) for name, values in table.items()}
    if np.any(np.diff(records["id"]) <= 0):
        table["position"] = np.argsort(records["col"], kind="stable").astype(np.int64)
    return Table(table, {"time": zone} if zone and times is not None else {})


def check_records(records: Any, dtype: np.dtype[Any], n_bars: int, n_columns: int, what: str) -> None:
    """Refuse records that are not of the engine's dtype, or that point outside the table.

    Compiled code would read and write memory outside its arrays.
    """
    if not isinstance(records, np.ndarray) or records.dtype != dtype or records.ndim != 1:
        raise NotRebuildableError(f"{what} records of another dtype than vectorbt's")
    for field, limit in (("idx", n_bars), ("col", n_columns)):
        values = records[field]
        if len(values) and not (values.min() >= 0 and values.max() < limit):
            raise NotRebuildableError(f"{what} records outside the table of {n_bars} bars and {n_columns} columns")


def check_orders(records: Array) -> None:
    """Refuse filled orders that no simulation makes."""
    for field in ("size", "price"):
        if not np.all(np.isfinite(records[field]) & (records[field] > 0)):
            raise NotRebuildableError(f"order records whose {field} is not positive and finite")
    if not np.isfinite(records["fees"]).all():
        raise NotRebuildableError("order records whose fees are not finite")
    if not np.isin(records["side"], (0, 1)).all() or np.any(records["id"] < 0):
        raise NotRebuildableError("order records with an unknown side or a negative id")
    rows = records[np.argsort(records["col"], kind="stable")]
    within = np.diff(rows["col"]) == 0
    if np.any(np.diff(rows["idx"])[within] < 0):
        raise NotRebuildableError("order records whose bars go backwards")


@dataclass(frozen=True)
class Part:
    """Which columns of a table are wanted: all, or neighbours, whose records vectorbt then keeps by column."""

    n_bars: int
    n_columns: int
    first: int
    count: int

    @property
    def is_whole(self) -> bool:
        """Tell whether every column is wanted."""
        return self.count == self.n_columns


def read_orders(table: Table, part: Part, dtype: np.dtype[Any]) -> Array:
    """Return order records in the engine's order and dtype, columns renumbered from 0.

    Raises
    ------
    FormatError
        A bar or column lies outside the table, ids do not rise, or values are none of filled orders.
    """
    rows = _rows(table, part, "orders.parquet")
    records = _records(rows, {name: RENAMED.get(name, name) for name in _ORDER_FIELDS}, dtype, "orders.parquet")
    _refuse_outside(records, part, dtype, "order")
    records = records[_engine_order(rows, by_column=not part.is_whole)]
    try:
        check_orders(records)
    except NotRebuildableError as error:
        raise FormatError(f"orders.parquet: {error}") from error
    return records


def _engine_order(rows: dict[str, Array], *, by_column: bool) -> Array:
    """Return how stored orders are to be sorted; refuse ids that do not rise, in a column or over all."""
    column, key = rows["column"], rows.get("position", rows["id"])
    if key.dtype.kind != "i" or np.any((np.diff(column) < 0) | ((np.diff(column) == 0) & (np.diff(key) <= 0))):
        raise FormatError("orders.parquet: ids do not rise within a column")
    order = np.argsort(key, kind="stable")
    if np.any(np.diff(key[order]) == 0):
        raise FormatError("orders.parquet: an id stands twice")
    return np.arange(len(key)) if by_column else order


def logs_table(records: Array) -> Table:
    """Return log records field by field, in their own order."""
    names = records.dtype.names or ()
    return Table({RENAMED.get(name, name): np.ascontiguousarray(records[name]) for name in names})


def read_logs(table: Table, part: Part, dtype: np.dtype[Any]) -> Array:
    """Return log records in their own order, columns renumbered from 0."""
    rows = _rows(table, part, "logs.parquet")
    fields = {name: RENAMED.get(name, name) for name in dtype.names or ()}
    records = _records(rows, fields, dtype, "logs.parquet")
    _refuse_outside(records, part, dtype, "log")
    return records if part.is_whole else records[np.argsort(records["col"], kind="stable")]


def calls_table(call_seq: Array) -> Table:
    """Return a call sequence, one row a bar and column, column by column."""
    calls = call_seq[:, None] if call_seq.ndim == 1 else call_seq
    n_bars, n_columns = calls.shape
    return Table(
        {
            "column": np.repeat(np.arange(n_columns), n_bars),
            "bar": np.tile(np.arange(n_bars), n_columns),
            "call": calls.T.reshape(-1).astype(np.int64),
        }
    )


def read_calls(table: Table, part: Part) -> Array:
    """Return the call sequence as (bars, columns)."""
    rows = _rows(table, part, "calls.parquet")
    calls = rows.get("call")
    if calls is None or calls.dtype.kind != "i" or len(calls) != part.n_bars * part.count:
        raise FormatError("calls.parquet: a call is missing")
    if not np.array_equal(rows["column"], np.repeat(np.arange(part.count), part.n_bars)):
        raise FormatError("calls.parquet: rows are not in the order of columns")
    return np.ascontiguousarray(calls.reshape(part.count, part.n_bars).T.astype(np.int64))


def check_calls(call_seq: Any, group_lens: Array) -> None:
    """Refuse a call sequence with a call outside its column's group, which compiled code would follow anywhere."""
    if not isinstance(call_seq, np.ndarray) or call_seq.dtype.kind != "i" or call_seq.ndim > 2:
        raise NotRebuildableError("a call sequence that is no table of integers")
    calls = call_seq[:, None] if call_seq.ndim == 1 else call_seq
    if calls.shape[1] != len(group_lens):
        raise NotRebuildableError(f"a call sequence for {calls.shape[1]} of {len(group_lens)} columns")
    if len(calls) and (calls.min() < 0 or np.any(calls.max(axis=0) >= group_lens)):
        raise NotRebuildableError("a call outside its group")


def _rows(table: Table, part: Part, file: str) -> dict[str, Array]:
    """Return the rows of the wanted columns, the column renumbered from 0."""
    stored = table.columns.get("column")
    if stored is None or stored.dtype.kind != "i":
        raise FormatError(f"{file}: column 'column' is missing or no integer")
    if len(stored) and not (stored.min() >= 0 and stored.max() < part.n_columns):
        raise FormatError(f"{file}: rows outside the table of {part.n_columns} columns")
    keep = (stored >= part.first) & (stored < part.first + part.count)
    rows = dict(table.columns) if keep.all() else {name: values[keep] for name, values in table.columns.items()}
    return rows | {"column": rows["column"] - part.first}


def _records(rows: dict[str, Array], fields: dict[str, str], dtype: np.dtype[Any], file: str) -> Array:
    records = np.zeros(len(rows["column"]), dtype=dtype)
    for field, name in fields.items():
        if name not in rows or not np.can_cast(rows[name].dtype, dtype[field], "same_kind"):
            raise FormatError(f"{file}: column {name!r} is missing or of another type")
        records[field] = rows[name]
    return records


def _refuse_outside(records: Array, part: Part, dtype: np.dtype[Any], what: str) -> None:
    try:
        check_records(records, dtype, part.n_bars, part.count, what)
    except NotRebuildableError as error:
        raise FormatError(f"{what}s.parquet: {error}") from error
