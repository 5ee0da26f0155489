"""Grids: the values of some parameters, and their combinations."""

from __future__ import annotations

import random as randomness
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any, TypeAlias, overload

from runvault.errors import ConfigError
from runvault.model.canonical import config_hash, normalise

Combination: TypeAlias = Mapping[str, Any]

MOST_VALUES = 1_000_000  # of one parameter: more is a slip of the pen in a step


class Combinations(Sequence[Combination]):
    """All combinations of a grid, or some drawn from them; each is made when it is asked for.

    Parameters
    ----------
    grid : mapping of str to sequence
        The values of each parameter; the last one varies fastest.
    draw : int, optional
        How many distinct combinations to draw; all where there are no more.
    seed : int
        What the draw depends on, and nothing else.

    Examples
    --------
    >>> list(Combinations({"fast": [5, 10], "slow": [20, 30]}))[1]
    {'fast': 5, 'slow': 30}
    """

    def __init__(self, grid: Mapping[str, Sequence[Any]], draw: int | None = None, seed: int = 0) -> None:
        self._grid = dict(grid)
        count = prod(len(values) for values in self._grid.values())
        self._places: Sequence[int] = range(count)
        if draw is not None and draw < count:
            self._places = sorted(randomness.Random(seed).sample(range(count), draw))  # noqa: S311 - no secret

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Combination: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Combination]: ...
    def __getitem__(self, index: int | slice) -> Combination | Sequence[Combination]:
        if isinstance(index, slice):
            return [self._at(place) for place in self._places[index]]
        return self._at(self._places[index])

    def _at(self, place: int) -> Combination:
        chosen = {}
        for name, values in reversed(self._grid.items()):
            place, at = divmod(place, len(values))
            chosen[name] = values[at]
        return {name: chosen[name] for name in self._grid}


def check_grid(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return a grid with its values as lists of Python's own.

    Raises
    ------
    ConfigError
        It is empty, a parameter has no values or the same one twice, or a value has no canonical form.
    """
    if not grid:
        raise ConfigError("a sweep needs a grid", hint="name the values of a parameter: --grid fast=5,10,20")
    return {name: _values(name, values) for name, values in grid.items()}


def _values(name: str, given: Any) -> list[Any]:
    if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise ConfigError(f"grid.{name} is no list of values: {given!r}")
    values = [_plain(value) for value in islice(given, MOST_VALUES + 1)]
    if not values or len(values) > MOST_VALUES:
        raise ConfigError(f"grid.{name} has {'no' if not values else f'more than {MOST_VALUES:,}'} values")
    seen = set()
    for value in values:
        key = config_hash({"value": normalise(value, f"grid.{name}")})
        if key in seen:
            raise ConfigError(f"grid.{name} has the value {value!r} twice")
        seen.add(key)
    return values


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's: what is archived is called with these when it is replayed."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "shape", None) == () else value


def in_batches(combinations: Sequence[Combination], size: int) -> Iterator[Sequence[Combination]]:
    """Yield the combinations in order, `size` at a time."""
    for start in range(0, len(combinations), size):
        yield combinations[start : start + size]
