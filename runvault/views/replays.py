"""Verdicts of replays as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from runvault.views.inert import inert
from runvault.views.text import metric_changes, table

Json: TypeAlias = Any

_MEANING = {
    "exact": "the archived numbers came out again, to the bit",
    "close": "the same orders; values within rounding",
    "drift": "other numbers came out",
    "failed": "the recipe did not run",
    "changed": "a new run",
}


def replay_text(replay: Mapping[str, Json]) -> str:
    """Return one replay: the verdict, what moved, and the reasons."""
    parts = [f"{_short(replay['of'])}: {replay['verdict']} ({_MEANING[replay['verdict']]})"]
    if replay["metrics"]:
        parts.append(metric_changes(replay["metrics"]))
    parts += [f"  {inert(line)}" for line in replay["reason"]]
    return "\n".join(parts)


def replays_table(replays: Sequence[Mapping[str, Json]], style: str) -> str:
    """Return several replays, a row each."""
    rows = [(_short(each["of"]), each["verdict"], inert("; ".join(each["reason"]))) for each in replays]
    return table(rows, ["run", "verdict", "reason"], style)


def bisect_text(found: Mapping[str, Json], style: str) -> str:
    """Return what a search through the code found, and each commit that it judged."""
    rows = [(each["commit"][:12], each["verdict"]) for each in found["tested"]]
    return "\n".join([f"first drift: {found['first_drift']}", "", table(rows, ["commit", "verdict"], style)])


def _short(run: str) -> str:
    return run[:8] + run[64:]
