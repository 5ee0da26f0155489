"""Frequencies of an index and of a portfolio as JSON, of the same type when they come back."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import CustomBusinessDay

from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.errors import FormatError
from runvault.model.hearing import unheard

if TYPE_CHECKING:
    from runvault.engines.result import Json


def describe_offset(offset: Any) -> Json:
    """Return an index frequency as text, or as an object for a business calendar with holidays.

    Raises
    ------
    NotRebuildableError
        The frequency has no text that pandas reads back as an equal one.

    Examples
    --------
    >>> describe_offset(pd.offsets.QuarterEnd(startingMonth=2))
    'QE-FEB'
    """
    if type(offset) is CustomBusinessDay:
        spec = {"n": offset.n, "weekmask": offset.weekmask, "holidays": _days(offset.holidays)}
        described: Json = {"calendar": spec}
    else:
        described = offset.freqstr
    try:
        same = bool(restore_offset(described) == offset)
    except FormatError:
        same = False
    if not same:
        raise NotRebuildableError(f"an index frequency that has no text ({offset!r})")
    return described


def restore_offset(described: Json) -> Any:
    """Return the offset that `describe_offset` described, or raise FormatError."""
    try:
        if isinstance(described, str):
            return to_offset(described)
        spec = described["calendar"]
        holidays = [np.datetime64(int(day), "D") for day in spec["holidays"]]
        return CustomBusinessDay(n=int(spec["n"]), weekmask=str(spec["weekmask"]), holidays=holidays)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise FormatError(f"{str(described)[:80]!r} is no index frequency") from error


def describe_frequency(freq: Any) -> Json:
    """Return the frequency given to a portfolio as JSON that keeps its type.

    Examples
    --------
    >>> describe_frequency("1D"), describe_frequency(pd.Timedelta(minutes=5))
    ('1D', {'timedelta': 300000000000, 'unit': 'us'})
    """
    if freq is None or type(freq) is str:
        return freq
    if isinstance(freq, pd.Timedelta):
        return {"timedelta": freq.as_unit("ns").value, "unit": freq.unit}
    if isinstance(freq, np.timedelta64):
        unit, step = np.datetime_data(freq.dtype)
        return {"timedelta64": int(freq.astype(np.int64)) * step, "unit": unit}
    if type(freq) is datetime.timedelta:
        return {"days": freq.days, "seconds": freq.seconds, "microseconds": freq.microseconds}
    if isinstance(freq, pd.tseries.offsets.BaseOffset):
        return {"offset": describe_offset(freq)}
    raise NotRebuildableError(f"a frequency of type {type(freq).__name__}")


def restore_frequency(described: Json) -> Any:
    """Return the frequency that `describe_frequency` described, or raise FormatError."""
    if described is None or isinstance(described, str):
        return described
    try:
        if "timedelta" in described:
            return pd.Timedelta(int(described["timedelta"]), unit="ns").as_unit(described["unit"])
        if "timedelta64" in described:
            return np.timedelta64(int(described["timedelta64"]), described["unit"])
        if "offset" in described:
            return restore_offset(described["offset"])
        return datetime.timedelta(**{name: int(value) for name, value in described.items()})
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise FormatError(f"{str(described)[:80]!r} is no frequency") from error


def timedelta_text(delta: pd.Timedelta | None) -> str | None:
    """Return ``1 days``, or ``0 days 01:30:00`` where the hours count; pandas reads both back exactly."""
    return None if delta is None else str(delta).removesuffix(" 00:00:00")


def bar_length(wrapper: Any) -> pd.Timedelta | None:
    """Return a wrapper's frequency as vectorbt resolves it, None where it has none or none of fixed length.

    vectorbt raises for an index such as business days or quarter ends unless ``freq=`` was given.
    """
    try:
        with unheard(DeprecationWarning):  # vectorbt 1.2 asks pandas 3 in pandas 2's way
            freq = wrapper.freq
    except ValueError:
        return None
    return freq if isinstance(freq, pd.Timedelta) else None


def _days(holidays: Any) -> list[int]:
    return [int(day) for day in np.array(holidays, dtype="datetime64[D]").astype(np.int64)]
