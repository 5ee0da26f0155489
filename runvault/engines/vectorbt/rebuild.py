"""Tables into an equal portfolio: no pickle is read, and compiled code sees only values that were checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import vectorbt as vbt
from vectorbt.base.array_wrapper import ArrayWrapper
from vectorbt.portfolio.enums import TradesType, log_dt, order_dt
from vectorbt.utils.enum_ import map_enum_fields

from runvault.engines.result import PortfolioTables
from runvault.engines.vectorbt import arguments, frequencies, labels, pool, prices, records
from runvault.engines.vectorbt.inputs import FORMAT, MAX_CELLS, group_lens_by_column
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.engines.vectorbt.settings import apply_settings, choose_default, choose_engine, choose_freq
from runvault.errors import FormatError, SchemaTooNewError
from runvault.model.table import Array, Table

# What pandas and vectorbt raise for descriptions and tables that do not fit together
_MISFITS = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    AssertionError,
    NotImplementedError,
)


def rebuild(tables: PortfolioTables) -> Any:
    """Return a new ``vectorbt.Portfolio`` equal to the one that was saved.

    Parameters
    ----------
    tables : PortfolioTables
        The manifest's `portfolio` member and the tables by file name. With `column`, the portfolio of that column of a
        sweep (of that group, where the sweep is grouped), equal to ``pf.iloc[column]``; ``orders.parquet`` may then
        hold that column's rows alone.

    Raises
    ------
    FormatError
        The portfolio cannot be rebuilt (the message has the reason given when it was saved), or the tables and the
        member do not fit together.
    """
    _check_format(tables.portfolio)
    try:
        return _Rebuilding(tables).portfolio()
    except FormatError:
        raise
    except NotRebuildableError as error:
        raise FormatError(f"the portfolio cannot be rebuilt: {error}") from error
    except _MISFITS as error:
        raise FormatError(f"the portfolio cannot be rebuilt: {type(error).__name__}: {error}") from error


def _check_format(member: Mapping[str, Any]) -> None:
    name = str(member.get("format"))
    if name != FORMAT:
        if name.startswith("vbt-portfolio/"):
            raise SchemaTooNewError(f"the portfolio has format {name[:40]!r}", hint="upgrade runvault")
        raise FormatError(f"{name[:40]!r} is no format of a portfolio")
    if member.get("rebuildable") is not True:
        raise FormatError(
            f"the portfolio cannot be rebuilt: {member.get('reason', 'no reason is given')}",
            hint="its own dump is archived as portfolio.pkl",
        )


class _Rebuilding:
    """One portfolio on its way back; `column` narrows it to one column or group as vectorbt's indexing does."""

    def __init__(self, tables: PortfolioTables) -> None:
        self.member = tables.portfolio
        self.tables = tables.tables
        self.pooled = pool.read_pool(tables.tables.get("labels.parquet"))
        self.settings: dict[str, Any] = dict(self.member.get("settings", {}))
        self.sharing = self.member.get("cash_sharing", False) is True
        self.whole = self._wrapper()
        self.n_bars, self.n_columns = self.whole.shape_2d
        self.groups = np.asarray(self.whole.grouper.get_groups())
        if np.any(np.diff(self.groups) < 0):
            raise FormatError("groups are not sorted")
        self.wrapper, self.cash_places, self.columns = self._select(tables.column)

    def portfolio(self) -> Any:
        part = records.Part(self.n_bars, self.n_columns, int(self.columns[0]), len(self.columns))
        logs = records.read_logs(self._table("logs.parquet"), part, log_dt) if self.member.get("logs") else None
        pf = vbt.Portfolio(
            self.wrapper,
            self._close(),
            records.read_orders(self._table("orders.parquet"), part, order_dt),
            np.zeros(0, dtype=log_dt) if logs is None else logs,
            self._cash(),
            self.sharing,
            call_seq=self._calls(part),
            **self._options(),
        )
        apply_settings(pf, self.settings)
        return pf

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise FormatError(f"the portfolio's table {name} is missing")
        return self.tables[name]

    def _wrapper(self) -> ArrayWrapper:
        shape = self.member["shape"]
        if len(shape) not in (1, 2) or any(type(n) is not int or n <= 0 for n in shape):
            raise FormatError(f"{str(shape)[:40]} is no shape of a portfolio")
        index = prices.read_index(self.member["index"], self._table("prices.parquet"), self.pooled)
        columns = labels.restore(pool.load(self.member["columns"], self.pooled))
        if (len(index), len(columns)) != (shape[0], shape[1] if len(shape) == 2 else 1):
            raise FormatError(f"{len(index)} row labels and {len(columns)} columns do not fit the shape {shape}")
        if self._table("prices.parquet").n_rows != len(index):
            raise FormatError(f"prices of {self._table('prices.parquet').n_rows} bars do not fit {len(index)} labels")
        group_by = arguments.read_grouping(self.member.get("group_by"), self.pooled)
        options = arguments.read_wrapper(self.member.get("wrapper", {}))
        freq = frequencies.restore_frequency(self.member.get("freq"))
        wrapper = ArrayWrapper(index, columns, len(shape), freq=freq, group_by=group_by, **options)
        chosen = choose_freq(freq, self.settings, wrapper)
        return wrapper if chosen is freq else wrapper.replace(freq=chosen)

    def _select(self, column: int | None) -> tuple[ArrayWrapper, Any, Array]:
        """Return the wrapper, where its cash stands, and the wanted columns; as ``Portfolio.indexing_func`` does."""
        everything = np.arange(self.n_columns)
        if column is None or self.whole.ndim == 1:
            self._check_cells(self.n_columns)
            return self.whole, None, everything
        # A portfolio that shares cash shows its wrapper like this, and its columns keep it
        shown = self.whole.replace(allow_enable=False, allow_modify=False) if self.sharing else self.whole
        if shown.grouper.is_grouped() and shown.grouped_ndim == 1:
            self._check_cells(self.n_columns)
            return self.whole, None, everything
        n = len(shown.get_columns()) if shown.grouper.is_grouped() else self.n_columns
        if not 0 <= column < n:
            raise FormatError(f"the portfolio has no column {column}: it has {n}")
        wrapper, _, groups, columns = shown.indexing_func_meta(lambda row: row.iloc[column], column_only_select=True)
        self._check_cells(np.size(columns))
        return wrapper, groups if self.sharing else columns, np.atleast_1d(columns)

    def _check_cells(self, n_columns: int) -> None:
        if self.n_bars * n_columns > MAX_CELLS:
            raise FormatError(f"{self.n_bars} bars times {n_columns} columns are too many")

    def _close(self) -> Any:
        places = prices.read_places(self.member.get("price_of"), self.n_columns, self.pooled)
        dtype = str(self.member.get("price_dtype", "float64"))
        close = prices.read_prices(self._table("prices.parquet"), places[self.columns], dtype)
        return self.wrapper.wrap(close, group_by=False)

    def _cash(self) -> Any:
        cash = arguments.read_cash(self.member["init_cash"], self.pooled)
        wanted = int(self.groups.max()) + 1 if self.sharing else self.n_columns
        if arguments.cash_length(cash) not in (None, wanted):
            raise FormatError(f"initial cash is given for {arguments.cash_length(cash)} of {wanted} columns or groups")
        return cash if self.cash_places is None or type(cash) is int else np.atleast_1d(cash)[self.cash_places]

    def _calls(self, part: records.Part) -> Array | None:
        stored = self.member.get("call_seq")
        if stored is None:
            return None
        calls = records.read_calls(self._table("calls.parquet"), part)
        records.check_calls(calls, group_lens_by_column(self.groups)[self.columns])
        if stored["dtype"] not in labels.NUMBERS or np.dtype(stored["dtype"]).kind != "i":
            raise FormatError(f"{str(stored['dtype'])[:40]!r} is no dtype of calls")
        calls = calls.astype(stored["dtype"])
        flat = stored["ndim"] == 1 or (self.cash_places is not None and self.wrapper.ndim == 1)
        return calls[:, 0] if flat else calls

    def _options(self) -> dict[str, Any]:
        defaults = vbt.settings["portfolio"]
        trades = defaults["trades_type"]
        current = map_enum_fields(trades, TradesType) if isinstance(trades, str) else trades
        fill, kind = self.member.get("fillna_close"), self.member.get("trades_type")
        return {
            "fillna_close": choose_default("fillna_close", fill, self.settings, defaults["fillna_close"]),
            "trades_type": choose_default("trades_type", kind, self.settings, current),
            "engine": choose_engine(self.member.get("engine"), self.settings.get("engine")),
        }
