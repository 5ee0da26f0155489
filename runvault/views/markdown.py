"""Markdown for a forge's comment in which nothing that somebody else wrote can do anything.

Escaping Markdown is not enough there: forges look for ``@names``, ``#1``, addresses and the like in the text that comes
out of it, also where entities spelled them. They leave code alone. So text of others stands in ``<code>``, and in it
every sign that Markdown could read is an entity, which no cell of a table, no fence and no link can be made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runvault.views.inert import inert

# What Markdown reads nowhere in a line. A point is an address's before a letter, and a dash or a plus begin lists.
_PLAIN = re.compile(r"[A-Za-z0-9 ,%=/()\u0080-\U0010ffff]|(?<=[A-Za-z0-9 ])[-+]|\.(?![A-Za-z])")


def words(text: str) -> str:
    """Return text of our own as Markdown.

    Examples
    --------
    >>> words("a | b"), words("0.92")
    ('a &#124; b', '0.92')
    """
    shown = " ".join(inert(text).split(" "))
    return "".join(mark if _PLAIN.match(shown, place) else f"&#{ord(mark)};" for place, mark in enumerate(shown))


def code(text: str, longest: int | None = None) -> str:
    """Return text of others as Markdown, cut at `longest` characters; the empty text stays empty.

    Examples
    --------
    >>> code("@ada <b>", 100)
    '<code>&#64;ada &#60;b&#62;</code>'
    """
    shown = inert(text)
    if longest is not None and len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return f"<code>{words(shown)}</code>" if shown.strip() else ""


def table_lines(head: Sequence[str], right: Sequence[bool], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table of finished cells, a line a row."""
    rule = ["--:" if each else "---" for each in right]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def fitting(lines: Iterable[str], most_bytes: int, note: str) -> str:
    """Return lines as a text of at most so many bytes: cut before the line that is too much, with a note at its end."""
    text, room = [], most_bytes - len(note.encode()) - 2
    for line in lines:
        room -= len(line.encode("utf-8", "replace")) + 1
        if room < 0:
            text += ["", note]
            break
        text.append(line)
    return "\n".join(text) + "\n"
