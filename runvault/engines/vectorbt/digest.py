"""Digests over values, never over file or pickle bytes.

Every array enters a digest as the line ``name dtype shape`` (``close <f8 (3270,)``, ended by a line feed) and its
little-endian bytes, -0.0 as 0.0 and every NaN as 0x7ff8000000000000. A digest is a SHA-256.

- A column: ``close`` (the prices it is valued at), then its orders by id as ``bar``, ``size``, ``price``, ``fees``,
  ``side``, then ``init_cash``. Column and id are left out, so that a column of a sweep digests as the same alone.
- The portfolio: ``columns`` (the digests of the columns, a row of 32 bytes each), ``init_cash`` (of columns or groups),
  ``cash_sharing``, ``groups`` (the group of each column, empty without grouping).
- The results: the portfolio's digest, then the statistics of the registry's format 1, one line each.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from runvault.engines.vectorbt.prices import close_2d, distinct_series
from runvault.model.metrics import statistics_digest_lines
from runvault.model.table import Array

if TYPE_CHECKING:
    from runvault.engines.result import Number

_ORDER_FIELDS = {"bar": "idx", "size": "size", "price": "price", "fees": "fees", "side": "side"}


def results_digest(portfolio: bytes, metrics: Mapping[str, Number]) -> str:
    """Return the results digest in hex: the portfolio's digest, then the lines of the statistics.

    Examples
    --------
    >>> len(results_digest(bytes(32), {"total_return": 0.1}))
    64
    """
    lines = "".join(f"{line}\n" for line in statistics_digest_lines(metrics))
    return hashlib.sha256(portfolio + lines.encode()).hexdigest()


def portfolio_digest(pf: Any) -> bytes:
    """Return the digest of a portfolio's valuation prices, orders, initial cash and grouping."""
    groups = pf.wrapper.grouper.get_groups() if pf.wrapper.grouper.is_grouped() else []
    cash = np.atleast_1d(np.asarray(pf.get_init_cash()))
    return combine(column_digests(pf), cash, sharing=bool(pf.cash_sharing), groups=groups)


def raw_digest(pf: Any) -> bytes:
    """Return a digest of prices and records as they are, for a portfolio that nothing can be computed of."""
    digest = hashlib.sha256()
    _add(digest, "close", floats(_numeric(close_2d(pf))))
    records = pf.order_records
    for name in getattr(records, "dtype", np.dtype([])).names or ():
        if records.dtype[name].kind in "iufb":
            _add(digest, name, floats(records[name]))
    return digest.digest()


def combine(columns: Sequence[bytes], cash: Array, *, sharing: bool = False, groups: Any = ()) -> bytes:
    """Return the digest of a portfolio from those of its columns; of a sweep's column alone by default."""
    digest = hashlib.sha256()
    _add(digest, "columns", np.frombuffer(b"".join(columns), dtype="u1").reshape(len(columns), 32))
    _add(digest, "init_cash", floats(cash))
    _add(digest, "cash_sharing", np.array([sharing], dtype="u1"))
    _add(digest, "groups", np.asarray(groups, dtype="<i8"))
    return digest.digest()


def column_digests(pf: Any) -> list[bytes]:
    """Return the digest of each column's valuation prices, orders and initial cash."""
    cash = floats(np.atleast_1d(np.asarray(pf.get_init_cash(group_by=False))))
    orders = _orders_by_column(pf.order_records, len(pf.wrapper.columns))
    series, places = _valuation_series(pf)
    valued = [_digest_of("close", values) for values in series]
    return [
        _column_digest(valued[place].copy(), orders(column), cash[column : column + 1])
        for column, place in enumerate(places.tolist())
    ]


def floats(values: Any) -> Array:
    """Return values as little-endian float64 with one zero and one NaN.

    Examples
    --------
    >>> floats([-0.0]).tobytes() == floats([0.0]).tobytes()
    True
    """
    array = np.array(values, order="C")
    array = array.astype("<c16").view("<f8") if array.dtype.kind == "c" else array.astype("<f8")
    array += 0.0
    array[np.isnan(array)] = np.nan
    return array


