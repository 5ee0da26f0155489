"""Sweep a strategy over a grid with Dask, one archived run a combination; to be run in a clone of this repository.

Needs the extra `runvault[dask]`. Without a cluster, Dask computes in processes of this machine; combinations that equal
code has archived already are skipped, so that a sweep that was stopped goes on where it was.
"""

import runvault as rv

FILE = "examples/data/stocks.parquet"
GRID = {"symbol": ["AAPL", "IBM"], "days": [20, 40, 60]}


def main() -> None:
    """Run the grid and print its leaderboard."""
    vault = rv.init()
    entry = "examples/record.py:breakout"
    swept = vault.sweep(entry, grid=GRID, data={"stocks": FILE}, executor="dask", workers=2, tags=["dask"])
    print(swept)
    print(vault.best("sharpe_ratio", tags=["dask"]))


if __name__ == "__main__":
    main()
