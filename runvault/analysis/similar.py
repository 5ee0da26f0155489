"""Runs whose parameters lie near those of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.errors import ConfigError
from runvault.model.query import Selection

if TYPE_CHECKING:
    from runvault.archive.stores import Stores

Json: TypeAlias = Any


def similar_members(stores: Stores, run: Mapping[str, Json], tolerance: float) -> list[dict[str, Json]]:
    """Return the other runs of the same strategy and engine whose parameters are near those of `run`, newest first.

    Raises
    ------
    ConfigError
        `tolerance` is negative or not a number.
    """
    if not tolerance >= 0:
        raise ConfigError(f"tolerance is {tolerance}, not a number of 0 or more")
    selection = Selection(strategy=run["strategy"], engine=run["engine"])
    rows = stores.catalog().select(stores.repository.ref, selection)
    return [row for row in rows if row["id"] != run["id"] and near(run["params"], row["params"], tolerance)]


def near(a: Json, b: Json, tolerance: float) -> bool:
    """Return whether two parameter values are near: numbers within `tolerance` of the larger, all else equal.

    Examples
    --------
    >>> near({"fast": 10}, {"fast": 11}, 0.1), near({"fast": 10}, {"fast": 12}, 0.1), near("sma", "ema", 1)
    (True, False, False)
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(near(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(near(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if _is_number(a) and _is_number(b):
        return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))
    return type(a) is type(b) and bool(a == b)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
