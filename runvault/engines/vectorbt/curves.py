"""Equity and trades as tables, from a portfolio, or from its stored tables without importing the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from runvault.engines.vectorbt.accounts import benchmark_at_close, cash_and_position, value_at_close
from runvault.engines.vectorbt.exits import Trade, exit_trades
from runvault.engines.vectorbt.stored import Account, read_accounts, times_of
from runvault.errors import MetricInputError
from runvault.model.table import Array, Table

if TYPE_CHECKING:
    from runvault.engines.result import PortfolioTables


def equity_table(pf: Any) -> Table:
    """Return a portfolio's equity curves, a row a bar of each column, or of each group where it is grouped.

    Returns
    -------
    Table
        `time`, `column` (the place of the column or group), `value`, `cash` and `benchmark` at the bar's close, in
        account currency. Times are those of prices.parquet; bar numbers where rows have several levels of labels.

    Raises
    ------
    MetricInputError
        The engine cannot compute it: prices or records are of a type that it does not take.
    """
    try:
        curves = [_two_dimensional(curve()) for curve in (pf.value, pf.cash, pf.benchmark_value)]
    except Exception as error:  # prices that are no numbers, records of another dtype: each engine raises its own
        raise MetricInputError(f"no equity curve can be computed: {error}") from error
    return _equity(*_times(pf), *curves)


def trades_table(pf: Any) -> Table:
    """Return a portfolio's trades, open ones included, a row a trade, in the engine's order.

    Returns
    -------
    Table
        The engine's records field by field. `column` is the place of the asset, in grouped portfolios too; `return` is
        a fraction of the entry value; `direction` is 0 for long, 1 for short, `status` 0 for open, 1 for closed. An
        open trade ends at the last bar's close, NaN where that is a gap.

    Raises
    ------
    MetricInputError
        As of `equity_table`.
    """
    try:
        records = pf.trades.values
    except Exception as error:  # as above
        raise MetricInputError(f"no trades can be computed: {error}") from error
    return _trades({name: np.ascontiguousarray(records[field]) for name, field in _FIELDS.items()}, *_times(pf))


def equity_from_tables(tables: PortfolioTables) -> Table:
    """Return what `equity_table` gives for the portfolio that the tables hold, to the bit.

    Ungrouped portfolios are computed from prices and orders; for all others the portfolio is rebuilt.

    Raises
    ------
    FormatError
        The tables are damaged, or the portfolio cannot be rebuilt.
    """
    accounts = read_accounts(tables)
    if accounts is None:
        return equity_table(_rebuilt(tables))
    curves = [_curves(account) for account in accounts]
    times, zone = times_of(tables)
    value, cash, benchmark = (np.stack(part, axis=1) for part in zip(*curves, strict=True))
    return _equity(times, zone, value, cash, benchmark)


def trades_from_tables(tables: PortfolioTables) -> Table:
    """Return what `trades_table` gives for the portfolio that the tables hold, to the bit.

    Ungrouped portfolios whose trades are exits (vectorbt's default) are computed from prices and orders; for all
    others the portfolio is rebuilt.

    Raises
    ------
    FormatError
        The tables are damaged, or the portfolio cannot be rebuilt.
    """
    accounts = read_accounts(tables)
    if accounts is None or tables.portfolio.get("settings", {}).get("trades_type") != _EXIT_TRADES:
        return trades_table(_rebuilt(tables))
    trades: list[Trade] = []
    columns: list[int] = []
    for column, account in enumerate(accounts):
        first = trades[-1].position + 1 if trades else 0
        trades += exit_trades(account.orders, float(account.close[-1]), account.n_bars, first)
        columns += [column] * (len(trades) - len(columns))
    return _trades(_columns_of(trades, columns), *times_of(tables))


_EXIT_TRADES = 1
_FIELDS = {
    "id": "id",
    "column": "col",
    "entry_bar": "entry_idx",
    "entry_price": "entry_price",
    "entry_fees": "entry_fees",
    "exit_bar": "exit_idx",
    "exit_price": "exit_price",
    "exit_fees": "exit_fees",
    "size": "size",
    "pnl": "pnl",
    "return": "return",
    "direction": "direction",
    "status": "status",
    "parent_id": "parent_id",
}
_DTYPES = dict.fromkeys(_FIELDS, "f8") | dict.fromkeys(("id", "column", "entry_bar", "exit_bar", "parent_id"), "i8")
_DTYPES |= {"direction": "i1", "status": "i1"}


def _rebuilt(tables: PortfolioTables) -> Any:
    from runvault.engines.vectorbt.rebuild import rebuild

    return rebuild(tables)


def _times(pf: Any) -> tuple[Array, str | None]:
    """Return the row labels as prices.parquet has them, bar numbers where they have several levels, and their zone."""
    from runvault.engines.vectorbt import labels
    from runvault.engines.vectorbt.prices import index_columns
    from runvault.engines.vectorbt.refusals import NotRebuildableError

    index = pf.wrapper.index
    try:
        spec = labels.describe(index)
    except NotRebuildableError:
        spec = None
    columns = index_columns(index, spec)
    return columns.get("index", np.arange(len(index))), (spec or {}).get("tz")


def _two_dimensional(curve: Any) -> Array:
    values = np.asarray(curve, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _curves(account: Account) -> tuple[Array, Array, Array]:
    cash, position = cash_and_position(account.orders, account.init_cash, account.n_bars)
    with np.errstate(all="ignore"):  # prices that start with a gap, cash without end: undefined, as in the engine
        value = value_at_close(cash, position, account.valuation)
        return value, cash, benchmark_at_close(account.valuation, account.init_cash, by_rust=account.by_rust)


def _equity(times: Array, zone: str | None, value: Array, cash: Array, benchmark: Array) -> Table:
    n_bars, n_columns = value.shape
    columns = {
        "time": np.tile(times, n_columns),
        "column": np.repeat(np.arange(n_columns), n_bars),
        "value": value.T.reshape(-1),
        "cash": cash.T.reshape(-1),
        "benchmark": benchmark.T.reshape(-1),
    }
    return Table(columns, {"time": zone} if zone else {})


def _columns_of(trades: Sequence[Trade], columns: Sequence[int]) -> dict[str, Array]:
    fields = zip(*trades, strict=True) if trades else [()] * len(Trade._fields)
    named = dict(zip(Trade._fields, fields, strict=True))
    named["return"], named["parent_id"] = named.pop("ret"), named.pop("position")
    return {name: np.array(values) for name, values in ({"id": range(len(trades)), "column": columns} | named).items()}


def _trades(fields: dict[str, Array], times: Array, zone: str | None) -> Table:
    """Return trades in the order of the columns of trades.parquet, with the times of their bars."""
    table: dict[str, Array] = {}
    for name in _FIELDS:
        table[name] = fields[name].astype(_DTYPES[name])
        if name in ("entry_bar", "exit_bar"):
            table[name.replace("bar", "time")] = times[table[name]]
    return Table(table, {"entry_time": zone, "exit_time": zone} if zone else {})
