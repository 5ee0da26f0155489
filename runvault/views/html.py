"""Runs in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

from runvault.views.text import COLUMNS, HEADINGS, field_of
from runvault.views.values import show_field, show_value

Json: TypeAlias = Any

HEADLINES = ("total_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades", "profit_factor")


def run_html(run: Mapping[str, Json]) -> str:
    """Return one run: what it is, what was asked, what came of it."""
    rows = [("strategy", show_value(run["strategy"])), ("seed", show_value(run["seed"]))]
    rows += [(f"params.{key}", show_value(value)) for key, value in run["params"].items()]
    rows += [(name, show_field(name, run["metrics"][name])) for name in HEADLINES if name in run["metrics"]]
    rows += [("tags", show_value(run["tags"])), ("note", show_value(run["note"])), ("saved", run["created_at"])]
    body = "".join(f"<tr><th style='text-align:left'>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows)
    return f"<table><caption><code>{escape(run['short_id'])}</code></caption>{body}</table>"


def runs_html(runs: Sequence[Mapping[str, Json]], columns: Sequence[str] = COLUMNS) -> str:
    """Return a listing, a row a run."""
    head = "".join(f"<th>{escape(HEADINGS.get(column, column))}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(show_field(column, field_of(run, column)))}</td>" for column in columns)
        + "</tr>"
        for run in runs
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
