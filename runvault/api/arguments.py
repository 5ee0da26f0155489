"""What people pass by mistake or by habit, turned into what is meant or into an error that says what is wrong."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

from runvault.errors import ConfigError
from runvault.execution.series import Span
from runvault.model.query import Selection

FILTERS = frozenset(field.name for field in fields(Selection))
SEVERAL = frozenset({"tags", "any_tags"})
TEXTS = frozenset({"strategy", "engine", "symbol", "where", "search", "since", "until", "config_hash", "sort"})


def texts(values: str | Iterable[str]) -> tuple[str, ...]:
    """Return several texts; one text alone is one, not its letters.

    Raises
    ------
    ConfigError
        One of them is no text.

    Examples
    --------
    >>> texts("tech"), texts(["tech", "us"])
    (('tech',), ('tech', 'us'))
    """
    several = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else (values,)
    return tuple(as_text(value, repr(value)) for value in several)


def as_text(value: Any, name: str) -> str:
    """Return a text.

    Raises
    ------
    ConfigError
        It is none.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{name} is a {type(value).__name__}, no text")
    return value


def as_seed(seed: Any) -> int:
    """Return a seed as Python's integer: loops over NumPy ranges are usual.

    Raises
    ------
    ConfigError
        It is no integer, or a truth value, which Python takes for one.
    """
    if not isinstance(seed, bool):
        with suppress(TypeError):
            return operator.index(seed)
    raise ConfigError(f"the seed is a {type(seed).__name__}, not an integer")


def as_series(series: Any) -> dict[str, str] | None:
    """Return declared time series, each with its column of times or ``""``; None where nothing was said.

    Raises
    ------
    ConfigError
        They are neither names nor a mapping of names to columns.
    """
    if series is None:
        return None
    named = series if isinstance(series, Mapping) else dict.fromkeys(texts(series), "")
    for name, column in named.items():
        if not isinstance(name, str) or not isinstance(column, str):
            hint = 'write ["prices"] or {"prices": "date"}'
            raise ConfigError(f"series holds {name!r}: {column!r}, no names of inputs and columns", hint=hint)
    return dict(named)


def as_count(count: Any, name: str, least: int = 1) -> int | None:
    """Return how many of something are wanted, None where nothing was said.

    Raises
    ------
    ConfigError
        It is no integer, or less than `least`.
    """
    if count is None:
        return None
    try:
        number = operator.index(count)
    except TypeError as error:
        raise ConfigError(f"{name} is a {type(count).__name__}, not an integer") from error
    if number < least:
        raise ConfigError(f"{name} is {number}: it must be at least {least}")
    return number


def as_number(value: Any, name: str, least: float = -math.inf, *, above: bool = False) -> float | None:
    """Return a finite number of at least `least`, or `above` it; None where nothing was said.

    Raises
    ------
    ConfigError
        It is no such number.

    Examples
    --------
    >>> as_number(30, "timeout", 0, above=True)
    30
    """
    if value is None:
        return None
    try:
        fits = math.isfinite(value) and (value > least if above else value >= least)
    except (TypeError, OverflowError) as error:
        raise ConfigError(f"{name} is a {type(value).__name__}, not a number") from error
    if not fits:
        bound = "" if least == -math.inf else f" {'above' if above else 'of at least'} {least:g}"
        raise ConfigError(f"{name} is {value}, not a finite number{bound}")
    number: float = value
    return number


def as_span(said: Mapping[str, Any]) -> Span:
    """Return ``start``, ``end`` and ``interval``; None is not said, and Python's and pandas' own times are text.

    Raises
    ------
    ConfigError
        One is empty, or neither text nor a time.

    Examples
    --------
    >>> as_span({"start": date(2024, 5, 1), "interval": "1W"})
    Span(start='2024-05-01', end=None, interval='1W')
    """
    bounds = {name: said.get(name) for name in ("start", "end", "interval")}
    for name, value in bounds.items():
        if name != "interval" and isinstance(value, date):
            bounds[name] = value.isoformat()
        elif value is not None and not isinstance(value, str):
            what = "1h, 1D or 1W" if name == "interval" else "2024-05-01 or 2024-05-01T09:30:00"
            raise ConfigError(f"{name} is a {type(value).__name__}, no text", hint=f"write {what}")
        elif value is not None and not value.strip():
            raise ConfigError(f"{name} is empty", hint="leave it out to have it as recorded")
    return Span(**bounds)


def as_data(data: Any) -> dict[str, Path]:
    """Return input files by argument; one path alone is that of ``prices``.

    Raises
    ------
    ConfigError
        They are no mapping, or a path is empty.
    """
    if isinstance(data, (str, PathLike)):
        data = {"prices": data}
    if not isinstance(data, Mapping):
        raise ConfigError(f"data is a {type(data).__name__}", hint='name the files: data={"prices": "prices.csv"}')
    return {name: as_path(path, f"data {name}") for name, path in data.items()}


def as_path(path: str | PathLike[str], name: str) -> Path:
    """Return a path that was said to be one: empty text would be the current folder.

    Raises
    ------
    ConfigError
        It is empty, or no path at all.
    """
    if not isinstance(path, (str, PathLike)):
        raise ConfigError(f"{name} is a {type(path).__name__}, no path")
    if not os.fspath(path):
        raise ConfigError(f"{name} is empty, no path")
    return Path(path)


def as_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters of a listing as `Selection` takes them, without those that are None.

    Raises
    ------
    ConfigError
        One does not exist, or has a wrong type.
    """
    taken: dict[str, Any] = {}
    for name, value in filters.items():
        if name not in FILTERS:
            raise ConfigError(f"there is no filter {name!r}", hint=f"filters are {', '.join(sorted(FILTERS))}")
        if value is not None:
            taken[name] = _as_filter(name, value)
    return taken


def _as_filter(name: str, value: Any) -> Any:
    if name == "periods_per_year":
        return as_number(value, name, 0, above=True)
    if name in SEVERAL:
        return texts(value)
    if name in TEXTS:
        return as_text(value, f"the filter {name!r}")
    try:
        return operator.index(value)
    except TypeError as error:
        raise ConfigError(f"the filter {name!r} is {value!r}, not an integer") from error
