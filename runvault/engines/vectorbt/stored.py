"""What equity and trades are computed from, read out of stored tables with NumPy alone.

`runvault.engines.vectorbt.rebuild` reads the same tables into a portfolio, but needs the engine for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runvault.engines.vectorbt.accounts import Floats, Orders, filled, found_cash
from runvault.errors import FormatError
from runvault.model.table import Array, Table

if TYPE_CHECKING:
    from runvault.engines.result import PortfolioTables

FORMAT = "vbt-portfolio/1"
_NOT_COMPUTED_HERE = ("group_by", "cash_sharing", "price_dtype")


@dataclass(frozen=True)
class Account:
    """One column: `close` as the engine was given it, `valuation` as positions are valued at, gaps filled or not."""

    orders: Orders
    close: Floats
    valuation: Floats
    init_cash: float
    by_rust: bool

    @property
    def n_bars(self) -> int:
        """Return the number of bars."""
        return len(self.close)


def read_accounts(tables: PortfolioTables) -> list[Account] | None:
    """Return the wanted column, or all; None where only the engine can compute the portfolio.

    Raises
    ------
    FormatError
        The tables and the member do not fit together.
    """
    member = tables.portfolio
    is_plain = member.get("format") == FORMAT and member.get("rebuildable") is True
    if not is_plain or any(name in member for name in _NOT_COMPUTED_HERE):
        return None
    try:
        return _Reading(tables).accounts()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FormatError(f"the tables of the portfolio do not fit together: {error}") from error


def times_of(tables: PortfolioTables) -> tuple[Array, str | None]:
    """Return the row labels, bar numbers where they have several levels, and their time zone."""
    prices = _table(tables, "prices.parquet")
    return prices.columns.get("index", np.arange(prices.n_rows)), prices.time_zones.get("index")


class _Reading:
    def __init__(self, tables: PortfolioTables) -> None:
        self.member = tables.portfolio
        self.settings = self.member["settings"]
        shape = self.member["shape"]
        self.n_columns = shape[1] if len(shape) == 2 else 1
        self.prices = _table(tables, "prices.parquet")
        self.orders = _table(tables, "orders.parquet")
        self.labels = tables.tables.get("labels.parquet")
        self.n_bars = self.prices.n_rows
        self.columns = [tables.column] if tables.column is not None and len(shape) == 2 else range(self.n_columns)
        _check(self.n_bars > 0 and self.n_bars == shape[0], "prices do not have the portfolio's number of bars")
        _check(all(0 <= column < self.n_columns for column in self.columns), "there is no such column")

    def accounts(self) -> list[Account]:
        self._check_orders()
        orders = [self._orders_of(column) for column in self.columns]
        places = self._places()
        cash = self._cash(orders)
        by_rust = self.settings.get("engine") == "rust"
        accounts = []
        for own, column, init_cash in zip(orders, self.columns, cash, strict=True):
            close = self._series(f"price_{places[column]}")
            valuation = filled(close) if self.settings["fillna_close"] else close
            accounts.append(Account(own, close, valuation, init_cash, by_rust))
        return accounts

    def _series(self, name: str) -> Floats:
        _check(self.prices.columns[name].dtype == np.float64, f"{name} holds no prices")
        return self.prices.columns[name]

    def _check_orders(self) -> None:
        rows = self.orders.columns
        kinds = {"column": "i", "bar": "i", "side": "i", "size": "f", "price": "f", "fees": "f"}
        _check(all(rows[name].dtype.kind == kind for name, kind in kinds.items()), "orders of another type")
        _check(bool(np.all(np.diff(rows["column"]) >= 0)), "orders are not sorted by column")
        _check(bool(np.all((rows["bar"] >= 0) & (rows["bar"] < self.n_bars))), "an order lies outside the bars")
        positive = [np.isfinite(rows[name]) & (rows[name] > 0) for name in ("size", "price")]
        _check(bool(np.all(positive) and np.all(np.isfinite(rows["fees"]))), "an order without size or price")
        _check(bool(np.all((rows["side"] == 0) | (rows["side"] == 1))), "an order that is neither buy nor sell")

    def _orders_of(self, column: int) -> Orders:
        rows = self.orders.columns
        part = slice(*np.searchsorted(rows["column"], [column, column + 1]))
        _check(bool(np.all(np.diff(rows["bar"][part]) >= 0)), "the bars of orders go backwards")
        is_sell = rows["side"][part] == 1
        return Orders(rows["bar"][part], rows["size"][part], rows["price"][part], rows["fees"][part], is_sell)

    def _places(self) -> Array:
        stored = self.member.get("price_of")
        everything = np.arange(self.n_columns)
        if stored is None:
            return everything
        if "tile" in stored:
            return np.asarray(everything % _positive(stored["tile"]))
        if "repeat" in stored:
            return np.asarray(everything // _positive(stored["repeat"]))
        return self._array(stored["values"], "int")

    def _cash(self, orders: list[Orders]) -> list[float]:
        """Return each column's initial cash; what the engine aligns over columns is aligned over the wanted ones."""
        stored = self.member["init_cash"]
        if stored in ("auto", "align"):
            found = [found_cash(own, self.n_bars) for own in orders]
            return found if stored == "auto" else [max(found)] * len(found)
        if isinstance(stored, dict) and "values" in stored:
            values = self._array(stored["values"], "int" if stored.get("dtype") == "int64" else "float")
            return [float(values[column if len(values) > 1 else 0]) for column in self.columns]
        amount = stored.get("each", stored.get("float64", stored)) if isinstance(stored, dict) else stored
        return [_number(amount)] * len(orders)

    def _array(self, stored: Any, form: str) -> Array:
        """Return an array of the member: a list there, or a part of labels.parquet."""
        if isinstance(stored, list):
            return np.array([_number(value) for value in stored]).astype("i8" if form == "int" else "f8")
        _check(self.labels is not None, "labels.parquet is missing")
        assert self.labels is not None  # noqa: S101 - checked above, for the reader of types
        return np.asarray(self.labels.columns[form][self.labels.columns["array"] == stored["table"]])


def _positive(number: Any) -> int:
    _check(type(number) is int and number > 0, "prices are shared by no columns")
    return int(number)


def _number(value: Any) -> float:
    return float(value["float"] if isinstance(value, dict) else value)


def _table(tables: PortfolioTables, name: str) -> Table:
    _check(name in tables.tables, f"{name} is missing")
    return tables.tables[name]


def _check(is_right: bool, problem: str) -> None:
    if not is_right:
        raise FormatError(f"the tables of the portfolio do not fit together: {problem}")
