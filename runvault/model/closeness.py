"""Whether two outcomes are the same but for the last bits that another processor or backend may change."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, isnan
from typing import Literal, TypeAlias

import numpy as np

from runvault.model.metrics import METRICS, Number
from runvault.model.table import Array, Table

RTOL = 1e-9  # FORMAT: `close` means the same orders, and values within 1e-9 relative

Tables: TypeAlias = Mapping[str, Table]
Value: TypeAlias = "Number | str"
ORDERS, EQUITY = "orders.parquet", "equity.parquet"


def verdict(
    old_tables: Tables,
    new_tables: Tables,
    old_metrics: Mapping[str, Number],
    new_metrics: Mapping[str, Number],
    rtol: float = RTOL,
) -> Literal["close", "drift"]:
    """Tell rounding from another outcome.

    Parameters
    ----------
    old_tables, new_tables : mapping of file name to Table
        ``orders.parquet`` and ``equity.parquet`` of the run's own column, as far as they are at hand.
    old_metrics, new_metrics : mapping
        The manifests' metrics.
    rtol : float
        How near two values are that agree, as a fraction of the greater.

    Returns
    -------
    str
        ``close`` where the orders are the same and every price, size, fee, equity value and metric agrees within
        `rtol`; a metric other than money that is smaller than 1 also within 1e-9 absolute. ``drift`` otherwise, and
        where neither orders nor (for engines without orders) the equity of both are at hand: closeness must be shown.
    """
    agree = _tables_agree(old_tables, new_tables, rtol) and _metrics_agree(old_metrics, new_metrics, rtol)
    return "close" if agree else "drift"


def _tables_agree(old: Tables, new: Tables, rtol: float) -> bool:
    if (ORDERS in old) != (ORDERS in new):
        return False
    shown = [name for name in (ORDERS, EQUITY) if name in old and name in new]
    return bool(shown) and all(tables_agree(old[name], new[name], rtol) for name in shown)


def tables_agree(a: Table, b: Table, rtol: float = RTOL) -> bool:
    """Return whether two tables have the same rows: floats within `rtol` relative, all else equal.

    A `column` that is the same in all rows says only where the run stood among others, and is left out.
    """
    names = a.columns.keys() | b.columns.keys()
    if a.columns.keys() != b.columns.keys() or a.n_rows != b.n_rows:
        return False
    return all(values_agree(a.columns[name], b.columns[name], rtol) for name in names - _left_out(a, b))


def _left_out(a: Table, b: Table) -> set[str]:
    return {"column", "id"} if has_one_column(a) and has_one_column(b) else set()


def has_one_column(table: Table) -> bool:
    """Return whether all rows of a table are about the same column of the portfolio."""
    columns = table.columns.get("column")
    return columns is None or all(value == columns[0] for value in columns[1:])


def values_agree(a: Array, b: Array, rtol: float = RTOL) -> bool:
    """Return whether two columns of equal length hold the same, floats within `rtol` relative; NaN equals NaN."""
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return bool(np.isclose(a, b, rtol=rtol, atol=0.0, equal_nan=True).all())
    if a.dtype.kind in "mM" and a.dtype.kind == b.dtype.kind:
        return bool(((a == b) | (np.isnat(a) & np.isnat(b))).all())
    return bool(np.all(a == b))


def _metrics_agree(old: Mapping[str, Number], new: Mapping[str, Number], rtol: float) -> bool:
    return old.keys() == new.keys() and not differing(old, new, old.get("start_value"), rtol)


def differing(
    old: Mapping[str, Value], new: Mapping[str, Value], start_value: Number = None, rtol: float = RTOL
) -> list[str]:
    """Return the names that two sets of values share and do not agree on, sorted.

    Parameters
    ----------
    old, new : mapping
        Metrics or statistics by name; before a colon and a space stands the column that one is about.
    start_value : number or None
        What money is compared with: a profit near zero is a difference of accounts.
    rtol : float
        How much of the greater two values may differ by.

    Examples
    --------
    >>> differing({"total_return": 0.1, "win_rate": 0.5}, {"total_return": 0.1 + 1e-12, "win_rate": 0.4})
    ['win_rate']
    """
    money = max(abs(start_value or 0.0), 1.0)
    shared = old.keys() & new.keys()
    return sorted(name for name in shared if not _agree(old[name], new[name], money if _is_money(name) else 1.0, rtol))


def _agree(a: Value, b: Value, scale: float, rtol: float) -> bool:
    """Compare within `rtol` of the greater, and within 1e-9 of `scale`; NaN equals NaN, and None nothing but itself.

    A wider tolerance widens the first alone, since a tenth of an account says nothing about a profit near zero.
    """
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return a == b
    if not (isfinite(a) and isfinite(b)):
        return a == b or (isnan(a) and isnan(b))
    return abs(a - b) <= max(rtol * max(abs(a), abs(b)), min(rtol, RTOL) * scale)


def _is_money(name: str) -> bool:
    metric = METRICS.get(name.rpartition(": ")[2])
    return metric is not None and metric.unit == "money"
