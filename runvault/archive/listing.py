"""Runs as a listing shows them, on one definition of the Sharpe ratio where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from runvault.archive.stores import Stores
from runvault.model.metrics import restated
from runvault.model.query import Selection

Json: TypeAlias = Any

CHUNK = 500


def listed(stores: Stores, selection: Selection) -> Iterator[dict[str, Json]]:
    """Yield the selected runs as JSON, a few in memory at a time.

    With `selection.periods_per_year` each Sharpe ratio is the one that the moments of the run's returns give.
    """
    rows = stores.catalog().select(stores.repository.ref, selection)
    if selection.periods_per_year is None:
        return rows
    return _on_one_definition(stores, rows, selection.periods_per_year)


def definitions_of(stores: Stores, ids: Sequence[str]) -> dict[str, Mapping[str, Json]]:
    """Return how the metrics of runs are defined, by id; equal definitions are one object."""
    waiting, known = iter(ids), list[Mapping[str, Json]]()
    found: dict[str, Mapping[str, Json]] = {}
    while chunk := list(islice(waiting, CHUNK)):
        for run, each in stores.catalog().definitions(stores.repository.ref, chunk).items():
            found[run] = _same(known, each["metric_definitions"])
    return found


def _same(known: list[Mapping[str, Json]], definitions: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the known definitions that equal these, which are known then: an archive has a few."""
    if definitions not in known:
        known.append(definitions)
    return known[known.index(definitions)]


def _on_one_definition(
    stores: Stores, rows: Iterator[dict[str, Json]], periods_per_year: float
) -> Iterator[dict[str, Json]]:
    while chunk := list(islice(rows, CHUNK)):
        found = stores.catalog().definitions(stores.repository.ref, [row["id"] for row in chunk])
        for row in chunk:
            yield on_one_definition(row, found[row["id"]]["moments"], periods_per_year)


def on_one_definition(
    members: Mapping[str, Json], moments: Mapping[str, Json], periods_per_year: float | None
) -> dict[str, Json]:
    """Return a run's JSON with its Sharpe ratio restated, and a member ``periods_per_year`` that says so."""
    if periods_per_year is None:
        return dict(members)
    metrics = restated(members["metrics"], moments, periods_per_year)
    return {**members, "metrics": metrics, "periods_per_year": periods_per_year}
