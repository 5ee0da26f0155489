"""Run single backtests, every symbol with every pair of windows, and archive each so that it can be replayed."""

from __future__ import annotations

import json
from typing import Any

from common import CURVES, METRICS, PRICES, read_params, write_receipt
from strategy import NAME

import runvault as rv

ENTRY = "examples/strategy.py:backtest"
SHOWN = ("total_return", "sharpe_ratio", "max_drawdown", "total_trades")


def main() -> None:
    """Run the backtests one by one; what equal code has archived already is not computed again."""
    params, vault = read_params(), rv.open()
    runs = {}
    for symbol in params["backtest"]["symbols"]:
        for windows in params["backtest"]["windows"]:
            asked = {"symbol": symbol, **windows}
            saved = vault.run(
                ENTRY,
                strategy=NAME,
                params=asked,
                settings=params["settings"],
                data={"prices": PRICES},
                tags=["demo"],
            )
            print(symbol, windows, saved)
            runs[symbol, f"{windows['fast_window']}-{windows['slow_window']}"] = saved.run
    write_metrics(runs)
    write_curves(runs)
    write_receipt("backtest", [run.id for run in runs.values()])


def write_metrics(runs: dict[tuple[str, str], Any]) -> None:
    """Write some metrics of each run for `dvc metrics`, to six digits: their last bits may differ between machines."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for (symbol, windows), run in runs.items():
        table.setdefault(symbol, {})[windows] = {
            name: value if isinstance(value, int) else float(f"{value:.6g}")
            for name in SHOWN
            if (value := run.metrics[name]) is not None
        }
    METRICS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8", newline="\n")


def write_curves(runs: dict[tuple[str, str], Any]) -> None:
    """Write the equity curves for `dvc plots`, a column a run, in cents."""
    import pandas as pd

    curves = {" ".join(name): run.equity().set_index("time")["value"] for name, run in runs.items()}
    pd.DataFrame(curves).to_csv(CURVES, index_label="date", float_format="%.2f", lineterminator="\n")


if __name__ == "__main__":
    main()
