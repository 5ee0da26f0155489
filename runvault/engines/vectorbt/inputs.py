"""A portfolio as what its constructor takes: the manifest's ``portfolio`` member, and tables.

=================  ===========================================================================================
member             what it says; members after `init_cash` are left out where they are vectorbt's defaults
=================  ===========================================================================================
``format``         ``vbt-portfolio/1``
``vectorbt``       the version that made the portfolio
``shape``          bars, or bars and columns
``rebuildable``    false with a ``reason``; then only the members above and ``settings`` follow
``index``          row labels as `labels` describes them; their values lie in ``prices.parquet``
``columns``        column labels, likewise; more than 100 values lie in ``labels.parquet`` (`pool`)
``init_cash``      a number, ``{"float64"}``, ``{"each", "n"}``, ``{"values"}``, ``auto`` or ``align``
``price_of``       ``{"tile": n}``, ``{"repeat": n}`` or ``{"values"}``: which ``price_<n>`` a column is valued at
``price_dtype``    where it is not float64
``cash_sharing``   true
``group_by``       as it was given, with container and dtype
``freq``           as it was given: text, or an object that keeps the type
``wrapper``        options of the ArrayWrapper
``fillna_close``   as given, and so ``trades_type`` and ``engine``
``logs``           true: ``logs.parquet`` has the log records
``call_seq``       dtype and dimensions of the call sequence in ``calls.parquet``
``settings``       the resolved values that moved the statistics
=================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import vectorbt as vbt
from vectorbt.base.array_wrapper import ArrayWrapper
from vectorbt.portfolio.enums import log_dt, order_dt

from runvault.engines.vectorbt import arguments, frequencies, labels, pool, prices, records
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.engines.vectorbt.settings import resolve_settings
from runvault.model.table import Array, Table

FORMAT = "vbt-portfolio/1"
MAX_CELLS = 2**28  # bars times columns of one rebuilt portfolio: 2 GB of prices


@dataclass(frozen=True)
class Inputs:
    """What is stored of a portfolio; `reason` says why it cannot be rebuilt, None where it can."""

    portfolio: Mapping[str, Any]
    tables: Mapping[str, Table]
    reason: str | None = None


def read_inputs(pf: Any) -> Inputs:
    """Return what a portfolio is rebuilt from.

    Whatever has no such form is named in the ``reason`` of the member, with ``rebuildable`` false; the tables that can
    be written are there all the same.
    """
    gathering = _Gathering(pf)
    gathering.gather()
    return gathering.inputs()


def find_unsafe_records(pf: Any) -> str | None:
    """Return why vectorbt's compiled code must not see this portfolio's records or cash, None where it may."""
    n_bars, n_columns = pf.wrapper.shape_2d
    try:
        records.check_records(pf.order_records, order_dt, n_bars, n_columns, "order")
        records.check_records(pf.log_records, log_dt, n_bars, n_columns, "log")
        check_cash(pf)
    except NotRebuildableError as error:
        return str(error)
    return None


def check_cash(pf: Any) -> None:
    """Refuse initial cash that is not given for each column, or each group that shares it."""
    given = arguments.cash_length(pf._init_cash)
    wanted = len(np.unique(pf.wrapper.grouper.get_groups())) if pf.cash_sharing else pf.wrapper.shape_2d[1]
    if given not in (None, wanted):
        raise NotRebuildableError(f"an init_cash for {given} of {wanted} columns or groups")


class _Gathering:
    """One portfolio on its way to a manifest and tables; the first refusal is kept, the rest goes on."""

    def __init__(self, pf: Any) -> None:
        self.pf = pf
        self.config = pf.config
        self.n_bars, self.n_columns = pf.wrapper.shape_2d
        self.arrays = pool.Pool()
        self.member: dict[str, Any] = {}
        self.tables: dict[str, Table] = {}
        self.refusals: list[str] = []
        self.rows: labels.Spec | None = None

    def gather(self) -> None:
        for part in (self._class, self._rows, self._columns, self._cash, self._grouping, self._options):
            self._try(part)
        for table in (self._prices, self._orders, self._logs, self._calls):
            self._try(table)

    def inputs(self) -> Inputs:
        head = {"format": FORMAT, "vectorbt": vbt.__version__, "shape": list(self.pf.wrapper.shape)}
        settings = {"settings": resolve_settings(self.pf)}
        if self.refusals:
            reason = self.refusals[0]
            return Inputs({**head, "rebuildable": False, "reason": reason, **settings}, self.tables, reason)
        table = self.arrays.table()
        tables = self.tables if table is None else self.tables | {"labels.parquet": table}
        return Inputs({**head, "rebuildable": True, **self.member, **settings}, tables)

    def _try(self, part: Callable[[], None]) -> None:
        try:
            part()
        except NotRebuildableError as error:
            self.refusals.append(str(error))

    def _class(self) -> None:
        if type(self.pf) is not vbt.Portfolio:
            raise NotRebuildableError(f"{type(self.pf).__name__} is a subclass of Portfolio")
        if type(self.pf._wrapper) is not ArrayWrapper:
            raise NotRebuildableError("the wrapper is of a subclass of ArrayWrapper")
        for name in ("_metrics", "_subplots"):
            if not _same_settings(getattr(self.pf, name), getattr(vbt.Portfolio, name).reset_dct_):
                raise NotRebuildableError(f"changed {name[1:]}, which are code")
        if not self.n_bars or not self.n_columns:
            raise NotRebuildableError("no bars" if not self.n_bars else "no columns")
        if self.n_bars * self.n_columns > MAX_CELLS:
            raise NotRebuildableError(f"{self.n_bars} bars times {self.n_columns} columns are too many")

    def _rows(self) -> None:
        self.rows = labels.describe(self.pf.wrapper.index)
        if any(values.dtype.kind == "f" and np.isinf(values).any() for values in self.rows["values"]):
            raise NotRebuildableError("row labels that are infinite")
        self.member["index"] = self.arrays.store({**self.rows, "values": []}, "index")

    def _columns(self) -> None:
        self.member["columns"] = self.arrays.store(labels.describe(self.pf.wrapper.columns), "columns")

    def _cash(self) -> None:
        self.member["init_cash"] = arguments.describe_cash(self.pf._init_cash, self.arrays)
        if type(self.pf.cash_sharing) is not bool:
            raise NotRebuildableError("a cash_sharing that is not a bool")
        if self.pf.cash_sharing:
            self.member["cash_sharing"] = True
        check_cash(self.pf)

    def _grouping(self) -> None:
        group_by = self.pf._wrapper.config["group_by"]
        if group_by is None:
            return
        self.member["group_by"] = arguments.describe_grouping(group_by, self.arrays)
        if np.any(np.diff(self._groups()) < 0):
            raise NotRebuildableError("groups that are not sorted")

    def _options(self) -> None:
        freq = frequencies.describe_frequency(self.pf._wrapper.config["freq"])
        wrapper = arguments.describe_wrapper(self.pf._wrapper.config)
        given = {name: self.config[name] for name in ("fillna_close", "trades_type", "engine")}
        for name, value in given.items():
            if type(value) not in (bool, int, str, type(None)):
                raise NotRebuildableError(f"a {name} of type {type(value).__name__}")
        options = {"freq": freq, "wrapper": wrapper or None, **given}
        self.member |= {name: value for name, value in options.items() if value is not None}

    def _prices(self) -> None:
        close = prices.close_2d(self.pf)
        values = prices.exact_float64(close)
        series, places = prices.distinct_series(values)
        self.tables["prices.parquet"] = prices.prices_table(self.pf.wrapper.index, self.rows, series)
        described = prices.describe_places(places, len(series), self.arrays)
        if described is not None:
            self.member["price_of"] = described
        if close.dtype != np.float64:
            self.member["price_dtype"] = close.dtype.name

    def _orders(self) -> None:
        orders = self.pf.order_records
        records.check_records(orders, order_dt, self.n_bars, self.n_columns, "order")
        flat = self.rows is None or self.rows["kind"] != "multi"
        times = prices.index_column(self.pf.wrapper.index, self.rows) if flat else None
        self.tables["orders.parquet"] = records.orders_table(orders, times, (self.rows or {}).get("tz"))
        records.check_orders(orders)

    def _logs(self) -> None:
        logs = self.pf.log_records
        records.check_records(logs, log_dt, self.n_bars, self.n_columns, "log")
        if len(logs):
            self.tables["logs.parquet"] = records.logs_table(logs)
            self.member["logs"] = True

    def _calls(self) -> None:
        calls = self.pf._call_seq
        if calls is None:
            return
        records.check_calls(calls, group_lens_by_column(self._groups()))
        self.tables["calls.parquet"] = records.calls_table(calls)
        self.member["call_seq"] = {"dtype": calls.dtype.name, "ndim": calls.ndim}

    def _groups(self) -> Array:
        return np.asarray(self.pf.wrapper.grouper.get_groups())


def group_lens_by_column(groups: Array) -> Array:
    """Return for each column how many columns its group has.

    Examples
    --------
    >>> group_lens_by_column(np.array([0, 0, 1]))
    array([2, 2, 1])
    """
    return np.asarray(np.bincount(groups)[groups])


def _same_settings(a: Any, b: Any) -> bool:
    """Tell whether two trees of settings agree; code is compared by identity, which copying keeps."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_settings(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(_same_settings(x, y) for x, y in zip(a, b, strict=True))
    if a is b or (type(a) is type(b) and type(a) in (str, int, float, bool) and a == b):
        return True
    return type(a) is type(b) and hasattr(a, "__dict__") and not callable(a) and vars(a) == vars(b)
