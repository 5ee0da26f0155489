"""The path of a value inside a document, as messages and diffs show it: ``params.window``."""

from __future__ import annotations

import json


def join(path: str, key: str) -> str:
    """Return the path of a member; a key that would not read well on one line is quoted and shortened.

    Examples
    --------
    >>> join("params", "window"), join("params", "two words")
    ('params.window', 'params."two words"')
    """
    shown = key if len(key) <= 60 else key[:57] + "..."
    step = shown if shown.isprintable() and shown and " " not in shown else json.dumps(shown)
    return f"{path}.{step}" if path else step
