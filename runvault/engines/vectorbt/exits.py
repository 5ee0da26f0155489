"""Trades of one column from its filled orders: one for each exit, and the open remainder, as the engine counts them.

A trade of a position that grew in steps is entered at the mean price of the steps; an exit of a part takes its share
of entry costs along, and an order beyond the position closes it and opens the opposite one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from runvault.engines.vectorbt.accounts import Orders, add, is_close

LONG, SHORT = 0, 1
OPEN, CLOSED = 0, 1


class Trade(NamedTuple):
    """One trade; the names are those of trades.parquet."""

    entry_bar: int
    entry_price: float
    entry_fees: float
    exit_bar: int
    exit_price: float
    exit_fees: float
    size: float
    pnl: float
    ret: float
    direction: int
    status: int
    position: int  # which position it belongs to, from 0


@dataclass
class _Position:
    """A position while it is held: what its entries come to, less the share of the exits so far."""

    number: int
    direction: int
    entry_bar: int
    size: float = 0.0
    gross: float = 0.0
    fees: float = 0.0

    def grow(self, size: float, gross: float, fees: float) -> None:
        self.size += size
        self.gross += gross
        self.fees += fees

    def shrink(self, size: float) -> None:
        left = (self.size - size) / self.size
        self.size *= left
        self.gross *= left
        self.fees *= left

    def trade(self, size: float, bar: int, price: float, fees: float, status: int) -> Trade:
        entry_price = self.gross / self.size
        entry_fees = size / self.size * self.fees
        entry_value = size * entry_price
        gain = add(size * price, -entry_value)
        if gain != 0 and self.direction == SHORT:
            gain = -gain
        pnl = gain - entry_fees - fees
        ret = pnl / entry_value
        return Trade(
            self.entry_bar,
            entry_price,
            entry_fees,
            bar,
            price,
            fees,
            size,
            pnl,
            ret,
            self.direction,
            status,
            self.number,
        )


def exit_trades(orders: Orders, last_close: float, n_bars: int, first: int = 0) -> Iterator[Trade]:
    """Yield the trades of one column, its positions numbered from `first`.

    What is still held is valued at `last_close`, the last bar's price, a gap as a gap.
    """
    position: _Position | None = None
    count = first
    for bar, size, price, fees, is_sell in _rows(orders):
        direction = SHORT if is_sell else LONG
        if position is None:
            position, count = _Position(count, direction, bar), count + 1
        if position.direction == direction:
            position.grow(size, size * price, fees)
        elif is_close(size, position.size):
            yield position.trade(position.size, bar, price, fees, CLOSED)
            position = None
        elif size < position.size:
            yield position.trade(size, bar, price, fees, CLOSED)
            position.shrink(size)
        else:
            share = position.size / size * fees
            yield position.trade(position.size, bar, price, share, CLOSED)
            rest = size - position.size
            position, count = _Position(count, direction, bar), count + 1
            position.grow(rest, rest * price, fees - share)
    if position is not None and position.size > 0 and not is_close(position.size, 0.0):
        yield position.trade(position.size, n_bars - 1, last_close, 0.0, OPEN)


def _rows(orders: Orders) -> Iterator[tuple[int, float, float, float, bool]]:
    columns = (orders.bars, orders.sizes, orders.prices, orders.fees, orders.is_sell)
    yield from zip(*(column.tolist() for column in columns), strict=True)
