"""Columns of a sweep as parameters and symbols: names and values of the levels of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from runvault.engines.result import Json
from runvault.engines.vectorbt.window import asset_level
from runvault.errors import ConfigError


@dataclass(frozen=True)
class Parameters:
    """For each column its parameters, and its symbol where a level names one."""

    params: list[dict[str, Json]]
    symbols: list[str | None]


def parameters_of(columns: pd.Index) -> Parameters:
    """Return what sets the columns of a sweep apart.

    Each level of the labels is a parameter under its own name, as vectorbt gives it (``fast_window``), but for the
    level that holds assets, which is data.

    Raises
    ------
    ConfigError
        A level of parameters has no name, two have the same, or two columns are the same in all levels.

    Examples
    --------
    >>> labels = [(5, "AAPL"), (10, "AAPL")]
    >>> parameters_of(pd.MultiIndex.from_tuples(labels, names=["ma_window", "symbol"])).params
    [{'ma_window': 5}, {'ma_window': 10}]
    """
    assets = asset_level(columns)
    levels = [level for level in range(columns.nlevels) if level != assets]
    names = _names(columns, levels)
    values = [_values(columns, level) for level in levels]
    rows = zip(*values, strict=True) if values else ((),) * len(columns)
    params = [dict(zip(names, row, strict=True)) for row in rows]
    symbols = _symbols(columns, assets)
    _refuse_twins(columns, params, symbols)
    return Parameters(params, symbols)


def _names(columns: pd.Index, levels: Sequence[int]) -> list[str]:
    names = [columns.names[level] for level in levels]
    for level, name in zip(levels, names, strict=True):
        if name is None:
            raise ConfigError(
                f"level {level} of the sweep's columns has no name, so its values have no parameter",
                hint="name it in the DataFrame that was backtested, as in close.columns.name = 'window'",
            )
        if names.count(name) > 1:
            raise ConfigError(
                f"two levels of the sweep's columns are named {name!r}",
                hint="give the indicators short_names, as in vbt.MA.run_combs(..., short_names=['fast', 'slow'])",
            )
    return [str(name) for name in names]


def _values(columns: pd.Index, level: int) -> list[Json]:
    """Return a level's value of each column as Python's own, computed once for each distinct value."""
    if isinstance(columns, pd.MultiIndex):
        distinct = [_plain(value) for value in columns.levels[level]]
        missing = float("nan")  # what pandas keeps as code -1; refused with its path when the address is made
        return [distinct[code] if code >= 0 else missing for code in columns.codes[level].tolist()]
    return [_plain(value) for value in columns]


def _symbols(columns: pd.Index, level: int | None) -> list[str | None]:
    if level is None:
        return [None] * len(columns)
    return [value if isinstance(value, str) else str(value) for value in _values(columns, level)]


def _plain(value: Any) -> Json:
    return value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value


def _refuse_twins(columns: pd.Index, params: list[dict[str, Json]], symbols: list[str | None]) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    for column, (own, symbol) in enumerate(zip(params, symbols, strict=True)):
        key = (symbol, *((type(value), str(value)) for value in own.values()))
        other = seen.setdefault(key, column)
        if other != column:
            label = ", ".join([*(f"{name}={value}" for name, value in own.items()), *([symbol] if symbol else [])])
            raise ConfigError(
                f"columns {other} and {column} of the sweep are the same: {label or columns[column]}",
                hint="drop one of them, as in pf[pf.wrapper.columns.unique()]",
            )
