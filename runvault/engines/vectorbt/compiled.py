"""vectorbt's compiled functions, loaded ahead of their use."""

from __future__ import annotations


def load_compiled() -> None:
    """Have what vectorbt compiled, and numba keeps in its cache, loaded for the forks of this process.

    Loading takes seconds, more than most backtests: a portfolio with a loss, a gain and an open trade goes through what
    nearly every run needs.
    """
    import pandas as pd
    import vectorbt as vbt

    from runvault.engines.vectorbt.extract import extract

    close = pd.Series([10.0, 9.0, 10.0, 12.0, 11.0, 12.0], pd.date_range("2024-01-01", periods=6), name="close")
    entries = pd.Series([True, False, True, False, True, False], close.index)
    exits = pd.Series([False, True, False, True, False, False], close.index)
    extract(vbt.Portfolio.from_signals(close, entries, exits, init_cash=100.0, freq="1D"))
