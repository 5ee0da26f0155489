"""The page about one run: its curves, what was asked, what came of it, what it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.model.changes import flatten
from runvault.views.figures import Curve, equity_figure
from runvault.views.page import Cell, Section, page, table
from runvault.views.values import show_field, show_value

if TYPE_CHECKING:
    import pandas as pd

Json: TypeAlias = Any


def run_page(run: Mapping[str, Json], manifest: Mapping[str, Json], equity: pd.DataFrame | None) -> str:
    """Return the page as HTML, to be written as UTF-8.

    Parameters
    ----------
    run, manifest : mapping
        The run as JSON, and its manifest.
    equity : pd.DataFrame or None
        What `Run.equity` gives; None where there is none, and then there is no figure.
    """
    sections = []
    if equity is not None:
        figure = equity_figure([Curve(run, equity)], benchmark=True)
        sections.append(Section("Equity and drawdown", figures=[figure]))
    sections.append(Section("Metrics", "", _rows((n, show_field(n, v)) for n, v in run["metrics"].items())))
    asked = {"params": run["params"], "settings": run["settings"], "data": run["data"], "seed": run["seed"]}
    sections.append(Section("What was asked", "", _rows((n, show_value(v)) for n, v in flatten(asked).items())))
    made = {name: manifest.get(name) or {} for name in ("code", "environment")}
    sections.append(Section("What it was made with", "", _rows((n, show_value(v)) for n, v in flatten(made).items())))
    if manifest["warnings"]:
        sections.append(Section("Warnings", "\n".join(manifest["warnings"])))
    span = f"{run['start']} to {run['end']}" if run["start"] else ""
    subtitle = " · ".join(text for text in (", ".join(run["symbols"]), span, ", ".join(run["tags"])) if text)
    return page(f"{run['strategy']} {run['short_id']}", sections, subtitle=subtitle, footer=run["id"])


def _rows(pairs: Any) -> str:
    return table([], [[Cell(name), Cell(value, "number")] for name, value in pairs])
