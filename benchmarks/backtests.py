"""Portfolios on the real prices of examples/data, and results prepared from them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from runvault.engines import extract
from runvault.engines.result import Result
from runvault.model.table import Table

PRICES = Path(__file__).parents[1] / "examples" / "data" / "stocks.parquet"
SETTINGS = {"init_cash": 10_000, "fees": 0.001, "freq": "1D"}
FAST, SLOW = 10, 50

_numbers = itertools.count(1)


@cache
def closes(symbol: str = "GOOG") -> Any:
    """Return the adjusted closes of one stock, a pandas Series."""
    import pandas as pd

    rows = pd.read_parquet(PRICES, columns=["ticker", "date", "adj_close"])
    close = rows[rows["ticker"] == symbol].set_index("date")["adj_close"]
    return close.rename(symbol)


def single(symbol: str = "GOOG") -> Any:
    """Return a fresh portfolio of one column: nothing of it is computed yet."""
    import vectorbt as vbt

    close = closes(symbol)
    above = close.rolling(FAST).mean() > close.rolling(SLOW).mean()
    return vbt.Portfolio.from_signals(close, above, ~above, **SETTINGS)


def sweep(columns: int) -> Any:
    """Return a fresh portfolio of at least `columns` columns, one a pair of windows."""
    import vectorbt as vbt

    fast, slow = vbt.MA.run_combs(closes(), window=windows(columns), r=2, short_names=["fast", "slow"])
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    return vbt.Portfolio.from_signals(closes(), entries, exits, **SETTINGS)


def windows(columns: int) -> list[int]:
    """Return the windows whose pairs are at least `columns` many."""
    count = 2
    while count * (count - 1) // 2 < columns:
        count += 1
    return list(range(2, 2 + count))


def new_params() -> dict[str, int]:
    """Return parameters that no run has had before."""
    return {"fast": FAST, "slow": SLOW, "number": next(_numbers)}


class Prepared:
    """Results ready to be saved, of which no two share a byte of their artifacts: none is stored already."""

    def __init__(self) -> None:
        pf = single()
        self._result: Result = extract(pf)
        self._dump = pf.dumps()

    def new(self, *, dump: bool = True) -> Result:
        """Return the result with each table and the dump a little different from any before."""
        number = next(_numbers)
        content = self._dump + number.to_bytes(8, "little")
        return replace(
            self._result,
            tables={name: _changed(table, number) for name, table in self._result.tables.items()},
            dump=(lambda: content) if dump else None,
        )


def _changed(table: Table, number: int) -> Table:
    """Return a table whose first column of numbers is a little greater."""
    columns = dict(table.columns)
    name = next(name for name, values in columns.items() if values.dtype.kind == "f")
    columns[name] = columns[name] * (1 + number * 1e-12)
    return replace(table, columns=columns)
