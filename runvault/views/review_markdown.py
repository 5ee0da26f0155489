"""A review as Markdown for a comment on a pull request: whatever names are in it, nobody is called or linked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from runvault.views.markdown import code, fitting, table_lines, words
from runvault.views.page import Cell
from runvault.views.review_parts import OURS, Part, review_parts, summary

Json: TypeAlias = Any

MOST = 65_536  # of a comment on GitHub in characters; bytes here, which are never fewer
ROWS = 50  # of one table
LONGEST = 64  # characters of one cell
LONGER = {"wide": 240, "id": 200}  # of one that is read as a sentence, and of what refers to nothing once it is cut
LONGEST_REF = 200
CUT = "*The rest is left out here: a comment has no room for it. `runvault review --format html` shows all.*"


def review_markdown(review: Mapping[str, Json], footer: str = "") -> str:
    """Return a review, given as ``runvault review --json`` prints it, in at most 65,536 bytes."""
    return fitting(_lines(review, footer), MOST, CUT)


def _lines(review: Mapping[str, Json], footer: str) -> Iterator[str]:
    base, head = review["base"], review["head"]
    yield f"## Review of {code(head['ref'], LONGEST_REF)} for {code(base['ref'], LONGEST_REF)}"
    yield ""
    yield summary(review["totals"])
    for part in review_parts(review):
        yield from _part(part)
    yield ""
    yield f"{code(base['commit'])} to {code(head['commit'])}" + (f", {words(footer)}" if footer else "")


def _part(part: Part) -> Iterator[str]:
    yield ""
    yield f"### {words(part.title)}"
    yield ""
    if part.text:
        yield words(part.text)
        yield ""
    right = [cell.kind == "number" for cell in part.head]
    yield from table_lines([*map(_cell, part.head)], right, ([*map(_cell, row)] for row in part.rows[:ROWS]))
    more = len(part.rows) - ROWS
    if more > 0:
        yield ""
        yield f"*and {more:,} more*"


def _cell(cell: Cell) -> str:
    if cell.kind in OURS:
        return words(cell.text)
    return code(cell.text, LONGER.get(cell.kind, LONGEST))
