"""Archive every call of a function: the decorator `record`, to be run in a clone of this repository."""

from pathlib import Path

import pandas as pd
import vectorbt as vbt

import runvault as rv

STOCKS = Path("examples/data/stocks.parquet")


@rv.record(data={"stocks": STOCKS}, tags=["example"])
def breakout(stocks: pd.DataFrame, symbol: str, days: int = 55, fees: float = 0.001) -> vbt.Portfolio:
    """Hold a stock from its highest close of `days` days until its lowest of half as many."""
    close = stocks[stocks["ticker"] == symbol].set_index("date")["adj_close"].rename(symbol)
    entries = close > close.rolling(days).max().shift()
    exits = close < close.rolling(days // 2).min().shift()
    return vbt.Portfolio.from_signals(close, entries, exits, init_cash=10_000, fees=fees, freq="1D")


def main() -> None:
    """Call it as any function; what is archived already, from equal code, comes from the archive."""
    vault = rv.init()
    for symbol in ("AAPL", "IBM"):
        for days in (20, 55):
            pf = breakout(symbol=symbol, days=days)
            print(breakout.saved, f"total return {pf.total_return():.1%}")
    print(vault.best("sharpe_ratio", strategy="breakout"))


if __name__ == "__main__":
    main()
