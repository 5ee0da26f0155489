"""The strategy of the demo: hold a stock while the mean of its last closes is above the mean over a longer time."""

from __future__ import annotations

from typing import Any

import pandas as pd
import vectorbt as vbt

NAME = "dual_sma"


def dual_sma(close: pd.Series, fast_window: int, slow_window: int, **settings: Any) -> vbt.Portfolio:
    """Backtest one pair of windows on the closes of one symbol."""
    # Without hide_params the windows would become part of the column's name, which is the symbol.
    fast = vbt.MA.run(close, fast_window, hide_params=["window"])
    slow = vbt.MA.run(close, slow_window, hide_params=["window"])
    return _cross(close, fast, slow, settings)


def backtest(prices: pd.DataFrame, symbol: str, fast_window: int, slow_window: int) -> vbt.Portfolio:
    """Backtest one pair of windows on one symbol of a table of closes: what `runvault run` and `Vault.run` call.

    Cash, fees and frequency are settings of the run: vectorbt's defaults while it is called.
    """
    return dual_sma(prices.set_index("date")[symbol].dropna(), fast_window, slow_window)


def backtests(prices: pd.DataFrame, symbol: str, fast_window: Any, slow_window: Any) -> vbt.Portfolio:
    """Backtest many pairs of windows at once, given as two arrays: one portfolio, a column a pair."""
    close = prices.set_index("date")[[symbol]].rename_axis(columns="symbol").dropna()
    fast = vbt.MA.run(close, fast_window, short_name="fast")
    return _cross(close, fast, vbt.MA.run(close, slow_window, short_name="slow"), {})


def _cross(close: pd.Series | pd.DataFrame, fast: Any, slow: Any, settings: dict[str, Any]) -> vbt.Portfolio:
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    return vbt.Portfolio.from_signals(close, entries, exits, **settings)
