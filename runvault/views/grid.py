"""Tables of finished text, aligned: rows are kept as bytes, so that a hundred thousand of them take little memory."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

GAP = "\0"  # between cells: nothing that is shown holds one
LEAST = 3  # characters of a column, so that its rule is seen


class Grid:
    r"""A table under headings; as many cells in each row as there are headings.

    Parameters
    ----------
    headings : sequence of str
        One a column.
    right : collection of str
        The headings of columns that are aligned to the right.
    style : str
        ``simple`` for a terminal, ``github`` for Markdown.

    Examples
    --------
    >>> grid = Grid(["run", "sharpe"], {"sharpe"})
    >>> grid.add(["3f9a1c2b", "1.2"])
    >>> print(*grid.lines(), sep="\n")
    run       sharpe
    --------  ------
    3f9a1c2b     1.2
    """

    def __init__(self, headings: Sequence[str], right: Iterable[str] = (), style: str = "simple") -> None:
        self._headings = headings
        self._right = [heading in right for heading in headings]
        self._widths = [max(LEAST, width_of(heading)) for heading in headings]
        self._markdown = style == "github"
        self._rows: list[bytes] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, cells: Sequence[str]) -> None:
        """Add a row; its cells are on one line and hold no control characters."""
        self._widths = list(map(max, self._widths, map(width_of, cells)))
        self._rows.append(GAP.join(cells).encode("utf-8", "surrogateescape"))

    def lines(self) -> Iterator[str]:
        """Yield the table line by line."""
        yield self._line(self._headings)
        yield self._rule()
        for row in self._rows:
            yield self._line(row.decode("utf-8", "surrogateescape").split(GAP))

    def _line(self, cells: Sequence[str]) -> str:
        padded = map(_padded, cells, self._widths, self._right)
        return f"| {' | '.join(padded)} |" if self._markdown else "  ".join(padded).rstrip()

    def _rule(self) -> str:
        if not self._markdown:
            return "  ".join("-" * width for width in self._widths)
        marks = zip(self._widths, self._right, strict=True)
        return f"| {' | '.join('-' * (width - 1) + (':' if right else '-') for width, right in marks)} |"


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - width_of(cell))
    return space + cell if right else cell + space


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Examples
    --------
    >>> width_of("GOOG"), width_of("日経"), width_of("é")
    (4, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text
    )
