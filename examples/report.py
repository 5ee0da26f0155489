"""Print the leaderboard and the diff of two runs, and write both with curves and a heatmap as one page."""

from __future__ import annotations

from typing import Any

from common import PAGE, read_params, read_receipt, write_receipt
from strategy import NAME

import runvault as rv
from runvault.model.metrics import METRICS
from runvault.views.figures import Curve, equity_figure, heatmap_figure
from runvault.views.page import Section, differences, leaderboard, page
from runvault.views.text import diff_text


def main() -> None:
    """Read what the other steps archived, print it and draw it."""
    asked, vault = read_params()["report"], rv.open()
    ids = {step: read_receipt(step)["runs"] for step in ("backtest", "sweep")}
    singles = sorted((vault.get(run) for run in ids["backtest"]), key=lambda run: (run.symbols, str(run.params)))
    best = vault.best(asked["metric"], n=asked["rows"], strategy=NAME, tags=["demo"])
    a, b = [run for run in singles if asked["symbol"] in run.symbols][:2]
    diff = vault.diff(a, b).to_dict()
    print(best, diff_text(diff), sep="\n\n")
    swept = [run.to_dict() for run in vault.list(strategy=NAME, tags=["sweep"])]
    label = METRICS[asked["metric"]].label
    sections = [
        equity(singles),
        heatmap(swept, asked["metric"], label, best[0].id),
        Section(
            "Leaderboard",
            f"The best {len(best)} of {best.total:,} runs by {label}. The best of many trials is partly luck: "
            "its neighbours on the map tell more than its rank.",
            leaderboard([run.to_dict() for run in best]),
        ),
        Section(
            "Two runs compared",
            f"The same strategy on {asked['symbol']}, with other windows.",
            differences(diff, a.to_dict(), b.to_dict()),
        ),
    ]
    title, span = (
        "Dual moving averages on four stocks",
        f"{min(r.start for r in singles)} to {max(r.end for r in singles)}",
    )
    text = page(title, sections, subtitle=f"{NAME} · {best.total:,} runs · {span}", footer=f"runvault {rv.__version__}")
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    write_receipt("report", [run for runs in ids.values() for run in runs], [PAGE])
    print(f"\n{PAGE} has the curves, the heatmap and the tables")


def equity(runs: list[Any]) -> Section:
    """Return the equity curves and drawdowns of the single runs."""
    figure = equity_figure([Curve(run.to_dict(), run.equity()) for run in runs], benchmark=True)
    text = f"The {len(runs)} single runs. A click in the legend hides or shows a line, a double click shows it alone."
    return Section("Equity and drawdown", text, figures=[figure])


def heatmap(runs: list[dict[str, Any]], metric: str, label: str, best: str) -> Section:
    """Return the metric of the sweep over its two windows."""
    figure = heatmap_figure(runs, "slow_window", "fast_window", metric, marked=[best])
    return Section(
        f"{label} over both windows", f"The {len(runs):,} runs of the sweep; a ring marks the best.", figures=[figure]
    )


if __name__ == "__main__":
    main()
