"""Portfolios through their tables and back, and compared to the last bit."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd

from runvault.engines.result import PortfolioTables
from runvault.model.table import Table
from runvault.stores.tables import read_table, write_table


def through_files(portfolio: Any, tables: Any, column: int | None = None) -> PortfolioTables:
    """Take a manifest's member through JSON and tables through checked Parquet, reading one column's orders alone."""
    alone = None if "group_by" in portfolio else column  # the orders of a group are of several columns
    read = {name: _through_parquet(name, table, alone) for name, table in tables.items()}
    return PortfolioTables(json.loads(json.dumps(portfolio, allow_nan=False)), read, column)


def _through_parquet(name: str, table: Table, column: int | None) -> Table:
    kind = name.removesuffix(".parquet")
    return read_table(write_table(table), kind, column=column if kind in ("orders", "logs", "calls") else None)


def stats_of(pf: Any, **options: Any) -> Any:
    """Return ``stats()``, or what it raised as text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pf.stats(**options)
        except ValueError as error:
            return str(error)


def assert_same_stats(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, str):
        assert a == b
        return
    pd.testing.assert_index_equal(a.index, b.index, exact=True)
    assert a.name == b.name
    for label, x, y in zip(a.index, a, b, strict=True):
        assert type(x) is type(y), label
        assert x == y or (pd.isna(x) and pd.isna(y)), (label, x, y)


def assert_same_records(a: Any, b: Any) -> None:
    """Compare field by field: records have padding bytes."""
    assert a.dtype == b.dtype
    assert len(a) == len(b)
    for field in a.dtype.names:
        np.testing.assert_array_equal(a[field], b[field], err_msg=field)


def assert_same_portfolio(a: Any, b: Any, *, equal: bool = True) -> None:
    """Compare class, constructor inputs, curves, records and statistics of two portfolios."""
    assert type(a) is type(b)
    pd.testing.assert_index_equal(a.wrapper.index, b.wrapper.index, exact=True)
    pd.testing.assert_index_equal(a.wrapper.columns, b.wrapper.columns, exact=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert getattr(a.wrapper.index, "freq", None) == getattr(b.wrapper.index, "freq", None)
        if equal:
            assert a == b
        for curve in ("value", "cash", "returns", "benchmark_value", "assets"):
            x, y = np.asarray(getattr(a, curve)()), np.asarray(getattr(b, curve)())
            assert x.dtype == y.dtype
            assert x.tobytes() == y.tobytes(), curve
        for records in ("orders", "trades", "logs", "drawdowns"):
            assert_same_records(getattr(a, records).values, getattr(b, records).values)
    assert_same_stats(stats_of(a), stats_of(b))
