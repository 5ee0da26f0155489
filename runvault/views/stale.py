"""Runs that differ from the working tree, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from runvault.views.inert import inert
from runvault.views.text import table

Json: TypeAlias = Any


def stale_table(runs: Sequence[Mapping[str, Json]], style: str) -> str:
    """Return a row a run: the files and the inputs that differ."""
    rows = [
        (each["run"][:8] + each["run"][64:], inert(", ".join(each["code"])), inert(", ".join(each["data"])))
        for each in runs
    ]
    return table(rows, ["run", "code", "data"], style)
