"""What values each kind of table may hold: checked whoever wrote it, before compiled code sees them.

An order whose bar or column is out of range is a segmentation fault in vectorbt's compiled code, a negative column a
silently wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from runvault.errors import FormatError
from runvault.model.table import Array, Table


def check_values(kind: str, table: Table) -> None:
    """Refuse values that no engine writes; tables of an unknown `kind` may hold anything."""
    check = CHECKS.get(kind)
    if check is not None:
        check(table)


def _check_orders(table: Table) -> None:
    columns = table.columns
    _expect(columns, {"id": "i", "column": "i", "bar": "i", "size": "f", "price": "f", "fees": "f", "side": "iu"})
    for name in ("id", "column", "bar"):
        _refuse(columns[name] < 0, f"{name} is negative")
    _refuse(~(np.isfinite(columns["size"]) & (columns["size"] > 0)), "size is not positive and finite")
    _refuse(~(np.isfinite(columns["price"]) & (columns["price"] > 0)), "price is not positive and finite")
    _refuse(~np.isfinite(columns["fees"]), "fees are not finite")
    _refuse((columns["side"] != 0) & (columns["side"] != 1), "side is neither 0 nor 1")


def _check_prices(table: Table) -> None:
    for name, values in table.columns.items():
        if values.dtype.kind == "f":
            _refuse(np.isinf(values), f"{name!r} is infinite")


CHECKS: dict[str, Callable[[Table], None]] = {"orders": _check_orders, "prices": _check_prices}


def _expect(columns: Mapping[str, Array], kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if name not in columns:
            raise FormatError(f"column {name!r} is missing")
        if columns[name].dtype.kind not in kind:
            raise FormatError(f"column {name!r} has type {columns[name].dtype}")


def _refuse(wrong: Array, reason: str) -> None:
    if wrong.any():
        raise FormatError(f"{reason} in row {int(np.argmax(wrong))}")
