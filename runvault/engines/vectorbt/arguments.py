"""Initial cash, grouping and wrapper options as JSON of the same types when they come back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from runvault.engines.vectorbt import labels, pool
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.errors import FormatError
from runvault.model.table import Array

_MODES = {0: "auto", 1: "align"}
_WRAPPER_DEFAULTS: dict[str, Any] = {
    "column_only_select": None,
    "group_select": None,
    "grouped_ndim": None,
    "allow_enable": True,
    "allow_disable": True,
    "allow_modify": True,
}


def describe_cash(cash: Any, arrays: pool.Pool) -> Any:
    """Return the initial cash as JSON.

    A number stays one (``{"float64": 100.0}`` where it is NumPy's), an array is ``{"each", "n"}`` or ``{"values"}``,
    vectorbt's modes are ``auto`` and ``align``.

    Examples
    --------
    >>> describe_cash(np.full(6, 100.0), pool.Pool())
    {'each': 100.0, 'n': 6}
    """
    if type(cash) is int:
        if cash not in _MODES:
            raise NotRebuildableError(f"an integer init_cash of {cash}, which vectorbt reads as a mode")
        return _MODES[cash]
    if type(cash) is np.float64:
        return {"float64": _number(float(cash))}
    if type(cash) is float:
        return _number(cash)
    if isinstance(cash, np.ndarray) and cash.ndim == 1 and cash.dtype in (np.dtype("f8"), np.dtype("i8")):
        return _describe_cash_array(cash, arrays)
    raise NotRebuildableError(f"an init_cash of type {type(cash).__name__}")


def read_cash(stored: Any, pooled: pool.Pooled) -> Any:
    """Return the initial cash that `describe_cash` described."""
    if isinstance(stored, str) and stored in _MODES.values():
        return next(mode for mode, name in _MODES.items() if name == stored)
    if type(stored) in (float, int) or (isinstance(stored, dict) and "float" in stored):
        return _float(stored)
    if isinstance(stored, dict) and "float64" in stored:
        return np.float64(_float(stored["float64"]))
    if isinstance(stored, dict):
        dtype = "int64" if stored.get("dtype") == "int64" else "float64"
        if "values" in stored:
            return pool.load_array(stored["values"], dtype, pooled)
        return np.full(_length(stored["n"]), _float(stored["each"]), dtype=dtype)
    raise FormatError("the initial cash is no number")


def cash_length(cash: Any) -> int | None:
    """Return for how many columns or groups cash is given, None where vectorbt finds the amounts."""
    return None if type(cash) is int else np.atleast_1d(cash).shape[0]


def describe_grouping(group_by: Any, arrays: pool.Pool) -> Any:
    """Return ``group_by`` as JSON that keeps container and dtype.

    Examples
    --------
    >>> describe_grouping("ticker", pool.Pool()), describe_grouping([0, 0, 1], pool.Pool())
    ('ticker', [0, 0, 1])
    """
    if type(group_by) in (bool, int, str):
        return group_by
    if type(group_by) in (list, tuple) and all(type(item) in (bool, int, str) for item in group_by):
        return list(group_by) if isinstance(group_by, list) else {"tuple": list(group_by)}
    if isinstance(group_by, np.ndarray) and group_by.ndim == 1:
        spec = arrays.store(labels.describe(pd.Index(group_by)), "group_by")
        return {"array": spec, "dtype": group_by.dtype.str}
    if isinstance(group_by, pd.Index):
        return {"index": arrays.store(labels.describe(group_by), "group_by")}
    raise NotRebuildableError(f"a group_by of type {type(group_by).__name__}")


def read_grouping(stored: Any, pooled: pool.Pooled) -> Any:
    """Return the ``group_by`` that `describe_grouping` described."""
    if not isinstance(stored, dict):
        return stored
    if "tuple" in stored:
        return tuple(stored["tuple"])
    if "index" in stored:
        return labels.restore(pool.load(stored["index"], pooled))
    dtype = np.dtype(str(stored["dtype"]))
    if dtype.kind not in "biufUOMm" or dtype.itemsize > 4 * labels.TEXT_LIMIT:
        raise FormatError(f"{str(dtype)[:40]!r} is no dtype of groups")
    index = labels.restore(pool.load(stored["array"], pooled))
    return index.to_numpy(dtype=object).astype(dtype) if dtype.kind in "UO" else index.to_numpy().astype(dtype)


def describe_wrapper(config: Any) -> dict[str, Any]:
    """Return the wrapper's options that differ from vectorbt's defaults."""
    return {name: config[name] for name, default in _WRAPPER_DEFAULTS.items() if config[name] is not default}


def read_wrapper(stored: Any) -> dict[str, Any]:
    """Return all of a wrapper's options."""
    options = _WRAPPER_DEFAULTS | dict(stored)
    if options.keys() != _WRAPPER_DEFAULTS.keys():
        raise FormatError("unknown options of a wrapper")
    for name, value in options.items():
        if value not in ((None, 1, 2) if name == "grouped_ndim" else (None, True, False)):
            raise FormatError(f"{name} is {str(value)[:40]!r}")
    return options


def _describe_cash_array(cash: Array, arrays: pool.Pool) -> dict[str, Any]:
    dtype = {} if cash.dtype == np.float64 else {"dtype": cash.dtype.name}
    if len(cash) and np.all(cash.view(np.int64) == cash.view(np.int64)[0]):
        return {"each": _number(cash[0].item()), "n": len(cash), **dtype}
    return {"values": arrays.store_array(cash, "init_cash"), **dtype}


def _number(value: Any) -> Any:
    return value if math.isfinite(value) else {"float": str(value)}


def _float(stored: Any) -> Any:
    if isinstance(stored, dict) and stored.get("float") in ("nan", "inf", "-inf"):
        return float(stored["float"])
    if type(stored) not in (float, int):
        raise FormatError("the initial cash is no number")
    return stored


def _length(n: Any) -> int:
    if type(n) is not int or not 0 <= n < 2**24:
        raise FormatError(f"initial cash for {str(n)[:40]} columns")
    return n
