"""Statistics of many columns as arrays: a sweep has 140,000 of them, and makes rows only where somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from runvault.engines.result import Number, Statistic
from runvault.errors import FormatError
from runvault.model.metrics import Metric
from runvault.model.table import Array, Table

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

NAT = int(np.iinfo(np.int64).min)
"""The integer of an undefined time (NaT) and, in a table's `value_ns`, of a statistic that is not a time."""


@dataclass(frozen=True)
class Measure:
    """One statistic of all columns: numbers in `values`, times in `ns`, labels in `texts`; the other two are None.

    A label is JSON that keeps the type: the first bar of an index that is not of time, a metric that is a text.
    """

    metric: Metric
    label: str
    unit: str
    values: Floats | None = None
    ns: Integers | None = None
    texts: tuple[str, ...] | None = None
    tz: str | None = None

    @property
    def is_metric(self) -> bool:
        """Tell whether the manifest has it among its metrics: times of the calendar and labels are none."""
        return self.texts is None and "timestamp" not in (self.unit, self.metric.unit)

    def numbers(self) -> list[Number]:
        """Return each column's metric, as `runvault.model.metrics.to_metric` would give it."""
        if self.ns is not None:
            known = self.ns != NAT
            micros = np.where(known, self.ns, 0)
            micros = np.where(micros >= 0, micros // 1000, -(-micros // 1000))
            return _where(known, [us / 1_000_000 for us in micros.tolist()])
        if self.values is None:
            return []
        known = np.isfinite(self.values)
        return _where(known, self._whole(np.where(known, self._scaled(self.values), 0.0)))

    def _scaled(self, values: Floats) -> Floats:
        if self.metric.name == "max_drawdown":
            return -values / 100 + 0.0
        return values / 100 if self.metric.engine_unit == "%" else values

    def _whole(self, values: Floats) -> Sequence[Number]:
        """Return counts as integers, except means over columns that are no whole number."""
        if self.metric.unit != "count":
            return list(values.tolist())
        return [int(x) if x == int(x) else x for x in values.tolist()]


@dataclass(frozen=True)
class StatisticMatrix:
    """The statistics of several columns, or of one.

    Parameters
    ----------
    measures : tuple of Measure
        In the order in which the engine printed them.
    columns : tuple of str or None
        The label of each column as text; None is the whole portfolio.
    series : tuple of str
        For each column the name of the engine's Series, as `runvault.engines.vectorbt.scalars` encodes it.
    """

    measures: tuple[Measure, ...]
    columns: tuple[str | None, ...]
    series: tuple[str, ...]

    def rows(self, position: int) -> StatisticRows:
        """Return the statistics of one column, made when they are looked at."""
        return StatisticRows(self, position)

    def metrics(self) -> list[dict[str, Number]]:
        """Return the metrics of each column as the manifest has them."""
        chosen = {m.metric.name: m for m in reversed(self.measures) if m.is_metric}
        numbers = [chosen[name].numbers() for name in chosen]
        return [dict(zip(chosen, row, strict=True)) for row in zip(*numbers, strict=True)]

    def statistic(self, place: int, position: int) -> Statistic:
        """Return one statistic of one column."""
        measure = self.measures[place]
        ns = None if measure.ns is None or measure.ns[position] == NAT else int(measure.ns[position])
        return Statistic(
            column=self.columns[position],
            name=measure.metric.name,
            label=measure.label,
            unit=measure.unit,
            value=None if measure.values is None else float(measure.values[position]),
            value_ns=ns,
            tz=measure.tz,
            text=None if measure.texts is None else measure.texts[position],
            series=self.series[position],
        )

    def table(self, position: int) -> Table:
        """Return the statistics of one column as stats.parquet holds them."""
        n = len(self.measures)
        columns: dict[str, Array] = {
            "column": np.full(n, self.columns[position], dtype=object),
            **self._names,
            "value": self._values[:, position],
            "value_ns": self._ns[:, position],
            "series": np.full(n, self.series[position], dtype=object),
        }
        if any(m.texts is not None for m in self.measures):
            columns["text"] = _objects([None if m.texts is None else m.texts[position] for m in self.measures])
        return Table(columns)

    @cached_property
    def _names(self) -> dict[str, Array]:
        return {
            "name": _objects([m.metric.name for m in self.measures]),
            "label": _objects([m.label for m in self.measures]),
            "unit": _objects([m.unit for m in self.measures]),
            "tz": _objects([m.tz for m in self.measures]),
        }

    @cached_property
    def _values(self) -> Floats:
        empty = np.full(len(self.columns), np.nan)
        return np.stack([empty if m.values is None else m.values for m in self.measures])

    @cached_property
    def _ns(self) -> Integers:
        empty = np.full(len(self.columns), NAT)
        return np.stack([empty if m.ns is None else m.ns for m in self.measures])


class StatisticRows(Sequence[Statistic]):
    """The statistics of one column of a matrix, as a sequence that holds no rows of its own."""

    __slots__ = ("matrix", "position")

    def __init__(self, matrix: StatisticMatrix, position: int) -> None:
        self.matrix = matrix
        self.position = position

    def __len__(self) -> int:
        return len(self.matrix.measures)

    @overload
    def __getitem__(self, place: int) -> Statistic: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Statistic, ...]: ...
    def __getitem__(self, place: int | slice) -> Statistic | tuple[Statistic, ...]:
        if isinstance(place, slice):
            return tuple(self)[place]
        return self.matrix.statistic(range(len(self))[place], self.position)

    def __iter__(self) -> Iterator[Statistic]:
        return (self.matrix.statistic(place, self.position) for place in range(len(self)))


