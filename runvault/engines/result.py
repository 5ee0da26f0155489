"""What every engine hands over: the numbers of a backtest as plain values, independent of the engine's types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runvault.model.table import Table

Json: TypeAlias = Any
Number: TypeAlias = float | int | None


@dataclass(frozen=True)
class Window:
    """The stretch of time a backtest covers.

    `start` and `end` are the first and last bar as normalised text (``YYYY-MM-DD`` where a naive index holds midnights
    only, else UTC timestamps), None where the index is not of time. `interval` is the bar length as pandas spells it
    (``1D``, ``1h``), None where it is unknown.
    """

    start: str | None
    end: str | None
    bars: int
    interval: str | None
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Statistic:
    """One row of stats.parquet: a statistic exactly as the engine gave it, in the engine's own unit.

    `value` is None for timestamps and durations, which live in `value_ns` (nanoseconds; None is NaT), and where `text`
    is given: JSON, with its type, of what is neither number nor time (the first bar of an index of text). A float NaN
    stays NaN. `column` is None for the statistic of the whole portfolio, else the label of the column or group as text;
    `series` is the name, as JSON, of the Series in which the engine gave the statistic.
    """

    column: str | None
    name: str
    label: str
    unit: str  # fraction, %, money, count, ratio, timestamp, duration
    value: float | None
    value_ns: int | None = None
    tz: str | None = None
    text: str | None = None
    series: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one run, whether it was saved alone or as a column of a sweep."""

    statistics: Sequence[Statistic]
    metrics: Mapping[str, Number]
    metric_definitions: Mapping[str, Json]
    moments: Mapping[str, Number]
    window: Window
    data: Mapping[str, Json]  # the `data` member of the config where no file is named: {"prices": {"sha256": …}}
    digest: str  # results_digest
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Result(Outcome):
    """One backtest, ready to be archived.

    `tables` are artifacts by file name (``prices.parquet``, ``orders.parquet``, …). `portfolio` is the manifest's
    member of that name: what the tables do not hold of the portfolio's constructor inputs, and ``rebuildable``.
    `dump` makes the engine's own pickle when called; None where the engine has none.
    """

    engine: str
    backend: str | None
    packages: Mapping[str, str]
    tables: Mapping[str, Table]
    portfolio: Mapping[str, Json]
    dump: Callable[[], bytes] | None = None


@dataclass(frozen=True, kw_only=True)
class SweepColumn(Outcome):
    """One column of a sweep: its place in the shared tables, its parameters, its outcome."""

    column: int
    params: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Many backtests that share their tables; `columns` are in the order of the shared tables.

    `portfolio` is the same for every run (what depends on the column lies in the tables).
    `dump(columns)` makes one pickle of a slice: the engine's own dump of a portfolio of just these columns. A
    sweep that comes from another process has `whole_dump` in its place: the pickle of all columns, made already.
    """

    engine: str
    backend: str | None
    packages: Mapping[str, str]
    tables: Mapping[str, Table]
    portfolio: Mapping[str, Json]
    columns: Sequence[SweepColumn]
    dump: Callable[[Sequence[int]], bytes] | None = None
    whole_dump: bytes | None = None


@dataclass(frozen=True)
class PortfolioTables:
    """What a rebuild starts from: the manifest's `portfolio` member, the tables, and for a sweep's run its column."""

    portfolio: Mapping[str, Json]
    tables: Mapping[str, Table] = field(default_factory=dict)
    column: int | None = None
