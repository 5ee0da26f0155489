"""From a config to its address: the only place that decides what a run's hash is made of.

``config_hash = SHA-256(JCS(config))`` with the JSON Canonicalization Scheme (RFC 8785). Values that people pass from
Python (NumPy scalars, timestamps, enumerations, paths) are first brought to the one JSON form that each has; what has
none is refused, and the refusal names the path of the value.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any, TypeAlias

import orjson

from runvault.errors import ConfigError
from runvault.model.credentials import find_credentials, refuse_credentials
from runvault.model.ids import ConfigHash
from runvault.model.paths import join

__all__ = [
    "Json",
    "canonical_bytes",
    "check_name",
    "check_text",
    "config_hash",
    "find_credentials",
    "hash_of_parsed",
    "make_config",
    "normalise",
    "plain_bytes",
    "refuse_credentials",
]

Json: TypeAlias = Any

MAX_TEXT_BYTES = 4096
MAX_ARRAY_BYTES = 4096
MAX_CONFIG_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly; RFC 8785 refuses 2^53 itself

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# A number that is long, has an exponent, is whole and yet a float, or below what is written without exponent; an escape
_NOT_PLAIN = re.compile(rb"[:,\[]-?(?:[0-9]{16}|[0-9]+\.?[0-9]*e|[0-9]+\.0[,}\]]|0\.000000)|[\\\x7f]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS = {
    "W": 604_800 * 10**9,
    "D": 86_400 * 10**9,
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 1000,
    "ns": 1,
}


def normalise(value: object, path: str = "") -> Json:
    """Return the one JSON form of `value`.

    Parameters
    ----------
    value : object
        What a caller gave: JSON values, NumPy scalars and small arrays, times, enumerations, paths, mappings.
    path : str
        Where the value stands in the config, for messages.

    Raises
    ------
    ConfigError
        The value has no canonical form; the message names its path.

    Notes
    -----
    Floats stay floats: RFC 8785 writes 10.0 and 10 alike, so the spelling does not reach the address. Negative zero
    becomes zero. Naive times are read as UTC. Text is taken as it is, without Unicode normalisation.

    Examples
    --------
    >>> normalise({"window": (10, 20), "start": date(2004, 8, 19), "hold": timedelta(hours=1)})
    {'window': [10, 20], 'start': '2004-08-19', 'hold': 'PT3600S'}
    """
    return _normalise(value, path, 0)


def _normalise(value: object, path: str, depth: int) -> Json:
    if value is None or value is True or value is False:
        return value
    if depth > MAX_DEPTH:
        raise _refusal(path, f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return _mapping(value, path, depth)
    if isinstance(value, (list, tuple)):
        return [_normalise(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if type(value).__module__ == "numpy":
        return _numpy(value, path, depth)
    return _scalar(value, path)


def _scalar(value: object, path: str) -> Json:
    for kinds, convert in _SCALARS:
        if isinstance(value, kinds):
            return convert(value, path)
    raise _refusal(path, f"has no JSON form: {_type_name(value)}", "pass numbers, text, times, lists or mappings")


def _mapping(value: Mapping[object, object], path: str, depth: int) -> dict[str, Json]:
    result: dict[str, Json] = {}
    for key, item in value.items():
        name = _key(key, path)
        if name in result:
            raise _refusal(join(path, name), "stands twice: two keys become the same text")
        result[name] = _normalise(item, join(path, name), depth + 1)
    return result


def _key(key: Any, path: str) -> str:
    if _is_numpy_scalar(key):
        key = key.item()
    if isinstance(key, Enum):
        return _enum(key, path)
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int):
        return str(_integer(key, path))
    if isinstance(key, str):
        return check_text(str(key), f"a key of {path or 'the config'}")
    raise _refusal(path, f"has a key that is neither text nor an integer: {_type_name(key)}")


def _is_numpy_scalar(value: object) -> bool:
    numpy = sys.modules.get("numpy")  # a NumPy value exists only where NumPy was imported
    return numpy is not None and isinstance(value, numpy.generic)


def _numpy(value: Any, path: str, depth: int) -> Json:
    numpy: Any = sys.modules["numpy"]
    if isinstance(value, numpy.ndarray):
        return _array(value, path, depth)
    if isinstance(value, (numpy.datetime64, numpy.timedelta64)):
        return _numpy_time(value, path)
    if isinstance(value, numpy.floating) and (plain := float(value)) == value:
        return _float(plain, path)
    if isinstance(value, (numpy.bool_, numpy.integer, numpy.str_)):
        return _scalar_or_bool(value.item(), path)
    if isinstance(value, numpy.floating) and value != value:
        return _float(float("nan"), path)
    raise _refusal(path, f"has no JSON form: {_type_name(value)}")


def _scalar_or_bool(value: object, path: str) -> Json:
    return value if isinstance(value, bool) else _scalar(value, path)


def _array(value: Any, path: str, depth: int) -> Json:
    if value.nbytes > MAX_ARRAY_BYTES:
        raise _refusal(path, f"is an array of {value.nbytes:,} bytes, more than {MAX_ARRAY_BYTES:,}", _ARRAY_HINT)
    if value.ndim == 0:
        return _normalise(value[()], path, depth + 1)
    return [_normalise(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]


def _numpy_time(value: Any, path: str) -> str:
    numpy: Any = sys.modules["numpy"]
    if numpy.isnat(value):
        raise _refusal(path, "is NaT")
    is_time = isinstance(value, numpy.datetime64)
    unit, count = numpy.datetime_data(value.dtype)
    if is_time and unit in ("Y", "M", "W", "D"):
        return _numpy_date(value, path)
    if unit not in _NS:
        raise _refusal(path, f"has a time unit that is not of fixed length down to nanoseconds: {_type_name(value)}")
    nanoseconds = int(value.astype("int64")) * count * _NS[unit]
    return _time_text(nanoseconds, path) if is_time else _duration_text(nanoseconds)


def _numpy_date(value: Any, path: str) -> str:
    return _time_text(int(value.astype("datetime64[D]").astype("int64")) * _NS["D"], path)[:10]


def _time_text(nanoseconds: int, path: str) -> str:
    seconds, fraction = divmod(nanoseconds, 10**9)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise _refusal(path, "is a time outside the years 1 to 9999") from error
    return moment.replace(tzinfo=None).isoformat() + _fraction(fraction) + "Z"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def _duration_text(nanoseconds: int) -> str:
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    return f"{'-' if nanoseconds < 0 else ''}PT{seconds}{_fraction(fraction)}S"


def _text(value: Any, path: str) -> str:
    return check_text(str(value), path)


def _integer(value: Any, path: str) -> int:
    number = int(value)
    if abs(number) > MAX_INTEGER:
        raise _refusal(path, "is an integer beyond 2^53", "pass it as text")
    return number


def _float(value: Any, path: str) -> float:
    number = float(value)
    if not isfinite(number):
        raise _refusal(path, f"is {number}", "leave it out, or pass null or text")
    return number + 0.0  # -0.0 becomes 0.0


def _datetime(value: Any, path: str) -> str:
    if value != value:  # pandas' NaT is an instance of datetime
        raise _refusal(path, "is NaT")
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise _refusal(path, "is a time outside the years 1 to 9999 in UTC") from error
    # pandas' Timestamp has nanoseconds beside the microseconds, and years that datetime does not know
    if not 1 <= moment.year <= 9999:
        raise _refusal(path, "is a time outside the years 1 to 9999")
    clock = f"T{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"
    fraction = moment.microsecond * 1000 + getattr(moment, "nanosecond", 0)
    return f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}{clock}{_fraction(fraction)}Z"


def _date(value: Any, _path: str) -> str:
    return str(value.isoformat())


def _timedelta(value: Any, path: str) -> str:
    if value != value:
        raise _refusal(path, "is NaT")
    seconds = value.days * 86_400 + value.seconds
    return _duration_text(seconds * 10**9 + value.microseconds * 1000 + getattr(value, "nanoseconds", 0))


def _enum(value: Any, path: str) -> str:
    if value.name is None:  # a combination of flags that nobody named
        raise _refusal(path, f"has no name: {_type_name(value)}")
    return check_text(value.name, path)


def _path(value: Any, path: str) -> str:
    return check_text(value.as_posix(), path)


def _decimal(_value: Any, path: str) -> str:
    raise _refusal(path, "is a Decimal, which JSON cannot hold exactly", "pass a float or text")


# The order matters: an Enum may be an int or text as well, a datetime is a date.
_SCALARS: tuple[tuple[type | tuple[type, ...], Callable[[Any, str], Json]], ...] = (
    (Enum, _enum),
    (str, _text),
    (int, _integer),
    (float, _float),
    (datetime, _datetime),
    (date, _date),
    (timedelta, _timedelta),
    (PurePath, _path),
    (Decimal, _decimal),
)
_ARRAY_HINT = "declare it as data, or pass what it is made from"


def check_text(value: str, path: str, limit: int = MAX_TEXT_BYTES, *, lines: bool = False) -> str:
    """Return `value` if it may stand in a record.

    Parameters
    ----------
    value : str
        Any Unicode text.
    path : str
        What it is, for messages.
    limit : int
        The most bytes it may have in UTF-8.
    lines : bool
        Whether line feeds and tabs are allowed, as in notes.

    Raises
    ------
    ConfigError
        It is longer, or holds control characters or lone surrogates.
    """
    if len(value) > limit:
        raise _refusal(path, f"is text of more than {limit:,} bytes")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise _refusal(path, "holds a lone surrogate, which is no text") from error
    if size > limit:
        raise _refusal(path, f"is text of more than {limit:,} bytes")
    if (_CONTROL_BUT_LINES if lines else _CONTROL).search(value):
        raise _refusal(path, "holds control characters")
    return value


def check_name(value: object, path: str) -> str:
    """Return `value` if it is text that may name something (a strategy, a tag): not blank, else as `check_text`."""
    if not isinstance(value, str):
        raise _refusal(path, f"must be text, not {_type_name(value)}")
    if not value.strip():
        raise _refusal(path, "is blank" if value else "is empty")
    return check_text(value, path)


def make_config(
    strategy: str,
    engine: str,
    params: Mapping[str, object],
    settings: Mapping[str, object],
    data: Mapping[str, object],
) -> dict[str, Json]:
    """Return the config of a run, normalised.

    Examples
    --------
    >>> make_config("sma", "vectorbt", {"fast": 10}, {}, {})
    {'strategy': 'sma', 'engine': 'vectorbt', 'params': {'fast': 10}, 'settings': {}, 'data': {}}
    """
    return {
        "strategy": check_name(strategy, "strategy"),
        "engine": check_name(engine, "engine"),
        "params": _section(params, "params"),
        "settings": _section(settings, "settings"),
        "data": _section(data, "data"),
    }


def _section(value: object, name: str) -> dict[str, Json]:
    if not isinstance(value, Mapping):
        raise _refusal(name, f"must be a mapping, not {_type_name(value)}")
    return _mapping(value, name, 0)


def canonical_bytes(config: Mapping[str, object]) -> bytes:
    """Return the canonical JSON (RFC 8785) of a config.

    Examples
    --------
    >>> canonical_bytes({"slow": 30.0, "fast": 10})
    b'{"fast":10,"slow":30}'
    """
    import rfc8785

    data = rfc8785.dumps(_section(config, ""))
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"the config has {len(data):,} bytes, more than {MAX_CONFIG_BYTES:,}", _ARRAY_HINT)
    return data


def config_hash(config: Mapping[str, object]) -> ConfigHash:
    """Return the address of a config: the SHA-256 of its canonical bytes.

    Examples
    --------
    >>> config_hash({"slow": 30, "fast": 10})
    '42ac6b203a9c26a4edda4ab6b58eba5b21f7407fecd1490321b22304755d36dd'
    """
    return ConfigHash(hashlib.sha256(canonical_bytes(config)).hexdigest())


def hash_of_parsed(config: Mapping[str, Json]) -> ConfigHash:
    """Return the `config_hash` of a config that was read from JSON, at a tenth of the cost in nearly every case.

    Examples
    --------
    >>> hash_of_parsed({"slow": 30, "fast": 10}) == config_hash({"slow": 30, "fast": 10})
    True
    """
    plain = plain_bytes(config)
    return config_hash(config) if plain is None else ConfigHash(hashlib.sha256(plain).hexdigest())


def plain_bytes(config: Mapping[str, Json]) -> bytes | None:
    """Return the canonical JSON of a config read from JSON if sorted compact JSON is that, None where it may not be.

    What RFC 8785 writes in another way (whole, large and tiny floats, what is not ASCII) and what `normalise` changes
    or refuses shows in the bytes. Values of Python may not come here: a NaN would become null.

    Examples
    --------
    >>> plain_bytes({"slow": 30, "fast": 10}), plain_bytes({"slow": 30.0})
    (b'{"fast":10,"slow":30}', None)
    """
    data = orjson.dumps(config, option=orjson.OPT_SORT_KEYS)
    short = len(data) <= MAX_TEXT_BYTES and data.count(b"{") + data.count(b"[") <= MAX_DEPTH
    return data if short and data.isascii() and not _NOT_PLAIN.search(data) else None


def _refusal(path: str, problem: str, hint: str | None = None) -> ConfigError:
    return ConfigError(f"{path or 'the config'} {problem}", hint)


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
