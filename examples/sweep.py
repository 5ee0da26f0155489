"""Archive a sweep: one run for each pair of windows, all in one commit."""

from __future__ import annotations

from common import PRICES, read_params, read_prices, write_receipt
from strategy import NAME, dual_sma_sweep

import runvault as rv


def main() -> None:
    """Run all pairs as one portfolio and archive its columns."""
    params, prices, vault = read_params(), read_prices(), rv.open()
    settings, asked = params["settings"], params["sweep"]
    windows = list(range(asked["windows"]["start"], asked["windows"]["stop"], asked["windows"]["step"]))
    pf = dual_sma_sweep(prices[[asked["symbol"]]].dropna(), windows, **settings)
    saved = vault.save_sweep(pf, strategy=NAME, settings=settings, data={"prices": PRICES}, tags=["demo", "sweep"])
    print(saved)
    write_receipt("sweep", [column.id for column in saved])


if __name__ == "__main__":
    main()
