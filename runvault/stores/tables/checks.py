"""What values each kind of table may hold: checked whoever wrote it, before compiled code sees them.

An order whose bar or column is out of range is a segmentation fault in vectorbt's compiled code, a negative column a
silently wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from runvault.errors import FormatError
from runvault.model.table import Array, Table

Columns: TypeAlias = Mapping[str, Array]
Check: TypeAlias = Callable[[str, Columns], None]

MAX_INDEX = 2**31  # bars, columns and ids of vectorbt's records stay far below it
UNITS = {"fraction", "%", "money", "count", "ratio", "timestamp", "duration"}

INTEGER, FLOAT, TEXT = "iu", "f", "O"


def check_values(kind: str, table: Table, *, whole: bool = True, shape: tuple[int, int] | None = None) -> None:
    """Refuse values that no engine writes; tables of an unknown `kind` may hold anything.

    Parameters
    ----------
    kind : str
        ``stats``, ``prices``, ``orders``, ``trades``, ``equity`` or another.
    table : Table
        What was read, or is about to be written.
    whole : bool
        Whether every column that the kind needs must be there.
    shape : (int, int), optional
        Bars and columns of the portfolio; orders and trades must lie inside.

    Raises
    ------
    FormatError
        Names the column, what is wrong with it and the first such row.
    """
    columns = table.columns
    for name, (types, checks) in KINDS.get(kind, {}).items():
        if name in columns:
            _refuse_type(name, columns[name], types)
            for check in checks:
                check(name, columns)
        elif whole:
            raise FormatError(f"column {name!r} is missing")
    if kind == "prices":
        _check_prices(columns)
    if shape is not None:
        _check_shape(columns, *shape)


def _refuse_type(name: str, values: Array, types: str) -> None:
    if values.dtype.kind not in types:
        raise FormatError(f"column {name!r} is of type {values.dtype}")


def _refuse(name: str, wrong: Array, what: str) -> None:
    if wrong.any():
        raise FormatError(f"{name!r} is {what} in row {int(np.argmax(wrong))}")


def _index(name: str, columns: Columns) -> None:
    values = columns[name]
    _refuse(name, (values < 0) | (values >= MAX_INDEX), "out of range")


def _finite(name: str, columns: Columns) -> None:
    _refuse(name, ~np.isfinite(columns[name]), "not finite")


def _not_infinite(name: str, columns: Columns) -> None:
    _refuse(name, np.isinf(columns[name]), "infinite")


def _positive(name: str, columns: Columns) -> None:
    _refuse(name, ~(columns[name] > 0), "not positive")


def _zero_or_one(name: str, columns: Columns) -> None:
    values = columns[name]
    _refuse(name, (values != 0) & (values != 1), "neither 0 nor 1")


def _rising_by_column(name: str, columns: Columns) -> None:
    """Refuse ids that do not rise within a column: vectorbt's record mapping reads beyond its arrays for them."""
    ids = columns[name].astype(np.int64)
    column = columns["column"] if "column" in columns else np.zeros(len(ids), np.int64)
    order = np.argsort(column, kind="stable")
    same = column[order][1:] == column[order][:-1]
    wrong = np.zeros(len(ids), bool)
    wrong[order[1:][same & (np.diff(ids[order]) <= 0)]] = True
    _refuse(name, wrong, "not above the one before it")


def _known_unit(name: str, columns: Columns) -> None:
    units = columns[name].tolist()
    if not UNITS.issuperset(units):
        _refuse(name, np.array([unit not in UNITS for unit in units], bool), "unknown")


def _given(name: str, columns: Columns) -> None:
    texts = columns[name].tolist()
    if None in texts:
        _refuse(name, np.array([text is None for text in texts], bool), "empty")


def _check_prices(columns: Columns) -> None:
    for name, values in columns.items():
        if values.dtype.kind == "f":
            _not_infinite(name, columns)


def _check_shape(columns: Columns, bars: int, width: int) -> None:
    bounds = {"bar": bars, "entry_bar": bars, "exit_bar": bars, "column": width}
    for name, bound in bounds.items():
        if name in columns:
            _refuse(name, columns[name] >= bound, f"not below {bound}")


# What each kind needs: types and checks by column. Prices have a column a series, under names of their own.
KINDS: Mapping[str, Mapping[str, tuple[str, tuple[Check, ...]]]] = {
    "stats": {
        "column": (TEXT, ()),
        "name": (TEXT, (_given,)),
        "label": (TEXT, (_given,)),
        "unit": (TEXT, (_known_unit,)),
        "value": (FLOAT, ()),
        "value_ns": (INTEGER, ()),
        "tz": (TEXT, ()),
    },
    "orders": {
        "column": (INTEGER, (_index,)),
        "id": (INTEGER, (_index, _rising_by_column)),
        "bar": (INTEGER, (_index,)),
        "size": (FLOAT, (_finite, _positive)),
        "price": (FLOAT, (_finite, _positive)),
        "fees": (FLOAT, (_finite,)),
        "side": (INTEGER, (_zero_or_one,)),
    },
    "trades": {
        "column": (INTEGER, (_index,)),
        "id": (INTEGER, (_index,)),
        "entry_bar": (INTEGER, (_index,)),
        "entry_price": (FLOAT, (_finite,)),
        "entry_fees": (FLOAT, (_finite,)),
        "exit_bar": (INTEGER, (_index,)),
        "exit_price": (FLOAT, (_not_infinite,)),  # NaN for a trade still open at a gap
        "exit_fees": (FLOAT, (_finite,)),
        "size": (FLOAT, (_finite, _positive)),
        "pnl": (FLOAT, ()),
        "return": (FLOAT, ()),
        "direction": (INTEGER, (_zero_or_one,)),
        "status": (INTEGER, (_zero_or_one,)),
        "parent_id": (INTEGER, (_index,)),
    },
    "equity": {
        "column": (INTEGER, (_index,)),
        "value": (FLOAT, ()),
        "cash": (FLOAT, ()),
        "benchmark": (FLOAT, ()),
    },
}
