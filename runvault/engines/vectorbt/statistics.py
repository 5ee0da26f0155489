"""What `pf.stats()` says, kept to the last bit, and what a manifest makes of it: metrics, definitions, moments."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from runvault.engines.result import Json, Number, Statistic
from runvault.engines.vectorbt.asking import NO_FIXED_BARS, NO_FREQUENCY, ask, noting, with_countable_bars
from runvault.engines.vectorbt.definitions import metric_definitions, uses_asset_returns
from runvault.engines.vectorbt.matrix import (
    Measure,
    StatisticMatrix,
    statistics_to_table,
    table_to_statistics,
)
from runvault.engines.vectorbt.moments import compute_moments
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.engines.vectorbt.scalars import decode_label, encode_label
from runvault.engines.vectorbt.zones import describe_zone, restore_zone
from runvault.model.metrics import by_label, metric_of_label

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Summary", "statistics_to_series", "statistics_to_table", "summarise", "table_to_statistics"]

Floats: TypeAlias = npt.NDArray[np.float64]

BELOW_ZERO = "equity went negative: max_drawdown is below -1"


@dataclass(frozen=True)
class Summary:
    """The numbers of one portfolio: `statistics` as the engine gave them, the rest as the manifest has it."""

    statistics: tuple[Statistic, ...]
    metrics: Mapping[str, Number]
    metric_definitions: Mapping[str, Json]
    moments: Mapping[str, Number]
    warnings: tuple[str, ...]


def summarise(pf: Any) -> Summary:
    """Return the numbers of a `vectorbt.Portfolio`.

    The statistics of the whole come first (``column`` None): of several columns or groups they are vectorbt's own
    means. The statistics of each column or group follow. Moments of several columns have no mean that means anything:
    they are None, besides `n_periods`. Nothing that vectorbt raises gets out: what it cannot compute is undefined, and
    `warnings` says why.
    """
    notes: list[str] = []
    ends = end_labels(pf)
    pf, reason = with_countable_bars(pf)
    if reason:
        notes.append(reason)
    whole = matrix_of_series(ask(pf, notes), ends)
    rows, columns = list(whole.rows(0)), None
    if pf.wrapper.get_ndim() == 2:
        columns = matrix_of_frame(ask(pf, notes, agg_func=None), ends)
        rows += [row for position in range(len(columns.columns)) for row in columns.rows(position)]
        notes[:0] = _means(pf)
    own = own_metrics(pf, notes)
    metrics = undefined_metrics(pf) | whole.metrics()[0] | {name: _mean(values) for name, values in own.items()}
    if has_negative_equity([metrics, *(columns.metrics() if columns else ())]):
        notes.append(BELOW_ZERO)
    definitions = metric_definitions(pf)
    moments = _one_moment(moments_of(pf, definitions["ddof"], notes))
    return Summary(tuple(rows), metrics, definitions, moments, merge_notes(notes))


def statistics_to_series(statistics: Sequence[Statistic], column: str | None = None) -> pd.Series:
    """Return statistics as the Series that `pf.stats()` returned: values with their types, index and name.

    Parameters
    ----------
    statistics : sequence of Statistic
        Those of one run, in the order in which they were archived.
    column : str or None
        A column or group whose statistics are wanted; None is the whole.
    """
    import pandas as pd

    is_mean = column is None and any(row.column is not None for row in statistics)
    rows = [row for row in statistics if row.column == column]
    values: dict[Hashable, Any] = {}
    for row in rows:
        values.setdefault(row.label, _engine_value(row, is_mean=is_mean))  # labels of columns can repeat
    name = decode_label(rows[0].series) if rows and rows[0].series is not None else None
    return pd.Series(values, name=name, dtype=None if values else object)


def end_labels(pf: Any) -> dict[str, Any]:
    """Return the first and last bar under the labels that vectorbt gives them, {} without bars."""
    index = pf.wrapper.index
    return {"Start": index[0], "End": index[-1]} if len(index) else {}


def matrix_of_series(stats: pd.Series, ends: Mapping[str, Any]) -> StatisticMatrix:
    """Return the statistics of one column, or of the whole, as a matrix of one column.

    `ends` are the first and last bar as they are, not as pandas made them fit between numbers.
    """
    values = {str(label): ends.get(str(label), value) for label, value in stats.items()}
    measures = tuple(_measure_alone(label, value, ends.get(label)) for label, value in values.items())
    return StatisticMatrix(measures, columns=(None,), series=(encode_label(stats.name),))


def matrix_of_frame(stats: pd.DataFrame, ends: Mapping[str, Any], *, alone: bool = False) -> StatisticMatrix:
    """Return the statistics of each column or group as ``stats(agg_func=None)`` gave them; `ends` as above.

    `alone` makes each column the whole of its own run.
    """
    columns = {str(label): _repeated(ends[label], stats) if label in ends else stats[label] for label in stats.columns}
    measures = tuple(_measure(label, values, ends.get(label)) for label, values in columns.items())
    names = tuple(encode_label(name) for name in stats.index)
    return StatisticMatrix(measures, (None,) * len(names) if alone else tuple(map(label_text, stats.index)), names)


def label_text(label: Any) -> str:
    """Return a column's label as text: the parts of a tuple are separated by commas."""
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def undefined_metrics(pf: Any) -> dict[str, Number]:
    """Return every metric that this portfolio's `stats()` can have, as None: what it leaves out is undefined."""
    titles = [str(settings.get("title", name)) for name, settings in pf.metrics.items()]
    metrics = [metric_of_label(title, None) for title in titles]
    return {metric.name: None for metric in metrics if metric.unit != "timestamp"}


