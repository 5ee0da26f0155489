"""Digest and numbers from what is archived, to see whether a run still speaks of its own tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import vectorbt as vbt
from vectorbt.portfolio.enums import InitCashMode

from runvault.engines.vectorbt.columnwise import numbers_of_columns
from runvault.engines.vectorbt.digest import portfolio_digest, results_digest
from runvault.engines.vectorbt.matrix import table_to_statistics
from runvault.engines.vectorbt.rebuild import rebuild
from runvault.engines.vectorbt.statistics import summarise
from runvault.errors import FormatError
from runvault.model.closeness import Value
from runvault.model.table import Table

if TYPE_CHECKING:
    from runvault.engines.result import Number, PortfolioTables, Statistic

Values: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True)
class Numbers:
    """What a portfolio gives now: the manifest's metrics, and every statistic by its name."""

    metrics: Mapping[str, Number]
    statistics: Values
    version: str


def recomputed_digest(tables: PortfolioTables, metrics: Mapping[str, Number]) -> str:
    """Return the results digest of a portfolio rebuilt from its tables, and of the metrics recorded with it.

    Raises
    ------
    FormatError
        It cannot be rebuilt.
    """
    return results_digest(portfolio_digest(rebuild(tables)), metrics)


def recomputed_numbers(tables: PortfolioTables) -> Numbers:
    """Return the numbers of one run's portfolio, rebuilt from its tables.

    Raises
    ------
    FormatError
        It cannot be rebuilt.
    """
    summary = summarise(_as_saved(rebuild(tables), alone=tables.column is not None))
    return Numbers(summary.metrics, _by_name(summary.statistics), vbt.__version__)


def recomputed_columns(tables: PortfolioTables, columns: Sequence[int]) -> list[Numbers]:
    """Return the numbers of `columns` of a sweep, whose whole portfolio is rebuilt once.

    Raises
    ------
    FormatError
        It cannot be rebuilt, or has no such column.
    """
    pf = _as_saved(rebuild(tables), alone=True)
    width = pf.wrapper.shape_2d[1]
    if not all(0 <= column < width for column in columns):
        raise FormatError(f"the portfolio has {width} columns, and a run names another")
    found = numbers_of_columns(pf)
    return [
        Numbers(found.metrics[column], _by_name(found.statistics.rows(column)), vbt.__version__) for column in columns
    ]


def statistics_of(table: Table) -> Values:
    """Return the statistics in a ``stats.parquet`` by name.

    Raises
    ------
    FormatError
        The table holds something else.
    """
    return _by_name(table_to_statistics(table))


def _as_saved(pf: Any, *, alone: bool) -> Any:
    """Return a portfolio as its statistics were taken at save: a sweep's columns each with its own initial cash."""
    if alone and type(pf._init_cash) is int and pf._init_cash == InitCashMode.AutoAlign:
        return pf.replace(init_cash=InitCashMode.Auto)
    return pf


def _by_name(statistics: Iterable[Statistic]) -> Values:
    """Return values by name, with the column or group before it where there are several; times in nanoseconds."""
    values: dict[str, Value] = {}
    for row in statistics:
        name = row.name if row.column is None else f"{row.column}: {row.name}"
        values[name] = row.text if row.text is not None else row.value if row.value is not None else row.value_ns
    return values
