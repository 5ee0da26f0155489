"""Verdicts of replays as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from runvault.views.inert import inert
from runvault.views.text import metric_changes, table

Json: TypeAlias = Any

_MEANING = {
    "exact": "the archived numbers came out again, to the bit",
    "close": "the same orders; values within the tolerance",
    "drift": "other numbers came out",
    "failed": "the recipe did not run",
    "changed": "a new run",
}

_HOW = {"exact": "exactly", "close": "closely", "drift": "with drift", "failed": "in vain"}


def replay_text(replay: Mapping[str, Json], style: str = "simple") -> str:
    """Return one replay: the verdict, what moved, and the reasons."""
    parts = [f"{_short(replay['of'])}: {replay['verdict']} ({_MEANING[replay['verdict']]})"]
    if replay["metrics"]:
        parts.append(metric_changes(replay["metrics"], style))
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


def ledger_text(replays: Sequence[Mapping[str, Json]], code: str | None) -> str:
    """Return what a run's ledger says: how often it came out again, and the last time; empty text for an empty one.

    What came of it in other code than `code`, the run's own commit, is told apart: that says nothing against the run.

    Examples
    --------
    >>> kept = {"at": "2026-11-20T09:00:00.000000Z", "by": "CI <ci@example.org>", "verdict": "exact", "code": "3f9a"}
    >>> kept["environment"] = {"platform": "Linux 6.1", "packages": {"vectorbt": "1.2.0"}}
    >>> ledger_text([kept], "3f9a")
    'replayed exactly once, last on 2026-11-20 with vectorbt 1.2.0 on Linux by CI'
    >>> ledger_text([kept, {**kept, "code": "77b1", "verdict": "drift"}], "3f9a")
    'replayed exactly once, last on 2026-11-20 with vectorbt 1.2.0 on Linux by CI; in other code: with drift once'
    """
    own = [replay for replay in replays if code is None or replay.get("code") in (None, code)]
    other = [replay for replay in replays if code is not None and replay.get("code") not in (None, code)]
    told = [f"replayed {_verdicts(own)}, {_last(own[-1])}"] if own else []
    if other:
        told.append(f"in other code: {_verdicts(other)}" if own else f"replayed in other code: {_verdicts(other)}")
    return inert("; ".join(told))


def _verdicts(replays: Sequence[Mapping[str, Json]]) -> str:
    counts = Counter(replay["verdict"] for replay in replays)
    return ", ".join(f"{_HOW[verdict]} {_times(counts[verdict])}" for verdict in _HOW if counts[verdict])


def _last(replay: Mapping[str, Json]) -> str:
    environment = _mapping(replay["environment"])
    version = _mapping(environment.get("packages")).get("vectorbt")
    place = str(environment.get("platform") or "").partition(" ")[0]
    where = (f" with vectorbt {version}" if version else "") + (f" on {place}" if place else "")
    return f"last on {replay['at'][:10]}{where} by {replay['by'].partition(' <')[0]}"


def _mapping(value: Json) -> Mapping[str, Json]:
    """Return what a ledger of anybody holds in place of a mapping as an empty one."""
    return value if isinstance(value, Mapping) else {}


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _short(run: str) -> str:
    return run[:8] + run[64:]
