"""Archive two backtests, look at them, and compare them: a first look, to be run in a clone of this repository."""

import pandas as pd
import vectorbt as vbt

import runvault as rv

vault = rv.init()  # makes the branch `runvault` once; your checkout stays as it is

FILE = "examples/data/stocks.parquet"
stocks = pd.read_parquet(FILE)
close = stocks[stocks["ticker"] == "GOOG"].set_index("date")["adj_close"].rename("GOOG")

for fast, slow in [(10, 50), (20, 100)]:
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    pf = vbt.Portfolio.from_signals(close, above, ~above, init_cash=10_000, fees=0.001, freq="1D")
    params = {"fast": fast, "slow": slow}
    print(vault.save(pf, strategy="quickstart", params=params, settings={"fees": 0.001}, data={"prices": FILE}))

runs = vault.best("sharpe_ratio", strategy="quickstart")  # the leaderboard; a table in a notebook
print(runs)
print(vault.diff(runs[0], runs[1]))  # what was asked differently, and what came of it
print(runs[0].equity().tail(3))  # curves, trades and orders are data frames
print(runs[0].portfolio().total_return())  # a vectorbt.Portfolio again, rebuilt from tables
