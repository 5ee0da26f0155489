"""Text that somebody else chose, made safe to show in a page and in its figures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from runvault.views.inert import inert
from runvault.views.values import show_value

Json: TypeAlias = Any


def escape(text: object) -> str:
    """Return `text` as HTML, for content and for quoted attributes.

    Examples
    --------
    >>> escape("<b>bold</b>")
    '&lt;b&gt;bold&lt;/b&gt;'
    """
    return html.escape(inert(str(text)))


def label(text: object) -> str:
    """Return `text` for a figure: plotly reads a little markup and ``%{…}`` in labels, and knows few entities.

    Examples
    --------
    >>> label("<a href='x'>")
    "&lt;a href='x'&gt;"
    """
    return html.escape(inert(str(text)), quote=False).replace("%{", "%&#123;")


def script_json(text: str) -> str:
    r"""Return JSON text in a form that no ``<script>`` element can be left by.

    Examples
    --------
    >>> print(script_json('{"name": "</script>"}'))
    {"name": "\u003c/script\u003e"}
    """
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def run_labels(runs: Sequence[Mapping[str, Json]]) -> list[str]:
    """Return a short name for each run, made of what tells these runs apart.

    Strategy, symbols and parameters that all of them share are left out; runs that nothing tells apart are named by
    their short id.

    Examples
    --------
    >>> shared = {"strategy": "sma", "symbols": ["GOOG"]}
    >>> run_labels([{**shared, "params": {"fast": 10, "slow": 50}}, {**shared, "params": {"fast": 20, "slow": 50}}])
    ['fast 10', 'fast 20']
    """
    parts = [_parts(run) for run in runs]
    names = dict.fromkeys(name for part in parts for name in part)
    telling = [name for name in names if len({part.get(name) for part in parts}) > 1]
    labels = [" ".join(part[name] for name in telling if name in part) for part in parts]
    if "" in labels or len(set(labels)) < len(labels):
        return [str(run["short_id"]) for run in runs]
    return labels


def _parts(run: Mapping[str, Json]) -> dict[str, str]:
    named = {"strategy": str(run["strategy"]), "symbols": show_value(run["symbols"])}
    return named | {f"params.{name}": f"{name} {show_value(value)}" for name, value in run["params"].items()}