def own_metrics(pf: Any, notes: list[str]) -> dict[str, list[Number]]:
    """Return, for each column or group, the metrics that vectorbt computes but does not print."""
    ways: dict[str, Callable[[], Any]] = {
        "total_profit": pf.total_profit,
        "winning_trades": lambda: pf.trades.closed.winning.count(),
        "losing_trades": lambda: pf.trades.closed.losing.count(),
    }
    undefined: list[Number] = [None] * _width(pf)
    told = {name: _attempt(way, notes) for name, way in ways.items()}
    return {name: undefined if x is None else [_finite(one) for one in np.atleast_1d(x)] for name, x in told.items()}


def moments_of(pf: Any, ddof: int, notes: list[str]) -> list[dict[str, Number]]:
    """Return the moments of each column's or group's returns; None throughout where those cannot be had."""
    told = _attempt(pf.asset_returns if uses_asset_returns() else pf.returns, notes)
    returns = np.empty((0, _width(pf))) if told is None else np.asarray(told, dtype=np.float64)
    return compute_moments(returns.reshape(-1, _width(pf)), ddof)


def has_negative_equity(metrics: Sequence[Mapping[str, Number]]) -> bool:
    """Tell whether any drawdown is deeper than all there was."""
    return any((one.get("max_drawdown") or 0) < -1 for one in metrics)


def _attempt(way: Callable[[], Any], notes: list[str]) -> Any:
    """Return what the engine computes as an array, None where it cannot; `notes` then say why."""
    with noting(notes):
        try:
            return np.asarray(way())
        except Exception as error:  # a portfolio that cannot be asked for statistics may refuse this as well
            notes.append(f"{type(error).__name__}: {error}")
    return None


def _width(pf: Any) -> int:
    return int(pf.wrapper.get_shape_2d()[1])


def _finite(value: Any) -> Number:
    plain: float | int = value.item()
    return plain if np.isfinite(plain) else None


def _mean(values: Sequence[Number]) -> Number:
    if len(values) == 1:
        return values[0]
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    return int(mean) if mean == int(mean) and all(isinstance(value, int) for value in known) else mean


