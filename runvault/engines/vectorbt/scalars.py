"""Single labels as JSON text that keeps their type: names of Series, first and last bars that are not times."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import numpy as np

from runvault.errors import FormatError

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_label(value: Any) -> str:
    """Return a label as JSON; what has no JSON form of its own is an object of one member that names its type.

    An arbitrary object becomes its text, and comes back as text.

    Examples
    --------
    >>> encode_label(("GOOG", np.int64(5)))
    '{"tuple": ["GOOG", {"int64": 5}]}'
    """
    return json.dumps(_encode(value), ensure_ascii=True)  # ASCII: a lone surrogate survives in a label


def decode_label(text: str) -> Any:
    """Return the label that `encode_label` encoded, or raise FormatError.

    Examples
    --------
    >>> decode_label('{"tuple": ["GOOG", {"int64": 5}]}')
    ('GOOG', np.int64(5))
    """
    try:
        return _decode(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise FormatError(f"{text[:80]!r} is no label") from error


def _encode(value: Any) -> Any:
    if value is None or type(value) in (str, bool, int):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value) is tuple:
        return {"tuple": [_encode(item) for item in value]}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {value.dtype.name: _encode(value.item())}
    return _encode_time(value)


def _encode_time(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, pd.Period):
        return {"period": [value.ordinal, value.freqstr]}
    if isinstance(value, pd.Timestamp):
        return {"timestamp": value.isoformat()}
    if isinstance(value, pd.Timedelta):
        return {"timedelta": [int(value.asm8.astype(np.int64)), value.unit]}
    if type(value) is datetime.date:
        return {"date": value.isoformat()}
    return {"object": str(value)}


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise TypeError("a bare list is no label")
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_decode(item) for item in content)
    if kind == "float":
        return _NON_FINITE[content]
    if kind == "date":
        return datetime.date.fromisoformat(content)
    if kind == "object":
        return str(content)
    return _decode_time(kind, content) if kind in _TIMES else _decode_numpy(kind, content)


_TIMES = ("period", "timestamp", "timedelta")


def _decode_time(kind: str, content: Any) -> Any:
    import pandas as pd

    if kind == "period":
        return pd.Period(ordinal=content[0], freq=content[1])
    if kind == "timestamp":
        return pd.Timestamp(content)
    return pd.Timedelta(np.timedelta64(content[0], content[1]))


_NUMBERS = {"bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def _decode_numpy(kind: str, content: Any) -> Any:
    if kind not in _NUMBERS:
        raise TypeError(f"{kind} is no type of labels")
    return np.dtype(kind).type(_decode(content))
