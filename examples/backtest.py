"""Archive single runs: every symbol with every pair of windows."""

from __future__ import annotations

from common import PRICES, read_params, read_prices, write_receipt
from strategy import NAME, dual_sma

import runvault as rv


def main() -> None:
    """Run the backtests one by one and archive each."""
    params, prices, vault = read_params(), read_prices(), rv.open()
    settings, runs = params["settings"], []
    for symbol in params["backtest"]["symbols"]:
        for windows in params["backtest"]["windows"]:
            pf = dual_sma(prices[symbol].dropna(), **windows, **settings)
            saved = vault.save(
                pf, strategy=NAME, params=windows, settings=settings, data={"prices": PRICES}, tags=["demo"]
            )
            print(symbol, windows, saved)
            runs.append(saved.id)
    write_receipt("backtest", runs)


if __name__ == "__main__":
    main()
