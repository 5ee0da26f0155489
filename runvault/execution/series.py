"""Inputs: files read by their extension, and windows of time cut out of those that are time series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Declared: TypeAlias = Mapping[str, str]
"""The inputs that were declared to be time series, each with its column of times, ``""`` where that shows by itself."""

OHLCV = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


@dataclass(frozen=True)
class Span:
    """The window of time asked for: first and last moment, both included, and the length of a bar; None is "as is"."""

    start: str | None = None
    end: str | None = None
    interval: str | None = None

    def __bool__(self) -> bool:
        return any((self.start, self.end, self.interval))

    def asked(self) -> dict[str, str]:
        """Return what was asked for, by name."""
        words = {"start": self.start, "end": self.end, "interval": self.interval}
        return {name: text for name, text in words.items() if text}


WHOLE = Span()


def read_input(path: Path) -> Any:
    """Return an input as an entry is given it: a frame for Parquet, CSV and Feather, else the path.

    Columns of a CSV whose every text is an ISO 8601 date or time become times; nothing else is guessed.

    Raises
    ------
    ConfigError
        The file is not there, or not what its extension says.
    """
    if not path.exists():
        raise ConfigError(f"there is no input {str(path)!r}")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in (".parquet", ".csv", ".feather"):
        return path
    import pandas as pd

    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_feather(path) if suffix == ".feather" else _with_times(pd.read_csv(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _with_times(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    for name in frame.columns:
        column = frame[name]
        if len(column) and pd.api.types.is_string_dtype(column.dtype) and str(column.iloc[0])[:4].isdigit():
            try:
                frame[name] = pd.to_datetime(column, format="ISO8601")
            except (ValueError, TypeError):
                continue
    return frame


def time_of(value: Any) -> str | None:
    """Return where a value's times are: ``""`` for its index, else a column; None where it is no time series.

    An input whose index is datetime, or that has exactly one datetime column, is a time series.
    """
    import pandas as pd

    if not isinstance(value, (pd.DataFrame, pd.Series)):
        return None
    if isinstance(value.index, pd.DatetimeIndex):
        return ""
    times = _times_in(value)
    return times[0] if len(times) == 1 else None


def series_in(inputs: Mapping[str, Any], declared: Declared | None) -> dict[str, str]:
    """Return which inputs are time series and where their times are, as `time_of` does.

    They are the declared ones and no others; where nobody declared any, all that `time_of` finds.

    Raises
    ------
    ConfigError
        What was declared is no input, or no time series.
    """
    if declared is not None:
        return {name: _declared_time(name, inputs, column) for name, column in declared.items()}
    return {name: where for name, value in inputs.items() if (where := time_of(value)) is not None}


def cut_inputs(inputs: Mapping[str, Any], span: Span, series: Mapping[str, str]) -> dict[str, Any]:
    """Return inputs with those cut that `series_in` found.

    Raises
    ------
    ConfigError
        The span is none, or nothing of any of them lies in it.
    """
    kept = {name: cut(inputs[name], span, where) for name, where in series.items() if name in inputs}
    if span and kept and not any(len(value) for value in kept.values()):
        known = "; ".join(f"{name} has {_reach(inputs[name], series[name])}" for name in kept)
        raise ConfigError(f"no row of {', '.join(kept)} lies between the dates that were asked for", hint=known)
    return {**inputs, **kept}


def _reach(value: Any, where: str) -> str:
    times = _times(value, where)
    return f"times from {times.min()} to {times.max()}" if len(times) else "no row at all"


def _declared_time(name: str, inputs: Mapping[str, Any], column: str) -> str:
    """Return where the times of a declared input are, as `time_of` does."""
    import pandas as pd

    if name not in inputs:
        known = f"the inputs are {', '.join(inputs)}" if inputs else "there are no inputs"
        raise ConfigError(f"there is no input {name!r} to be a time series", hint=known)
    value = inputs[name]
    if column:
        found = isinstance(value, pd.DataFrame) and column in value.columns
        if not found or not pd.api.types.is_datetime64_any_dtype(value[column].dtype):
            raise ConfigError(f"the input {name!r} has no column {column!r} of times")
        return column
    where = time_of(value)
    if where is None:
        hint = f"name the one that counts: {name}=COLUMN" if _times_in(value) else "times are ISO 8601 texts in a CSV"
        raise ConfigError(f"the input {name!r} has {_how_many(_times_in(value))} of times", hint=hint)
    return where


def _how_many(columns: list[str]) -> str:
    return f"{len(columns)} columns ({', '.join(map(str, columns))})" if columns else "neither index nor column"


def _times_in(value: Any) -> list[str]:
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        return []
    return [name for name in value.columns if pd.api.types.is_datetime64_any_dtype(value[name].dtype)]


def cut(value: Any, span: Span, where: str) -> Any:
    """Return the part of a time series that `span` names, resampled where it names an interval.

    `where` says where its times are, as `time_of` does.

    Both ends are included; a day, a month or a year as the end means all of it. Bars are resampled by pandas' own
    rules, labelled and closed on the left: open first, high max, low min, close last, volume sum, any other column its
    last value.
    """
    if not span:
        return value
    kept = value[_within(_times(value, where), span)]
    return _resampled(kept, where, span.interval) if span.interval else kept


def _times(value: Any, where: str) -> Any:
    return value.index if where == "" else value[where]


def _within(times: Any, span: Span) -> Any:
    import numpy as np

    mask = np.ones(len(times), dtype=bool)
    if span.start:
        mask &= np.asarray(times >= _moment(span.start, times))
    if span.end:
        mask &= np.asarray(times <= _moment(span.end, times, end=True))
    return mask


def _moment(text: str, times: Any, *, end: bool = False) -> Any:
    import pandas as pd

    hint = "write 2024-05-01 or 2024-05-01T09:30:00"
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no date or time", hint) from error
    if pd.isna(moment) or not any(map(str.isdigit, text)):  # "now" would be another time in every replay
        raise ConfigError(f"{text!r} is no date or time", hint)
    if end and len(text.strip()) <= len("2024-05-01"):
        moment = (pd.Period(text.strip()) + 1).start_time - pd.Timedelta(1, "ns")
    zone = times.dtype.tz if hasattr(times.dtype, "tz") else None
    if zone is None:
        return moment if moment.tzinfo is None else moment.tz_convert("UTC").tz_localize(None)
    return moment.tz_localize(zone) if moment.tzinfo is None else moment.tz_convert(zone)


def _resampled(value: Any, where: str, interval: str) -> Any:
    import pandas as pd

    indexed = value if where == "" else value.set_index(where)
    try:
        bars = indexed.resample(interval)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{interval!r} is no interval", hint="write 1h, 1D or 1W, as pandas does") from error
    if isinstance(indexed, pd.Series):
        made = bars.last()
    else:
        made = bars.agg({name: OHLCV.get(str(name).lower(), "last") for name in indexed.columns})
    made = made.dropna(how="all")
    return made if where == "" else made.reset_index()
