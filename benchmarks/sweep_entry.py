"""The strategies that are swept: one backtest a call, and one column a combination."""

from __future__ import annotations

from typing import Any

import vectorbt as vbt


def dual_sma(prices: Any, fast: int, slow: int) -> Any:
    close = prices["close"]
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    return vbt.Portfolio.from_signals(close, above, ~above, init_cash=10_000, fees=0.001, freq="1D")


def dual_smas(prices: Any, fast: Any, slow: Any) -> Any:
    close = prices["close"]
    above = vbt.MA.run(close, fast, short_name="fast").ma_above(vbt.MA.run(close, slow, short_name="slow"))
    return vbt.Portfolio.from_signals(close, above, ~above.to_numpy(), init_cash=10_000, fees=0.001, freq="1D")


def start(path: str) -> None:
    """Read the prices once in each process of a bare pool."""
    import pandas as pd

    _prices[:] = [pd.read_parquet(path)]


def stats(combination: tuple[int, int]) -> Any:
    """Return what a loop without an archive would keep."""
    return dual_sma(_prices[0], *combination).stats()


_prices: list[Any] = []