def _one_moment(moments: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    if len(moments) == 1:
        return dict(moments[0])
    n_periods = max((int(one["n_periods"] or 0) for one in moments), default=0)
    return {name: None for one in moments[:1] for name in one} | {"n_periods": n_periods}


def merge_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """Return each note once; that ratios need a frequency goes without saying where the reason was given."""
    distinct = dict.fromkeys(notes)
    told = any(note.startswith(NO_FIXED_BARS) for note in distinct)
    return tuple(note for note in distinct if not (told and note.startswith(NO_FREQUENCY)))


def _means(pf: Any) -> list[str]:
    count = _width(pf)
    kind = "groups" if pf.wrapper.grouper.is_grouped() else "columns"
    text = f"metrics are means over {count} {kind}, as in vectorbt's stats(); the whole has no moments"
    return [text] if count > 1 else []


def _repeated(end: Any, stats: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.Series([end] * len(stats))


def _measure_alone(label: str, value: Any, end: Any) -> Measure:
    """Return what a column of this one value gives.

    Of numbers, durations and times no column is made: to find out what they are takes pandas longer than all the rest.
    """
    import pandas as pd

    if end is None and isinstance(value, float | np.integer):
        return _numbers(label, np.array([value], dtype=np.float64), whole=isinstance(value, np.integer))
    if isinstance(value, pd.Timedelta):
        return _times(label, value, "duration")
    if isinstance(value, pd.Timestamp) and not _is_duration(label) and (measure := _timestamps(label, value, value.tz)):
        return measure
    return _measure(label, pd.Series([value]), end)


def _measure(label: str, values: pd.Series, end: Any = None) -> Measure:
    kind = values.dtype.kind
    if kind == "m" or (kind == "M" and _is_duration(label)):  # a lone NaT is read as a time of the calendar
        return _times(label, values.array, "duration")
    if kind == "M" and (measure := _timestamps(label, values.array, getattr(values.dtype, "tz", None))):
        return measure
    if kind in "iuf" and end is None:
        return _numbers(label, values.to_numpy(np.float64), whole=kind in "iu")
    texts = (encode_label(end),) * len(values) if end is not None else tuple(encode_label(value) for value in values)
    metric = metric_of_label(label, None)
    return Measure(metric, label, metric.engine_unit, texts=texts)


def _numbers(label: str, values: Floats, *, whole: bool = False) -> Measure:
    metric = metric_of_label(label, 0 if whole else 0.0, in_bars=_is_duration(label))
    return Measure(metric, label, metric.engine_unit, values=values)


def _is_duration(label: str) -> bool:
    registered = by_label(label)
    return registered is not None and registered.unit == "duration"


def _times(label: str, values: Any, unit: str, tz: str | None = None) -> Measure:
    """Return a measure of one time or duration, or of an array of them."""
    in_ns = values.as_unit("ns")
    ns = np.atleast_1d(np.asarray(in_ns.asi8 if hasattr(in_ns, "asi8") else in_ns.value, dtype=np.int64))
    return Measure(metric_of_label(label, None), label, unit, ns=ns, tz=tz)


def _timestamps(label: str, values: Any, zone: Any) -> Measure | None:
    """Return times of the calendar; None for those that 64 bits of nanoseconds or the name of a zone cannot hold."""
    from pandas.errors import OutOfBoundsDatetime

    try:
        return _times(label, values, "timestamp", tz=describe_zone(zone).get("tz"))
    except (OutOfBoundsDatetime, NotRebuildableError):
        return None


def _engine_value(row: Statistic, *, is_mean: bool) -> Any:
    """Return a statistic's value with the type it has in vectorbt's Series."""
    import pandas as pd

    if row.text is not None:
        return decode_label(row.text)
    if row.unit in ("timestamp", "duration"):
        if row.value_ns is None:
            return pd.NaT
        if row.unit == "duration":
            return pd.Timedelta(row.value_ns, unit="ns")
        return pd.Timestamp(row.value_ns, unit="ns", tz=restore_zone({"tz": row.tz}))
    return _number(row, is_mean=is_mean)


def _number(row: Statistic, *, is_mean: bool) -> Any:
    value = np.float64(np.nan if row.value is None else row.value)
    if np.isnan(value):
        return float(value) if is_mean else value  # pandas gives the mean of nothing as Python's own NaN
    if row.name == "period_bars":
        return int(value)
    if row.unit == "count" and not is_mean and not row.name.endswith("_bars"):
        return np.int64(value)
    return value
