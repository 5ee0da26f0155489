"""Run a sweep: every fast window with every slow one, each archived as a run that can be replayed alone."""

from __future__ import annotations

from common import PRICES, read_params, write_receipt
from strategy import NAME

import runvault as rv

ENTRY = "examples/strategy.py:backtests"


def main() -> None:
    """Call the strategy with arrays of windows: a portfolio of many columns at a time, one run a column."""
    params, vault = read_params(), rv.open()
    asked = params["sweep"]
    swept = vault.sweep(
        ENTRY,
        {name: range(*asked[name].values()) for name in ("fast_window", "slow_window")},
        vectorized=True,
        executor="serial",  # vectorbt computes all columns at once; more processes would have to load it first
        strategy=NAME,
        params={"symbol": asked["symbol"]},
        settings=params["settings"],
        data={"prices": PRICES},
        tags=["demo", "sweep"],
    )
    print(f"{swept.total:,} combinations: {swept.archived:,} archived, {swept.skipped:,} there already")
    write_receipt("sweep", [*swept.ids, *swept.skipped_ids])


if __name__ == "__main__":
    main()
