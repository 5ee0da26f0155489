"""Walk forward: choose the best windows on five years, archive what they do in the next, and go on a year.

Each archived run is out of sample, cut from one file by its dates, and can be replayed alone. To be run in a clone of
this repository.
"""

from itertools import combinations

import pandas as pd
import vectorbt as vbt

import runvault as rv

FILE = "examples/data/stocks.parquet"
SYMBOL = "MSFT"
WINDOWS = (5, 10, 20, 40, 80)
TRAINED_YEARS = 5


def closes(stocks: pd.DataFrame, symbol: str) -> pd.Series:
    """Return the adjusted closes of one stock."""
    return stocks[stocks["ticker"] == symbol].set_index("date")["adj_close"].rename(symbol)


def crossing(close: pd.Series, fast: int, slow: int) -> vbt.Portfolio:
    """Hold the stock while its fast mean is above its slow one."""
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    return vbt.Portfolio.from_signals(close, above, ~above, init_cash=10_000, fees=0.001, freq="1D")


def year_of_crossing(stocks: pd.DataFrame, symbol: str, fast: int, slow: int, year: int) -> vbt.Portfolio:
    """Trade one year; the means come from the days before it, too."""
    close = closes(stocks, symbol)
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    within = close.index.year == year
    return vbt.Portfolio.from_signals(
        close[within], above[within], ~above[within], init_cash=10_000, fees=0.001, freq="1D"
    )


def best_windows(close: pd.Series) -> tuple[int, int]:
    """Return the pair of windows with the highest Sharpe ratio."""
    return max(combinations(WINDOWS, 2), key=lambda pair: crossing(close, *pair).sharpe_ratio())


def main(first: int = 2006, last: int = 2012) -> None:
    """Archive the chosen windows of each year, on the year after those that chose them."""
    vault = rv.init()
    close = closes(pd.read_parquet(FILE), SYMBOL)
    entry = "examples/walk_forward.py:year_of_crossing"
    for year in range(first, last + 1):
        fast, slow = best_windows(close[str(year - TRAINED_YEARS) : str(year - 1)])
        params = {"symbol": SYMBOL, "fast": fast, "slow": slow, "year": year}
        note = f"the best of {len(WINDOWS) * (len(WINDOWS) - 1) // 2} pairs on the {TRAINED_YEARS} years before"
        saved = vault.run(
            entry, strategy="walk_forward", params=params, data={"stocks": FILE}, tags=[f"oos-{year}"], note=note
        )
        print(f"{year}: {fast}/{slow} {saved} total return {saved.run.metrics['total_return']:.1%}")
    runs = vault.list(strategy="walk_forward", sort="start")
    growth = pd.Series([1 + run.metrics["total_return"] for run in runs]).prod()
    print(f"{len(runs)} years out of sample: {growth - 1:.1%}")


if __name__ == "__main__":
    main()
