"""JSON records of the archive: written in one form, read with caps before anything is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from typing import Any, NoReturn, TypeAlias

import orjson

from runvault.errors import FormatError

Json: TypeAlias = Any

# What a run's folder holds beside pointers
MANIFEST, ANNOTATIONS, STATS = "manifest.json", "annotations.json", "stats.parquet"

MAX_RECORD_BYTES = 1024 * 1024
MAX_FILE_BYTES = 4 << 20  # of whatever an archive holds in Git: its statistics are the largest
MAX_TEXT_BYTES = 4096
MAX_NOTE_BYTES = 64 * 1024
MAX_DEPTH = 64

_FORM = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
_TOO_DEEP = b"\n" + b"  " * MAX_DEPTH


def dump_json(obj: Json) -> bytes:
    r"""Return a record in its one form: UTF-8, keys sorted, two-space indent, one line feed at the end.

    A float that is not finite is written as null: `dump_checked` is for where one could be.

    Examples
    --------
    >>> dump_json({"b": 1, "a": "é"}).decode()
    '{\n  "a": "é",\n  "b": 1\n}\n'
    """
    return orjson.dumps(obj, option=_FORM)


def dump_checked(obj: Mapping[str, Json], path: str) -> bytes:
    """Return what `dump_json` returns, or raise FormatError where `parse_json` would refuse it.

    What is read back as it was has nothing in it that a record may not hold, and no walk is needed to see it.

    Examples
    --------
    >>> dump_checked({"fast": 10}, "manifest.json") == dump_json({"fast": 10})
    True
    >>> dump_checked({"fast": float("nan")}, "manifest.json")
    Traceback (most recent call last):
    runvault.errors.FormatError: manifest.json holds the number nan
    """
    with suppress(orjson.JSONEncodeError):
        data = dump_json(obj)
        if parse_own_form(data) == obj:
            return data
    check_json(obj, path)
    return dump_json(obj)


def parse_json(data: bytes, path: str, *, max_text_bytes: int = MAX_TEXT_BYTES) -> dict[str, Json]:
    """Read a record that anybody may have written.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : str
        The file's name, for messages.
    max_text_bytes : int
        The longest text, in UTF-8.

    Raises
    ------
    FormatError
        More than 1 MB, no JSON object, not UTF-8, nested more than 64 levels, a duplicate key, a number that is not
        finite or an integer beyond 64 bits, a lone surrogate, text over the limit.
    """
    plain = parse_own_form(data, max_text_bytes=max_text_bytes)
    if plain is not None:
        return plain
    if len(data) > MAX_RECORD_BYTES:
        raise FormatError(f"{path} has {len(data):,} bytes, more than {MAX_RECORD_BYTES:,}")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"{path} is no JSON: {_one_line(error)}") from error
    check_json(document, path, max_text_bytes=max_text_bytes)
    if not isinstance(document, dict):
        raise FormatError(f"{path} holds no JSON object")
    return document if dump_json(document) == data else _parse_strictly(data, path)


def parse_own_form(data: bytes, *, max_text_bytes: int = MAX_TEXT_BYTES) -> dict[str, Json] | None:
    """Return the record in `data` if it is in our form and plainly within all limits, None for any other.

    In that form (keys sorted, one value a line, indented by its depth) equal keys, deep nesting, numbers that JSON
    cannot hold and long texts show in the bytes; walking through the values takes ten times as long. Integers beyond
    2^53 are left to that walk, for not all of them fit into 64 bits.

    Examples
    --------
    >>> parse_own_form(dump_json({"fast": 10}))
    {'fast': 10}
    >>> parse_own_form(b'{"fast":10}') is None
    True
    """
    if len(data) > MAX_RECORD_BYTES:
        return None
    try:
        document = orjson.loads(data)
        if type(document) is not dict or orjson.dumps(document, option=_FORM | orjson.OPT_STRICT_INTEGER) != data:
            return None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return None if _TOO_DEEP in data or _has_long_line(data, max_text_bytes) else document


def _has_long_line(data: bytes, limit: int) -> bool:
    """Return whether there are more than `limit` bytes without a line feed, in steps of so many."""
    start = 0
    while len(data) - start > limit:
        start = data.rfind(b"\n", start, start + limit + 1) + 1
        if not start:
            return True
    return False


def _parse_strictly(data: bytes, path: str) -> dict[str, Json]:
    """Read what is not in our own form: orjson keeps the last of two equal keys and rounds long integers."""

    def refuse_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise FormatError(f"{path} has the same key twice in one object")
        return members

    try:
        document: dict[str, Json] = json.loads(data, object_pairs_hook=refuse_duplicates)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} is no JSON: {_one_line(error)}") from error
    _Check(path, MAX_NOTE_BYTES).walk(document)
    return document


def check_json(obj: Json, path: str, *, max_text_bytes: int = MAX_TEXT_BYTES) -> None:
    """Raise FormatError where `obj` holds what a record may not: see `parse_json`."""
    _Check(path, max_text_bytes).walk(obj)


class _Check:
    """The limits on a document, checked without recursion: a hostile one may be nested deeply."""

    def __init__(self, path: str, max_text_bytes: int) -> None:
        self.path = path
        self.max_text_bytes = max_text_bytes

    def walk(self, root: Json) -> None:
        level: list[Json] = [root]
        for _ in range(MAX_DEPTH):
            level = [item for value in level for item in self._inside(value)]
            if not level:
                return
        self._refuse(f"is nested more than {MAX_DEPTH} levels deep")

    def _inside(self, value: Json) -> list[Json]:
        """Check one value and return what it holds."""
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, dict):
            return [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            return list(value)
        elif isinstance(value, float) and not isfinite(value):
            self._refuse(f"holds the number {value}")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            self._refuse("holds an integer beyond 64 bits")
        return []

    def _text(self, value: str) -> None:
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError:
            self._refuse("holds a lone surrogate, which is no text")
        if size > self.max_text_bytes:
            self._refuse(f"holds text of {size:,} bytes, more than {self.max_text_bytes:,}")

    def _refuse(self, problem: str) -> NoReturn:
        raise FormatError(f"{self.path} {problem}")


def _one_line(error: Exception) -> str:
    return " ".join(ascii(str(error))[1:-1].split())[:200]
