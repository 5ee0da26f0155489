"""The numbers of every column of a portfolio, each as if it were a portfolio of its own.

They are computed for blocks of columns together: never column by column, since each call of `stats()` costs tens of
milliseconds; and never for all at once, since vectorbt keeps some twenty arrays of the portfolio's size (a sweep of
4,950 columns and 3,270 bars took 2.4 GB more, and twice the time).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runvault.engines.result import Json, Number
from runvault.engines.vectorbt.asking import ask, with_countable_bars
from runvault.engines.vectorbt.definitions import metric_definitions
from runvault.engines.vectorbt.matrix import StatisticMatrix
from runvault.engines.vectorbt.statistics import (
    end_labels,
    matrix_of_frame,
    merge_notes,
    moments_of,
    own_metrics,
    undefined_metrics,
)

CELLS = 2**20  # bars times columns of a block: 8 MB an array


@dataclass(frozen=True)
class ColumnNumbers:
    """Statistics, metrics and moments by column; `definitions` and `notes` are the same for all."""

    statistics: StatisticMatrix
    metrics: list[dict[str, Number]]
    moments: list[dict[str, Number]]
    definitions: Mapping[str, Json]
    notes: tuple[str, ...]


@dataclass
class _Gathered:
    frames: list[Any] = field(default_factory=list)
    own: dict[str, list[Number]] = field(default_factory=dict)
    moments: list[dict[str, Number]] = field(default_factory=list)

    def add(self, block: Any, ddof: int, notes: list[str]) -> None:
        self.frames.append(_as_alone(ask(block, notes, agg_func=None), block, notes))
        for name, values in own_metrics(block, notes).items():
            self.own.setdefault(name, []).extend(values)
        self.moments += moments_of(block, ddof, notes)


def numbers_of_columns(pf: Any) -> ColumnNumbers:
    """Return the numbers of each column of an ungrouped portfolio, equal to those of ``pf.iloc[column]`` alone."""
    import pandas as pd

    ends = end_labels(pf)
    pf, reason = with_countable_bars(pf)
    notes = [reason] if reason else []
    definitions, gathered = metric_definitions(pf), _Gathered()
    for block in _blocks(pf):
        gathered.add(pf.iloc[block], definitions["ddof"], notes)
        # A portfolio and its caches refer to each other: left to itself, the memory of all blocks adds up. The block
        # is young, and nothing here holds it any more.
        gc.collect(1)
    matrix = matrix_of_frame(pd.concat(gathered.frames), ends, alone=True)
    own = [dict(zip(gathered.own, row, strict=True)) for row in zip(*gathered.own.values(), strict=True)]
    undefined = undefined_metrics(pf)
    metrics = [undefined | told | more for told, more in zip(matrix.metrics(), own, strict=True)]
    return ColumnNumbers(matrix, metrics, gathered.moments, definitions, merge_notes(notes))


def _as_alone(stats: Any, block: Any, notes: list[str]) -> Any:
    """Return statistics with the durations that ``pf.iloc[column].stats()`` gives.

    vectorbt multiplies a mean number of bars by the bar length in nanoseconds for several columns, and in the unit of
    the bar length for one: the results differ by up to a microsecond.
    """
    titles = {name: m["title"] for name, m in block.metrics.items() if m.get("apply_to_timedelta") and name != "period"}
    wanted = [name for name, title in titles.items() if title in stats and stats[title].dtype.kind == "m"]
    if not wanted:
        return stats
    bars = ask(block, notes, metrics=wanted, agg_func=None, settings={"to_timedelta": False})
    return stats.assign(**{title: [block.wrapper.to_timedelta(x) for x in bars[title]] for title in bars})


def _blocks(pf: Any) -> Iterator[slice]:
    n_bars, n_columns = pf.wrapper.shape_2d
    width = max(1, CELLS // max(1, n_bars))
    return (slice(start, start + width) for start in range(0, n_columns, width))
