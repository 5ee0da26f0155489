"""Descriptions of labels on their way to and from a manifest: short arrays as lists, long ones in ``labels.parquet``.

That table is long rather than wide, because the arrays differ in length: ``array`` is the path of the array in the
manifest, and the value is in ``int``, ``float`` or ``text``; the other two are 0 and None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from runvault.engines.vectorbt.labels import Spec
from runvault.errors import FormatError
from runvault.model.table import Array, Table

INLINE = 100
DEPTH = 4  # intervals of times as categories of a level: no deeper description is ever written
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
Pooled: TypeAlias = dict[str, dict[str, Array]]


class Pool:
    """The arrays of one portfolio that are too long for its manifest."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, Array]] = []

    def store(self, spec: Spec, path: str) -> Spec:
        """Return a description as JSON; its arrays are lists where all are short, else references to this pool."""
        if all(len(array) <= INLINE for array in _arrays(spec)):
            return _map_arrays(spec, lambda array, _kind, _path: to_json(array), path)
        return _map_arrays(spec, self._put, path)

    def store_array(self, array: Array, path: str) -> Any:
        """Return an array of numbers as JSON: a list where it is short, else a reference to this pool."""
        return to_json(array) if len(array) <= INLINE else self._put(array, array.dtype.name, path)

    def table(self) -> Table | None:
        """Return ``labels.parquet``, None where every array was short."""
        if not self._parts:
            return None
        parts = [_pooled(path, array) for path, array in self._parts]
        return Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _put(self, array: Array, kind: str, path: str) -> dict[str, str]:
        self._parts.append((path, to_column(array, kind)))
        return {"table": path}


def read_pool(table: Table | None) -> Pooled:
    """Return the arrays of ``labels.parquet`` by path."""
    if table is None:
        return {}
    try:
        paths = table.columns["array"]
        values = {name: table.columns[name] for name in ("int", "float", "text")}
    except KeyError as error:
        raise FormatError(f"labels.parquet has no column {error}") from error
    changes = (np.flatnonzero(paths[1:] != paths[:-1]) + 1).tolist() if len(paths) else []
    bounds = zip([0, *changes], [*changes, len(paths)], strict=True) if len(paths) else ()
    return {str(paths[start]): {name: array[start:end] for name, array in values.items()} for start, end in bounds}


def load(spec: Any, pooled: Pooled, depth: int = 0) -> Spec:
    """Return a description from a manifest with its arrays as arrays, whether they were lists or pooled."""
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str) or depth > DEPTH:
        raise FormatError("labels are not described by an object with a kind")
    loaded = dict(spec)
    if "levels" in spec:
        loaded["levels"] = [load(level, pooled, depth + 1) for level in _list(spec["levels"])]
    for key in ("categories", "left", "right"):
        if key in spec:
            loaded[key] = load(spec[key], pooled, depth + 1)
    loaded["values"] = [load_array(array, spec["kind"], pooled) for array in _list(spec.get("values", []))]
    return loaded


def load_array(stored: Any, kind: str, pooled: Pooled) -> Array:
    """Return one array from a manifest, whether it was a list or pooled."""
    form = _form(kind)
    if not isinstance(stored, dict):
        return _from_list(_list(stored), kind)
    columns = pooled.get(str(stored.get("table")))
    if columns is None:
        raise FormatError(f"labels.parquet lacks {str(stored.get('table'))[:80]!r}")
    return from_column(columns["text" if form == "mixed" else form], kind)


def to_json(array: Array) -> list[Any]:
    """Return an array's values as JSON; floats that JSON lacks become ``{"float": "nan"}``."""
    return [_plain(value) for value in array.tolist()]


def to_column(array: Array, kind: str) -> Array:
    """Return an array as a table holds it: mixed objects as JSON text, unsigned integers by their bits."""
    if kind == "mixed":
        return object_array([json.dumps(_plain(value)) for value in array])
    return array.astype(np.uint64).view(np.int64) if array.dtype.kind == "u" else array


def from_column(column: Array, kind: str) -> Array:
    """Return an array of labels from the column that `to_column` made."""
    if kind == "mixed":
        return object_array([_parsed(value) for value in column])
    if kind.startswith("uint"):
        return column.astype(np.int64).view(np.uint64)
    return column


def object_array(values: list[Any]) -> Array:
    """Return a one-dimensional array of just these objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _arrays(spec: Spec) -> Iterator[Array]:
    yield from spec["values"]
    children = [*spec.get("levels", []), *(spec[key] for key in ("categories", "left", "right") if key in spec)]
    for child in children:
        yield from _arrays(child)


def _map_arrays(spec: Spec, change: Callable[[Array, str, str], Any], path: str) -> Spec:
    changed = dict(spec)
    if "levels" in spec:
        levels = enumerate(spec["levels"])
        changed["levels"] = [_map_arrays(level, change, f"{path}.levels.{i}") for i, level in levels]
    for key in ("categories", "left", "right"):
        if key in spec:
            changed[key] = _map_arrays(spec[key], change, f"{path}.{key}")
    changed["values"] = [change(array, spec["kind"], f"{path}.{i}") for i, array in enumerate(spec["values"])]
    return changed if changed["values"] else {key: value for key, value in changed.items() if key != "values"}


def _pooled(path: str, array: Array) -> dict[str, Array]:
    n = len(array)
    form = array.dtype.kind
    return {
        "array": np.full(n, path, dtype=object),
        "int": array.astype(np.int64) if form in "ib" else np.zeros(n, dtype=np.int64),
        "float": array.astype(np.float64) if form == "f" else np.zeros(n),
        "text": array if form == "O" else np.full(n, None, dtype=object),
    }


def _form(kind: str) -> str:
    """Return which items hold values of a kind."""
    if kind in ("str", "string", "object"):
        return "text"
    if kind == "mixed":
        return "mixed"
    return "float" if kind.startswith("float") else "int"


def _from_list(values: list[Any], kind: str) -> Array:
    plain = [_unplain(value) for value in values]
    form = _form(kind)
    allowed: dict[str, tuple[type, ...]] = {
        "text": (str, type(None)),
        "mixed": (str, int, float, bool, type(None)),
        "float": (float, int),
        "int": (int, bool),
    }
    if not all(type(value) in allowed[form] for value in plain):
        raise FormatError(f"labels of kind {kind[:40]!r} hold values of another type")
    try:
        if form in ("text", "mixed"):
            return object_array(plain)
        dtype = np.float64 if form == "float" else np.uint64 if kind == "uint64" else np.int64
        return np.array(plain, dtype=dtype)
    except OverflowError as error:
        raise FormatError(f"labels of kind {kind[:40]!r} are out of range") from error


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError("the values of labels are not a list")
    return value


def _plain(value: Any) -> Any:
    return {"float": str(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _unplain(value: Any) -> Any:
    return _NON_FINITE.get(str(value.get("float")), value) if isinstance(value, dict) else value


def _parsed(text: Any) -> Any:
    try:
        value = _unplain(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError("a label is no JSON value") from error
    if type(value) not in (str, int, float, bool, type(None)):
        raise FormatError("a label is an arbitrary object")
    return value
