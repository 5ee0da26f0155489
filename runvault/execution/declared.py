"""Parameters as a function declares them: times, enumerations, arrays and tuples, not the JSON that is kept of them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from runvault.errors import ConfigError
from runvault.model.canonical import normalise

Json: TypeAlias = Any


def as_declared(function: Callable[..., Any], params: Mapping[str, Json]) -> dict[str, Any]:
    """Return parameters that were read from JSON or a command line as the function's caller would give them.

    A value that is the default's canonical form becomes the default. Another becomes what the argument's default or
    annotation is: an enumeration, a date, time or duration, a tuple, a NumPy array. Times are naive unless the default
    has a zone. What has another canonical form than the value that was asked for is not used.

    Examples
    --------
    >>> def backtest(prices, start: date, windows: tuple[int, int] = (10, 50)): ...
    >>> as_declared(backtest, {"start": "2024-05-01", "windows": [5, 20]})
    {'start': datetime.date(2024, 5, 1), 'windows': (5, 20)}
    """
    known = inspect.signature(function).parameters
    if not any(type(value) in (str, list) and name in known for name, value in params.items()):
        return dict(params)
    hints = _hints(function)
    return {
        name: _declared(value, known[name].default, hints.get(name))
        if name in known and type(value) in (str, list)
        else value
        for name, value in params.items()
    }


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # an annotation may be any expression, and name what only a type checker imports
        return {}


def _declared(value: Json, default: Any, hint: Any) -> Any:
    if default is not inspect.Parameter.empty and _is_form_of(value, default):
        return default
    usual = type(default) if default is not inspect.Parameter.empty and default is not None else _type_of(hint)
    try:
        made = _made(value, usual, default)
    except (ValueError, TypeError, KeyError, OverflowError):
        return value
    return made if _is_form_of(value, made) else value


def _is_form_of(value: Json, made: Any) -> bool:
    try:
        return bool(normalise(made) == value)
    except ConfigError:
        return False


def _type_of(hint: Any) -> Any:
    """Return the class that an annotation names, without ``None`` and what stands in brackets."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return _type_of(kinds[0]) if len(kinds) == 1 else None
    return get_origin(hint) or hint


def _made(value: Json, kind: Any, default: Any) -> Any:
    if not isinstance(kind, type):
        return value
    if isinstance(value, list):
        return _sequence(value, kind, default)
    if issubclass(kind, Enum):
        return kind[value]
    if issubclass(kind, datetime):
        import pandas as pd

        moment = pd.Timestamp(value)
        zone = getattr(default, "tzinfo", None)
        moment = moment.tz_convert(zone) if zone is not None else moment.tz_localize(None)
        return moment if issubclass(kind, pd.Timestamp) else moment.to_pydatetime()
    if issubclass(kind, date):
        return kind.fromisoformat(value)
    if issubclass(kind, timedelta):
        import pandas as pd

        duration = pd.Timedelta(value)
        return duration if issubclass(kind, pd.Timedelta) else duration.to_pytimedelta()
    return value


def _sequence(value: list[Json], kind: type, default: Any) -> Any:
    import numpy as np

    if issubclass(kind, np.ndarray):
        return np.array(value, dtype=getattr(default, "dtype", None))
    return tuple(value) if kind is tuple else value
