"""Tables of a run as asked for: stored ones as they are, those of a sweep's run computed from prices and orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from runvault.archive.artifacts import read_tables
from runvault.archive.stores import Stores
from runvault.engines.result import PortfolioTables
from runvault.errors import FormatError
from runvault.model.table import Table

Json: TypeAlias = Any


def equity_of(stores: Stores, manifest: Mapping[str, Json]) -> Table:
    """Return a run's equity curve: `time, column, value, cash, benchmark`, a row a bar and column."""
    if "equity.parquet" in manifest["artifacts"]:
        return read_tables(stores.objects, manifest, ["equity.parquet"])["equity.parquet"]
    from runvault.engines.vectorbt.curves import equity_from_tables

    return equity_from_tables(portfolio_tables(stores, manifest))


def trades_of(stores: Stores, manifest: Mapping[str, Json]) -> Table:
    """Return a run's trades, a row a trade, open ones included."""
    if "trades.parquet" in manifest["artifacts"]:
        return read_tables(stores.objects, manifest, ["trades.parquet"])["trades.parquet"]
    from runvault.engines.vectorbt.curves import trades_from_tables

    return trades_from_tables(portfolio_tables(stores, manifest))


def orders_of(stores: Stores, manifest: Mapping[str, Json]) -> Table:
    """Return a run's filled orders, a row an order, by column; ids give the engine's order."""
    tables = read_tables(stores.objects, manifest, ["orders.parquet"])
    if "orders.parquet" not in tables:
        raise FormatError(f"run {manifest['id']} has no table of orders")
    return tables["orders.parquet"]


def portfolio_tables(stores: Stores, manifest: Mapping[str, Json]) -> PortfolioTables:
    """Return what a rebuild of the run's portfolio starts from.

    Raises
    ------
    FormatError
        The portfolio cannot be rebuilt; the message gives the reason recorded at save.
    """
    portfolio = manifest["portfolio"] or {}
    if not portfolio.get("rebuildable"):
        reason = portfolio.get("reason", "no reason is recorded")
        raise FormatError(f"the portfolio of run {manifest['id']} cannot be rebuilt: {reason}")
    entries = manifest["artifacts"]
    names = [name for name in entries if name.endswith(".parquet") and name not in ("equity.parquet", "trades.parquet")]
    tables = read_tables(stores.objects, manifest, names)
    return PortfolioTables(portfolio, tables, entries.get("prices.parquet", {}).get("column"))
