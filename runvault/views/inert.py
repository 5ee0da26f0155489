"""Text that somebody else chose, made safe to show on a terminal: it is seen, and does nothing."""

from __future__ import annotations

import unicodedata

# Cc: controls, among them ESC. Cf: invisible formatting, among it the marks that turn the direction of text.
# Cs: lone surrogates. Co, Cn: private and unassigned. Zl, Zp: line and paragraph separators.
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def inert(text: str) -> str:
    r"""Return `text` with every character that could move the cursor or hide itself written as an escape.

    Examples
    --------
    >>> inert("gold\x1b[31m")
    'gold\\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(mark) if unicodedata.category(mark) in HIDDEN else mark for mark in text)


def _escaped(mark: str) -> str:
    code = ord(mark)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