def statistics_to_table(statistics: Sequence[Statistic]) -> Table:
    """Return statistics as stats.parquet holds them.

    `value` is NaN and `value_ns` the smallest integer where a statistic has none; `text` is there only where some
    statistic is a label.
    """
    if isinstance(statistics, StatisticRows):
        return statistics.matrix.table(statistics.position)
    columns: dict[str, Array] = {
        name: _objects([getattr(row, name) for row in statistics]) for name in ("column", "name", "label", "unit", "tz")
    }
    columns["value"] = np.array([np.nan if row.value is None else row.value for row in statistics], dtype=np.float64)
    columns["value_ns"] = np.array([NAT if row.value_ns is None else row.value_ns for row in statistics], np.int64)
    columns["series"] = _objects([row.series for row in statistics])
    if any(row.text is not None for row in statistics):
        columns["text"] = _objects([row.text for row in statistics])
    return Table(columns)


def table_to_statistics(table: Table) -> list[Statistic]:
    """Return the statistics that `statistics_to_table` made a table of.

    Raises
    ------
    FormatError
        The table lacks a column, or holds values of another type.
    """
    try:
        rows = {name: table.columns[name].tolist() for name in _COLUMNS}
        rows |= {name: table.columns[name].tolist() for name in _OPTIONAL if name in table.columns}
    except KeyError as error:
        raise FormatError(f"stats.parquet has no column {error}") from error
    return [_statistic(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True)]


_COLUMNS = {"column": str, "name": str, "label": str, "unit": str, "value": float, "value_ns": int, "tz": str}
_OPTIONAL = {"text": str, "series": str}
_REQUIRED = ("name", "label", "unit")


def _statistic(row: dict[str, Any]) -> Statistic:
    for name, kind in (_COLUMNS | _OPTIONAL).items():
        value = row.get(name)
        if not isinstance(value, kind) and (value is not None or name in _REQUIRED):
            raise FormatError(f"stats.parquet: {name} holds a {type(value).__name__}")
    is_time, is_label = row["unit"] in ("timestamp", "duration"), row.get("text") is not None
    if is_time or is_label:
        row["value"] = None
    if not is_time or is_label or row["value_ns"] == NAT:
        row["value_ns"] = None
    return Statistic(**row)


def _where(known: npt.NDArray[np.bool_], numbers: Sequence[Number]) -> list[Number]:
    return [x if ok else None for x, ok in zip(numbers, known.tolist(), strict=True)]


def _objects(values: Sequence[object]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
