"""Moments of returns per period, for many columns at once: with them any annualised ratio can be had later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from runvault.engines.result import Number

Floats: TypeAlias = npt.NDArray[np.float64]

_BLOCK = 256  # columns looked at together: a block of 5,000 bars and its powers stay within a few tens of megabytes
_ROUNDING = 8 * np.finfo(np.float64).eps


def compute_moments(returns: Floats, ddof: int = 1) -> list[dict[str, Number]]:
    """Return the moments of each column's returns per period.

    Parameters
    ----------
    returns : array, shape (n_bars, n_columns)
        Fractions per period. NaN is a period without a return and is left out.
    ddof : int
        Degrees of freedom taken off in `std` alone.

    Returns
    -------
    list of dict
        For each column `n_periods` (returns that are not NaN), `mean`, `std` (divisor ``n_periods - ddof``),
        `skew` (``m3 / m2 ** 1.5``) and `kurtosis` (``m4 / m2 ** 2``, 3 for the normal distribution) with the central
        moments ``mk`` of divisor `n_periods`, and `autocorrelation`: Pearson's correlation of each return with the one
        before it. None where undefined: too few returns, an infinite one, returns that never vary.

    Notes
    -----
    The probabilistic Sharpe ratio takes `skew` and `kurtosis` as they are. Source: Bailey and Lopez de Prado, "The
    Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012. A column gives the same bits alone and among others.

    Examples
    --------
    >>> compute_moments(np.array([[0.0], [0.5], [1.0]]))[0]["std"]
    0.5
    """
    out: list[dict[str, Number]] = []
    with np.errstate(all="ignore"):  # 0/0 and inf-inf are undefined moments, told as None
        for block in _blocks(returns):
            out.extend(_rows(_block_moments(block, ddof)))
    return out


def _blocks(returns: Floats) -> Iterator[Floats]:
    """Yield the columns as rows, contiguous, so that each is summed in the same order however many there are."""
    for start in range(0, returns.shape[1], _BLOCK):
        yield np.ascontiguousarray(returns[:, start : start + _BLOCK].T, dtype=np.float64)


def _block_moments(returns: Floats, ddof: int) -> dict[str, Floats]:
    known = ~np.isnan(returns)
    n = known.sum(axis=1)
    mean = np.where(known, returns, 0.0).sum(axis=1) / n
    gap = np.where(known, returns - mean[:, None], 0.0)
    square = gap * gap
    m2 = square.sum(axis=1) / n
    # A return that never varies leaves rounding errors of its mean behind, which are no variance.
    m2[m2 <= (_ROUNDING * mean) ** 2] = 0.0
    return {
        "n_periods": n,
        "mean": mean,
        "std": np.sqrt(m2 * n / np.where(n > ddof, n - ddof, np.nan)),
        "skew": (square * gap).sum(axis=1) / n / m2**1.5,
        "kurtosis": (square * square).sum(axis=1) / n / m2**2,
        "autocorrelation": np.where(m2 > 0.0, _lag_one(returns), np.nan),
    }


def _lag_one(returns: Floats) -> Floats:
    before, after = returns[:, :-1], returns[:, 1:]
    known = ~(np.isnan(before) | np.isnan(after))
    n = known.sum(axis=1)
    x = _centred(before, known, n)
    y = _centred(after, known, n)
    both = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.asarray(np.clip(both, -1.0, 1.0), dtype=np.float64)


def _centred(values: Floats, known: npt.NDArray[np.bool_], n: npt.NDArray[np.int64]) -> Floats:
    mean = np.where(known, values, 0.0).sum(axis=1) / n
    gap: Floats = np.where(known, values - mean[:, None], 0.0)
    # As with the whole: what never varies has no correlation, whatever rounding makes of it.
    gap[(gap * gap).sum(axis=1) / n <= (_ROUNDING * mean) ** 2] = 0.0
    return gap


def _rows(moments: dict[str, Floats]) -> Iterator[dict[str, Number]]:
    names = tuple(moments)
    columns = [[x if np.isfinite(x) else None for x in values.tolist()] for values in moments.values()]
    for row in zip(*columns, strict=True):
        yield dict(zip(names, row, strict=True))