def data_fingerprint(index: pd.Index, columns: Iterable[Array], names: Sequence[object]) -> str:
    """Return the SHA-256 of price data, in hex: the address of data that no file holds.

    Parameters
    ----------
    index : pandas.Index
        The row labels: times as nanoseconds UTC (naive ones read as UTC), integers as they are, others as JSON.
    columns : iterable of arrays
        The prices, a column each.
    names : sequence
        The labels of the columns; tuples for levels.
    """
    digest = hashlib.sha256(np.array([len(index), len(names)], dtype="<i8").tobytes())
    digest.update(_index_bytes(index))
    for column in columns:
        digest.update(floats(column).tobytes())
    digest.update(_labels_json(names))
    return digest.hexdigest()


def values_fingerprint(values: Any) -> str:
    """Return the beginning of a SHA-256 of an array's shape and values, in hex: enough to tell signals apart."""
    array = np.asarray(values)
    if array.dtype.kind in "biufc":
        digest = _digest_of("values", array)
    else:
        texts = json.dumps([str(value) for value in array.ravel()])
        digest = hashlib.sha256(f"values {array.shape}\n{texts}".encode())
    return str(digest.hexdigest())[:16]


def _valuation_series(pf: Any) -> tuple[list[Array], Array]:
    """Return the distinct series that columns are valued at: gaps filled where the portfolio fills them."""
    series, places = distinct_series(_numeric(close_2d(pf)))
    if pf.fillna_close:
        series = [np.asarray(pd.Series(values).ffill().bfill()) for values in series]
    return series, places


def _numeric(close: Array) -> Array:
    """Return prices as numbers; an object that is no number counts as a gap."""
    if close.dtype.kind in "fiuc":
        return close
    flat = [float(value) if isinstance(value, int | float | np.number) else math.nan for value in close.ravel()]
    return np.array(flat, dtype=np.float64).reshape(close.shape)


def _orders_by_column(records: Array, n_columns: int) -> Any:
    """Return a function from a column to its orders, by id."""
    order = np.lexsort((records["id"], records["col"]))
    rows = {field: np.ascontiguousarray(records[field][order]) for field in (*_ORDER_FIELDS.values(), "col")}
    bounds = np.searchsorted(rows["col"], np.arange(n_columns + 1))

    def orders(column: int) -> dict[str, Array]:
        part = slice(bounds[column], bounds[column + 1])
        return {name: rows[field][part] for name, field in _ORDER_FIELDS.items()}

    return orders


def _column_digest(digest: Any, orders: dict[str, Array], cash: Array) -> bytes:
    for name, values in orders.items():
        _add(digest, name, values.astype("<i8") if name in ("bar", "side") else floats(values))
    _add(digest, "init_cash", cash)
    return digest.digest()  # type: ignore[no-any-return]


def _digest_of(name: str, values: Array) -> Any:
    digest = hashlib.sha256()
    _add(digest, name, floats(values))
    return digest


def _add(digest: Any, name: str, values: Array) -> None:
    digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
    digest.update(np.ascontiguousarray(values).tobytes())


def _index_bytes(index: pd.Index) -> bytes:
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        try:
            return np.asarray(index.as_unit("ns").asi8).astype("<i8").tobytes()
        except pd.errors.OutOfBoundsDatetime:
            return _labels_json(list(index))
    if index.dtype.kind in "iu":
        return index.to_numpy().astype("<i8").tobytes()
    return _labels_json(list(index))


def _labels_json(names: Sequence[object]) -> bytes:
    text = json.dumps([_label(name) for name in names], ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _label(name: object) -> Any:
    if isinstance(name, tuple):
        return [_label(part) for part in name]
    if isinstance(name, np.generic):
        name = name.item()
    if isinstance(name, float) and not math.isfinite(name):
        return None if math.isnan(name) else str(name)
    return name if isinstance(name, str | int | float | bool | None) else str(name)
