"""Numbers that are computed differently must not stand in one table without a word."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from runvault.model.metrics import DECIDING
from runvault.views.values import show_value

Json: TypeAlias = Any


# Metrics that an annualisation or a risk-free return moves; counts, profits and drawdowns mean the same everywhere.
DEPENDING = frozenset({"sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio"})


def depending(names: Collection[str], periods_per_year: float | None) -> bool:
    """Return whether any of these metrics depends on definitions; the Sharpe ratio does not where it is restated."""
    restated = {"sharpe_ratio"} if periods_per_year is not None else set()
    return not DEPENDING.isdisjoint({name.removeprefix("metrics.") for name in names} - restated)


def mixed_definitions(definitions: Collection[Mapping[str, Json]]) -> str | None:
    """Return a warning where the metrics of runs are not all defined alike, else None."""
    parts = []
    for name in DECIDING:
        values = {show_value(each.get(name)) for each in definitions}
        if len(values) > 1:
            parts.append(f"{name} is {' or '.join(sorted(values))}")
    if not parts:
        return None
    return f"these metrics are not defined alike: {'; '.join(parts)} (--periods-per-year puts Sharpe ratios on one)"
