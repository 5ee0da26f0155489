"""``prices.parquet``: the row labels, and each distinct series of valuation prices once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from runvault.engines.vectorbt import labels, pool
from runvault.engines.vectorbt.labels import Spec
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.errors import FormatError
from runvault.model.table import Array, Table

_BLOCK = 64  # columns turned at a time, so that no second copy of a sweep's prices is held


def close_2d(pf: Any) -> Array:
    """Return the close prices as a two-dimensional array, one column a column of the portfolio."""
    close = np.asarray(pf.close)
    return close[:, None] if close.ndim == 1 else close


def distinct_series(values: Array) -> tuple[list[Array], Array]:
    """Return the distinct columns of an array, to the bit, and for each column the place of its series.

    Examples
    --------
    >>> series, places = distinct_series(np.array([[1.0, 2.0, 1.0]]))
    >>> len(series), places
    (2, array([0, 1, 0]))
    """
    seen: dict[bytes, int] = {}
    places = np.empty(values.shape[1], dtype=np.int64)
    for start in range(0, values.shape[1], _BLOCK):
        for offset, row in enumerate(np.ascontiguousarray(values[:, start : start + _BLOCK].T)):
            places[start + offset] = seen.setdefault(row.tobytes(), len(seen))
    return [np.frombuffer(series, dtype=values.dtype) for series in seen], places


def exact_float64(values: Array) -> Array:
    """Return prices as float64 where nothing is lost by it.

    Raises
    ------
    NotRebuildableError
        Prices are objects, booleans or complex, integers beyond 2^53, or infinite.
    """
    if values.dtype.kind not in "fiu" or values.dtype.itemsize > 8:
        raise NotRebuildableError(f"prices of dtype {values.dtype}")
    if values.dtype.kind in "iu" and values.size and int(np.abs(values.astype(object)).max()) > 2**53:
        raise NotRebuildableError("prices that are integers beyond 2^53")
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise NotRebuildableError("prices that are infinite")
    return values.astype(np.float64, copy=False)


def prices_table(index: pd.Index, spec: Spec | None, series: list[Array]) -> Table:
    """Return the table of row labels and price series; `spec` is None where the labels have no description."""
    rows = index_columns(index, spec)
    prices = {f"price_{i}": values.astype(np.float64, copy=False) for i, values in enumerate(series)}
    zone = spec.get("tz") if spec else None
    return Table(rows | prices, {"index": zone} if zone else {})


def index_columns(index: pd.Index, spec: Spec | None) -> dict[str, Array]:
    """Return row labels as table columns: ``index``, or ``index_0``, ``index_1``, … with the codes of the levels."""
    if spec is not None and spec["kind"] == "multi":
        return {f"index_{i}": codes for i, codes in enumerate(spec["values"])}
    return {"index": index_column(index, spec)}


def index_column(index: pd.Index, spec: Spec | None) -> Array:
    """Return row labels as one array for a table; as text where they have no plain values."""
    if isinstance(index, pd.DatetimeIndex):
        unit = "ms" if index.unit == "s" else index.unit  # Parquet has no whole seconds
        return np.asarray(index.as_unit(unit).asi8).view(f"M8[{unit}]")
    if isinstance(index, pd.RangeIndex):
        return index.to_numpy()
    if spec is None or len(spec["values"]) != 1:
        return pool.object_array([str(label) for label in index])
    return pool.to_column(spec["values"][0], spec["kind"])


def read_index(stored: Any, table: Table, pooled: pool.Pooled) -> pd.Index:
    """Return the row labels from their description in the manifest and ``prices.parquet``."""
    spec = pool.load(stored, pooled)
    names = [f"index_{i}" for i in range(len(spec.get("levels", [])))] if spec["kind"] == "multi" else ["index"]
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise FormatError(f"prices.parquet has no column {missing[0]!r}")
    if spec["kind"] not in ("range", "interval"):
        spec["values"] = [pool.from_column(table.columns[name], spec["kind"]) for name in names]
    return labels.restore(spec)


def describe_places(places: Array, n_series: int, arrays: pool.Pool) -> Any:
    """Return which series each column is valued at; None where each has its own, in order."""
    n = len(places)
    if n == n_series and np.array_equal(places, np.arange(n)):
        return None
    if np.array_equal(places, np.arange(n) % n_series):
        return {"tile": n_series}
    repeat = n // n_series
    if repeat and np.array_equal(places, np.arange(n) // repeat):
        return {"repeat": repeat}
    return {"values": arrays.store_array(places, "price_of")}


def read_places(stored: Any, n_columns: int, pooled: pool.Pooled) -> Array:
    """Return the place of each column's series, as described in the manifest."""
    columns = np.arange(n_columns)
    if stored is None:
        return columns
    if "tile" in stored:
        return columns % _positive(stored["tile"])
    if "repeat" in stored:
        return columns // _positive(stored["repeat"])
    places = pool.load_array(stored["values"], "int64", pooled)
    if len(places) != n_columns:
        raise FormatError(f"prices are named for {len(places)} of {n_columns} columns")
    return places


def read_prices(table: Table, places: Array, dtype: str) -> Array:
    """Return the close prices of the columns whose series stand at `places`, as a contiguous array."""
    if dtype not in labels.NUMBERS - {"bool"}:
        raise FormatError(f"{dtype[:40]!r} is no dtype of prices")
    names = [f"price_{place}" for place in places.tolist()]
    missing = [name for name in dict.fromkeys(names) if name not in table.columns]
    if missing:
        raise FormatError(f"prices.parquet has no column {missing[0]!r}")
    close = np.empty((table.n_rows, len(names)), dtype=dtype)
    for i, name in enumerate(names):
        close[:, i] = _series(table, name)
    return close


def _series(table: Table, name: str) -> Array:
    values = table.columns[name]
    if values.dtype != np.float64:
        raise FormatError(f"prices.parquet: {name} has type {values.dtype}")
    return values


def _positive(number: Any) -> int:
    if type(number) is not int or number <= 0:
        raise FormatError(f"prices are shared by {str(number)[:40]} columns")
    return number
