"""A review as a page that stands alone, with the curves of new runs and all runs on one map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from runvault.views.figures import Curve, Point, equity_figure, scatter_figure
from runvault.views.page import Section, page, table
from runvault.views.review_parts import Part, review_parts, summary

Json: TypeAlias = Any

ROWS = 1_000  # of one table
POINTS = 2_000  # of the base on the map: more would be one cloud, and slow


def review_page(
    review: Mapping[str, Json], curves: Sequence[Curve], others: Sequence[Mapping[str, Json]], *, without: int = 0
) -> str:
    """Return the page as HTML, to be written as UTF-8.

    Parameters
    ----------
    review : mapping
        What ``runvault review --json`` prints.
    curves : sequence of Curve
        Of new runs whose artifacts are here, the best first; `without` is how many more have none here.
    others : sequence of mapping
        The metrics of the base's runs.
    """
    sections = [Section("What changes", summary(review["totals"]))]
    figures = _figures(review, curves, others, without)
    for part in review_parts(review):
        if part.title.startswith("Leaderboard") and figures:
            sections += figures
            figures = []
        sections.append(_section(part))
    base, head = review["base"], review["head"]
    return page(
        f"Review of {head['ref']}",
        [*sections, *figures],
        subtitle=f"for {base['ref']}",
        footer=f"{base['commit']} to {head['commit']}",
    )


def _section(part: Part) -> Section:
    more = len(part.rows) - ROWS
    text = part.text + (f" {more:,} more are left out." if more > 0 else "")
    return Section(part.title, text.strip(), table(part.head, part.rows[:ROWS]))


def _figures(
    review: Mapping[str, Json], curves: Sequence[Curve], others: Sequence[Mapping[str, Json]], without: int
) -> list[Section]:
    sections = []
    if curves:
        text = f"The best {len(curves)} of the new runs." if len(curves) > 1 else "The new run."
        text += f" Of {without:,} more the artifacts are not here, or not read." if without else ""
        sections.append(Section("Equity and drawdown of new runs", text, figures=[equity_figure(curves)]))
    elif without:
        text = (
            "No curves: the artifacts of the new runs are not here. A pull fetches them when they are first asked for."
        )
        sections.append(Section("Equity and drawdown of new runs", text))
    groups = {
        "base": _points(others[:: -(-len(others) // POINTS) or 1]),
        "new": _points([run["metrics"] for run in review["new"]], review["new"]),
        "new revision": _points(
            [each["run"]["metrics"] for each in review["revisions"]], [each["run"] for each in review["revisions"]]
        ),
    }
    if any(groups.values()):
        text = "To the right falls less, above earns more for the risk; what stands far apart deserves a look."
        if len(others) > POINTS:
            text += f" Of {len(others):,} runs of the base {len(groups['base']):,} are drawn."
        sections.append(Section("Sharpe ratio and drawdown", text, figures=[scatter_figure(groups)]))
    return sections


def _points(metrics: Sequence[Mapping[str, Json]], runs: Sequence[Mapping[str, Json]] = ()) -> list[Point]:
    """Return the runs that have both numbers; those of the base go without a name."""
    named: Sequence[Mapping[str, Json] | None] = runs or [None] * len(metrics)
    return [
        Point(each["max_drawdown"], each["sharpe_ratio"], run)
        for each, run in zip(metrics, named, strict=True)
        if each.get("max_drawdown") is not None and each.get("sharpe_ratio") is not None
    ]
