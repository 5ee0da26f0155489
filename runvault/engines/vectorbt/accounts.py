"""Cash, position and value of one column from its filled orders, in the engine's own order of operations.

The engine adds with a tolerance, so that what should cancel does: a plain cumulative sum differs in the last bits.
Everything here is NumPy and Python, since importing the engine takes seconds. Python loops run over orders, not bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf, isnan
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

RELATIVE = 1e-9
ABSOLUTE = 1e-12


@dataclass(frozen=True)
class Orders:
    """The filled orders of one column, in the engine's order: bars never go backwards; a sell has a negative sign."""

    bars: Integers
    sizes: Floats
    prices: Floats
    fees: Floats
    is_sell: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.bars)


def is_close(a: float, b: float) -> bool:
    """Tell whether two numbers are equal to the engine: within 1e-9 of the larger, or 1e-12."""
    if isnan(a) or isnan(b) or isinf(a) or isinf(b):
        return False
    return a == b or abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), ABSOLUTE)


def add(a: float, b: float) -> float:
    """Return a sum that is 0 where the engine takes it for 0.

    Examples
    --------
    >>> 0.3 + -(0.1 + 0.2), add(0.3, -(0.1 + 0.2))
    (-5.551115123125783e-17, 0.0)
    """
    opposite = _sign(a) != _sign(b)
    is_zero = is_close(abs(a), abs(b)) if opposite else is_close(a + b, 0.0)
    return 0.0 if is_zero else a + b


def cash_and_position(orders: Orders, init_cash: float, n_bars: int) -> tuple[Floats, Floats]:
    """Return cash and signed position at each bar's close."""
    signed = np.where(orders.is_sell, -orders.sizes, orders.sizes)
    cash_flow = -signed * orders.prices - orders.fees
    bars = orders.bars.tolist()
    return _running(bars, cash_flow.tolist(), init_cash, n_bars), _running(bars, signed.tolist(), 0.0, n_bars)


def cash_flow_by_bar(orders: Orders, n_bars: int) -> Floats:
    """Return what each bar's orders together bring in."""
    signed = np.where(orders.is_sell, -orders.sizes, orders.sizes)
    out = np.zeros(n_bars)
    for bar, flow in _by_bar(orders.bars.tolist(), (-signed * orders.prices - orders.fees).tolist()):
        out[bar] = flow
    return out


def found_cash(orders: Orders, n_bars: int) -> float:
    """Return the initial cash that the engine finds by itself: the deepest overdraft, 1 where there is none."""
    lowest = np.min(np.cumsum(cash_flow_by_bar(orders, n_bars)))
    return float(abs(lowest)) if lowest < 0 else 1.0


def filled(close: Floats) -> Floats:
    """Return prices with gaps filled forward, then backward."""
    known = np.flatnonzero(~np.isnan(close))
    if len(known) in (0, len(close)):
        return close
    last = np.searchsorted(known, np.arange(len(close)), side="right") - 1
    return np.asarray(close[known[np.maximum(last, 0)]])


def value_at_close(cash: Floats, position: Floats, close: Floats) -> Floats:
    """Return the equity at each bar's close; the price of what is not held does not matter."""
    return np.asarray(cash + np.where(position == 0, 0.0, close) * position)


def benchmark_at_close(close: Floats, init_cash: float, *, by_rust: bool) -> Floats:
    """Return the value of holding the asset throughout; the engine's two backends differ in the last bit."""
    return np.asarray(close * (init_cash / close[0]) if by_rust else close / close[0] * init_cash)


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def _by_bar(bars: list[int], flows: list[float]) -> list[tuple[int, float]]:
    """Return the sum of each bar's flows, in the order of the orders."""
    out: list[tuple[int, float]] = []
    for bar, flow in zip(bars, flows, strict=True):
        if out and out[-1][0] == bar:
            out[-1] = (bar, add(out[-1][1], flow))
        else:
            out.append((bar, add(0.0, flow)))
    return out


def _running(bars: list[int], flows: list[float], start: float, n_bars: int) -> Floats:
    """Return the running sum over bars.

    The engine adds 0 on bars without orders: on the first of them that can still turn a tiny remainder into 0.
    """
    now = add(start, 0.0)
    places, values = [0], [now]
    summed = _by_bar(bars, flows)
    for place, (bar, flow) in enumerate(summed):
        now = add(start if bar == 0 else now, flow)
        places.append(bar)
        values.append(now)
        follows = summed[place + 1][0] if place + 1 < len(summed) else n_bars
        if bar + 1 < follows:
            now = add(now, 0.0)
            places.append(bar + 1)
            values.append(now)
    lengths = np.diff([*places, n_bars])
    return np.repeat(np.array(values), lengths)
