"""Row labels and column labels as JSON and arrays, from which an equal pandas index is built.

A description is a dictionary: ``kind``, ``name`` where there is one, what else the kind needs, and ``values``, a list
of arrays (one for most kinds, the codes of each level for ``multi``). Levels and categories are descriptions again.

=============  ==========================================================================
kind           besides ``values``
=============  ==========================================================================
int64, ...     any integer, float or boolean dtype by its name
str, string    ``storage`` (``python`` or ``pyarrow``); ``string`` marks missing text as pd.NA
object         Python's own text and None
mixed          Python's own text, numbers, booleans and None; one dtype with ``object``
range          ``start``, ``stop``, ``step``; no values
datetime       ``unit``, ``tz``, ``tz_type``, ``freq``; values count units since 1970
timedelta      ``unit``, ``freq``
period         ``freq``; values are ordinals
categorical    ``categories``, ``ordered``; values are codes
interval       ``left``, ``right``, ``closed``; no values
multi          ``names``, ``levels``; values are codes
=============  ==========================================================================

`runvault.engines.vectorbt.pool` takes the arrays to the manifest and to ``labels.parquet``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from runvault.engines.vectorbt.frequencies import describe_offset, restore_offset
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.engines.vectorbt.zones import describe_zone, restore_zone
from runvault.errors import FormatError
from runvault.model.table import Array

Spec: TypeAlias = dict[str, Any]

TEXT_LIMIT = 4096
_UNITS = ("s", "ms", "us", "ns")
NUMBERS = {"bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def describe(index: pd.Index) -> Spec:
    """Return the description of an index, its values as arrays.

    Raises
    ------
    NotRebuildableError
        Labels are arbitrary objects, or what comes back would differ in value, dtype, name or frequency.

    Examples
    --------
    >>> describe(pd.Index([5, 10], name="fast"))
    {'kind': 'int64', 'name': 'fast', 'values': [array([ 5, 10])]}
    """
    spec = _describe(index)
    try:
        same = _same(restore(spec), index)
    except FormatError as error:
        raise NotRebuildableError(f"labels that do not come back: {error}") from error
    if not same:
        raise NotRebuildableError(f"labels of dtype {index.dtype} that do not come back equal")
    return spec


def restore(spec: Spec) -> pd.Index:
    """Return the index that `describe` described; FormatError where the description is none."""
    try:
        return _restore(spec)
    except FormatError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"labels of kind {str(spec.get('kind'))[:40]!r} cannot be read: {error}") from error


def _describe(index: pd.Index) -> Spec:
    if isinstance(index, pd.MultiIndex):
        return {
            "kind": "multi",
            "names": [_name(name) for name in index.names],
            "levels": [_without_name(_describe(level)) for level in index.levels],
            "values": [np.asarray(codes, dtype=np.int64) for codes in index.codes],
        }
    spec = _describe_flat(index)
    name = _name(index.name)
    return spec if name is None else {"kind": spec.pop("kind"), "name": name, **spec}


def _describe_flat(index: pd.Index) -> Spec:
    if isinstance(index, pd.RangeIndex):
        return {"kind": "range", "start": index.start, "stop": index.stop, "step": index.step, "values": []}
    if isinstance(index, pd.CategoricalIndex):
        codes = np.asarray(index.codes, dtype=np.int64)
        categories = _describe(index.categories)
        return {"kind": "categorical", "ordered": bool(index.ordered), "categories": categories, "values": [codes]}
    if isinstance(index, pd.IntervalIndex):
        sides = {"left": _describe(index.left), "right": _describe(index.right)}
        return {"kind": "interval", "closed": index.closed, **sides, "values": []}
    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex):
        return _describe_time(index)
    if isinstance(index.dtype, pd.StringDtype):
        kind = "string" if index.dtype.na_value is pd.NA else "str"
        return {"kind": kind, "storage": index.dtype.storage, "values": [_texts(index)]}
    if index.dtype.name in NUMBERS and isinstance(index.dtype, np.dtype):
        return {"kind": index.dtype.name, "values": [index.to_numpy()]}
    if index.dtype == np.dtype(object):
        values = _plain_objects(index)
        textual = all(value is None or type(value) is str for value in values)
        return {"kind": "object" if textual else "mixed", "values": [values]}
    raise NotRebuildableError(f"labels of dtype {index.dtype}")


def _describe_time(index: pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex) -> Spec:
    values = [np.asarray(index.asi8)]
    if isinstance(index, pd.PeriodIndex):
        return {"kind": "period", "freq": index.freqstr, "values": values}
    kind = "datetime" if isinstance(index, pd.DatetimeIndex) else "timedelta"
    spec: Spec = {"kind": kind, "unit": index.unit}
    if isinstance(index, pd.DatetimeIndex):
        spec |= describe_zone(index.tz)
    if index.freq is not None:
        spec["freq"] = describe_offset(index.freq)
    return spec | {"values": values}


def _texts(index: pd.Index) -> Array:
    """Return text labels as objects, missing ones as None."""
    texts = np.array(index, dtype=object)
    texts[np.asarray(index.isna())] = None
    for text in texts:
        _check_text(text)
    return texts


def _plain_objects(index: pd.Index) -> Array:
    for value in index:
        if type(value) not in (str, int, float, bool, type(None)):
            raise NotRebuildableError(f"labels that are arbitrary objects ({type(value).__name__})")
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise NotRebuildableError("labels that are integers beyond 64 bits")
        _check_text(value)
    return np.array(index, dtype=object)


def _check_text(value: object) -> None:
    if not isinstance(value, str):
        return
    if len(value) > TEXT_LIMIT:
        raise NotRebuildableError(f"a label of {len(value)} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NotRebuildableError("a label that is not valid Unicode") from error


def _name(name: object) -> Any:
    if name is None or type(name) in (str, int, bool) or (type(name) is float and math.isfinite(name)):
        _check_text(name)
        return name
    raise NotRebuildableError(f"a name of labels that is an arbitrary object ({type(name).__name__})")


def _without_name(spec: Spec) -> Spec:
    """Return the description of a level: the names stand with the MultiIndex."""
    return {key: value for key, value in spec.items() if key != "name"}


def _restore(spec: Spec) -> pd.Index:
    kind = spec["kind"]
    if kind == "multi":
        levels = [_restore(level) for level in spec["levels"]]
        # Codes out of range are refused here
        return pd.MultiIndex(levels=cast(Any, levels), codes=spec["values"], names=spec["names"])
    index: pd.Index = _RESTORERS[kind](spec) if kind in _RESTORERS else _restore_numbers(spec)
    return index.rename(spec.get("name"))


def _restore_numbers(spec: Spec) -> Any:
    if spec["kind"] not in NUMBERS:
        raise FormatError(f"{spec['kind'][:40]!r} is no kind of labels")
    return pd.Index(np.asarray(spec["values"][0]).astype(spec["kind"]))


def _restore_range(spec: Spec) -> Any:
    return pd.RangeIndex(int(spec["start"]), int(spec["stop"]), int(spec["step"]))


def _restore_text(spec: Spec) -> Any:
    missing = pd.NA if spec["kind"] == "string" else np.nan
    dtype = pd.StringDtype(storage=spec.get("storage"), na_value=missing)
    return pd.Index(spec["values"][0], dtype=cast(Any, dtype))


def _restore_object(spec: Spec) -> Any:
    return pd.Index(spec["values"][0], dtype=object)


def _restore_categorical(spec: Spec) -> Any:
    codes, categories = spec["values"][0], _restore(spec["categories"])
    return pd.CategoricalIndex(pd.Categorical.from_codes(codes, categories=categories, ordered=bool(spec["ordered"])))


def _restore_interval(spec: Spec) -> Any:
    return pd.IntervalIndex.from_arrays(_restore(spec["left"]), _restore(spec["right"]), closed=spec["closed"])


def _restore_period(spec: Spec) -> Any:
    return cast(Any, pd.PeriodIndex).from_ordinals(spec["values"][0], freq=spec["freq"])


def _restore_datetime(spec: Spec) -> Any:
    index = pd.DatetimeIndex(_moments(spec, "datetime64"))
    zone = restore_zone(spec)
    if zone is not None:
        index = index.tz_localize("UTC").tz_convert(zone)
    return _with_freq(index, spec)


def _restore_timedelta(spec: Spec) -> Any:
    return _with_freq(pd.TimedeltaIndex(_moments(spec, "timedelta64")), spec)


def _moments(spec: Spec, dtype: str) -> Array:
    if spec["unit"] not in _UNITS:
        raise FormatError(f"{str(spec['unit'])[:40]!r} is no unit of time")
    values = np.asarray(spec["values"][0])
    # prices.parquet keeps times as datetime64[ns]; counts of units come from JSON and labels.parquet.
    counted = values if values.dtype.kind in "mM" else values.astype(np.int64)
    return counted.astype(f"{dtype}[{spec['unit']}]")


def _with_freq(index: Any, spec: Spec) -> Any:
    if "freq" in spec:
        index.freq = restore_offset(spec["freq"])  # refuses a frequency that the values do not have
    return index


_RESTORERS: dict[str, Callable[[Spec], Any]] = {
    "range": _restore_range,
    "str": _restore_text,
    "string": _restore_text,
    "object": _restore_object,
    "mixed": _restore_object,
    "categorical": _restore_categorical,
    "interval": _restore_interval,
    "period": _restore_period,
    "datetime": _restore_datetime,
    "timedelta": _restore_timedelta,
}


def _same(a: pd.Index, b: pd.Index) -> bool:
    """Tell whether two indexes agree in type, values, dtype with its storage, names and frequency."""
    if type(a) is not type(b) or not a.identical(b):
        return False
    if isinstance(a, pd.MultiIndex) and isinstance(b, pd.MultiIndex):
        codes = all(np.array_equal(x, y) for x, y in zip(a.codes, b.codes, strict=True))
        return codes and all(_same(x, y) for x, y in zip(a.levels, b.levels, strict=True))
    storage = getattr(a.dtype, "storage", None) == getattr(b.dtype, "storage", None)
    return storage and bool(getattr(a, "freq", None) == getattr(b, "freq", None))
