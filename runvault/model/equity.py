"""How far two equity curves lie apart."""

from __future__ import annotations

import numpy as np

from runvault.model.table import Array, Table


def equity_gap(a: Table, b: Table) -> dict[str, float | None]:
    """Compare two equity curves at the times that both have.

    Parameters
    ----------
    a, b : Table
        `time` and `value` (account currency), and `column` where there are several: their values are added up.

    Returns
    -------
    dict
        ``correlation`` of the values (Pearson), in [-1, 1]: None with fewer than two common times, or where a curve is
        flat. ``max_abs_gap``: the greatest distance in the account currency, None without a common time.

    Examples
    --------
    >>> a = Table({"time": np.array([1, 2, 3]), "value": np.array([100.0, 110.0, 120.0])})
    >>> b = Table({"time": np.array([2, 3, 4]), "value": np.array([100.0, 115.0, 130.0])})
    >>> equity_gap(a, b)
    {'correlation': 1.0, 'max_abs_gap': 10.0}
    """
    x, y = _common(_total(a), _total(b))
    if not len(x):
        return {"correlation": None, "max_abs_gap": None}
    return {"correlation": _correlation(x, y), "max_abs_gap": float(np.abs(x - y).max())}


def _total(table: Table) -> tuple[Array, Array]:
    """Return the times and the sum over columns, without times at which a value is missing."""
    time, value = table.columns["time"], np.asarray(table.columns["value"], dtype=np.float64)
    times, place = np.unique(time, return_inverse=True)
    totals = np.zeros(len(times))
    np.add.at(totals, place, value)
    known = np.isfinite(totals)
    return times[known], totals[known]


def _common(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    if not _comparable(a[0], b[0]):
        return np.empty(0), np.empty(0)
    _, in_a, in_b = np.intersect1d(a[0], b[0], assume_unique=True, return_indices=True)
    return a[1][in_a], b[1][in_b]


def _comparable(a: Array, b: Array) -> bool:
    numbers = "iuf"
    return a.dtype.kind == b.dtype.kind or (a.dtype.kind in numbers and b.dtype.kind in numbers)


def _correlation(x: Array, y: Array) -> float | None:
    dx, dy = x - x.mean(), y - y.mean()
    reach_x, reach_y = np.abs(dx).max(), np.abs(dy).max()
    if reach_x == 0.0 or reach_y == 0.0:
        return None
    dx, dy = dx / reach_x, dy / reach_y
    return float(np.clip((dx * dy).sum() / np.sqrt((dx * dx).sum() * (dy * dy).sum()), -1.0, 1.0))
