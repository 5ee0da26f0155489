"""Tables and figures as one HTML page that stands alone: it can be mailed and printed, and asks the network nothing.

The page carries one copy of plotly's JavaScript (plotly for Python ships no smaller bundle). A content security policy
names every script by its hash and forbids connections, so that neither a name nor a note can bring in anything.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.model.metrics import METRICS, Number
from runvault.views.markup import escape, script_json
from runvault.views.values import UNDEFINED, show_metric, show_pairs, show_value

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Json: TypeAlias = Any
Run: TypeAlias = Mapping[str, Json]

LEADERBOARD = ("sharpe_ratio", "total_return", "max_drawdown", "win_rate", "total_trades")


@dataclass(frozen=True)
class Section:
    """A part of the page: a title and a sentence as plain text, a body as HTML, and figures."""

    title: str
    text: str = ""
    body: str = ""
    figures: Sequence[Figure] = field(default=())


@dataclass(frozen=True)
class Cell:
    """A cell of a table: plain text, and how it is set (``number``, ``id``, ``wide`` or nothing)."""

    text: str
    kind: str = ""


def page(title: str, sections: Sequence[Section], *, subtitle: str = "", footer: str = "") -> str:
    """Return the page as HTML, to be written as UTF-8.

    Parameters
    ----------
    title, subtitle, footer : str
        Plain text, like every title and text of a section.
    """
    figures = [figure for section in sections for figure in section.figures]
    numbers = iter(range(len(figures)))
    body = "".join(_section(section, numbers) for section in sections)
    scripts = _scripts() if figures else []
    data = "".join(_figure_data(number, figure) for number, figure in enumerate(figures))
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en">\n<head>\n<meta charset="utf-8">\n{_policy(scripts)}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_template('page.css')}</style>\n</head>\n"
        f"<body>\n<header><h1>{escape(title)}</h1>{_paragraph(subtitle)}</header>\n{body}"
        f"<footer>{escape(footer)}</footer>\n{data}"
        f"{''.join(f'<script>{script}</script>' for script in scripts)}\n</body>\n</html>\n"
    )


def leaderboard(runs: Sequence[Run], metrics: Sequence[str] = LEADERBOARD) -> str:
    """Return runs as an HTML table in the given order, with their parameters and the named metrics."""
    head = [Cell("", "number"), Cell("run"), Cell("strategy"), Cell("symbols"), Cell("parameters")]
    rows = [
        [
            Cell(str(place), "number"),
            Cell(run["short_id"], "id"),
            Cell(run["strategy"]),
            Cell(show_value(run["symbols"])),
            Cell(show_pairs(run["params"]), "wide"),
            *(Cell(_metric(name, run["metrics"].get(name)), "number") for name in metrics),
        ]
        for place, run in enumerate(runs, 1)
    ]
    return table([*head, *(Cell(_metric_label(name), "number") for name in metrics)], rows)


def differences(diff: Mapping[str, Json], a: Run, b: Run) -> str:
    """Return CLI.md's JSON of a diff as HTML tables, with `a` and `b` named at the heads of their columns."""
    names = [Cell(a["short_id"], "id"), Cell(b["short_id"], "id")]
    config = [[Cell(row["path"]), *(Cell(show_value(row.get(side))) for side in "ab")] for row in diff["config"]]
    metrics = [_metric_row(row) for row in diff["metrics"]]
    parts = [
        ("Config", [Cell(""), *names], config),
        ("Metrics", [Cell(""), *(Cell(name.text, "number") for name in names), Cell("change", "number")], metrics),
        ("Trades and equity", [], [*_trade_rows(diff), *_equity_rows(diff)]),
    ]
    tables = [f"<h3>{escape(title)}</h3>{table(head, rows)}" for title, head, rows in parts if rows]
    return f'<div class="pair">{"".join(tables)}</div>\n'


def table(head: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """Return an HTML table that scrolls sideways where it is too wide for the page; `head` may be empty."""
    top = "".join(f"<th{_kind(cell)}>{escape(cell.text)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td{_kind(c)}>{escape(c.text)}</td>' for c in row)}</tr>\n" for row in rows)
    return (
        f'<div class="table"><table><thead>{top and f"<tr>{top}</tr>"}</thead><tbody>\n{body}</tbody></table></div>\n'
    )


def _section(section: Section, numbers: Iterator[int]) -> str:
    figures = "".join(f'<div class="figure" data-source="figure-{next(numbers)}"></div>\n' for _ in section.figures)
    title = escape(section.title)
    return f"<section>\n<h2>{title}</h2>\n{_paragraph(section.text)}{section.body}{figures}</section>\n"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n" if text else ""


def _figure_data(number: int, figure: Figure) -> str:
    return f'<script type="application/json" id="figure-{number}">{script_json(figure.to_json())}</script>\n'


def _scripts() -> list[str]:
    """Return plotly's JavaScript and ours, safe to stand in a script element."""
    from plotly.offline import get_plotlyjs

    # Inside JavaScript these can only stand in texts and patterns, where \x3c is another spelling of the same sign.
    return [re.sub("<(?=/script|script|!--)", r"\\x3c", code) for code in (get_plotlyjs(), _template("page.js"))]


def _policy(scripts: Sequence[str]) -> str:
    hashes = [b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    rules = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def _template(name: str) -> str:
    return files("runvault.views").joinpath("templates", name).read_text(encoding="utf-8")


def _kind(cell: Cell) -> str:
    return f' class="{cell.kind}"' if cell.kind else ""


def _metric(name: str, value: Number) -> str:
    return show_metric(name, value).replace("-", "\u2212")


def _metric_label(name: str) -> str:
    known = METRICS.get(name)
    return known.label.removesuffix(" [%]") if known else name


def _metric_row(row: Mapping[str, Json]) -> list[Cell]:
    name, delta = row["name"], row["delta"]
    change = ("+" if delta is not None and delta > 0 else "") + _metric(name, delta)
    values = (_metric(name, row["a"]), _metric(name, row["b"]), change)
    return [Cell(_metric_label(name)), *(Cell(value, "number") for value in values)]


def _trade_rows(diff: Mapping[str, Json]) -> list[list[Cell]]:
    """Return the counts of matched trades; nothing where either run has no table of trades."""
    counts = diff.get("trades") or {}
    named = {"only_a": "Trades of the first alone", "only_b": "Trades of the second alone"}
    named |= {"changed": "Trades in both, changed", "same": "Trades in both, equal"}
    return [[Cell(text), Cell(f"{counts[name]:,}", "number")] for name, text in named.items() if name in counts]


def _equity_rows(diff: Mapping[str, Json]) -> list[list[Cell]]:
    gap = diff.get("equity") or {}
    shapes = {"correlation": ("Correlation of the equity curves", ".3f"), "max_abs_gap": ("Largest gap", ",.2f")}
    return [
        [Cell(text), Cell(UNDEFINED if gap[name] is None else f"{gap[name]:{shape}}", "number")]
        for name, (text, shape) in shapes.items()
        if name in gap
    ]
