"""What differs between two runs: config, metrics, trades, equity, code, environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.archive.curves import equity_of, trades_of
from runvault.archive.reading import Located, read_manifest
from runvault.errors import ArtifactMissingError, FormatError
from runvault.model.changes import Change, diff_metrics, diff_values, environment_changes
from runvault.model.equity import equity_gap
from runvault.model.metrics import restated
from runvault.model.trades import TradeChanges, match_trades

if TYPE_CHECKING:
    from runvault.archive.stores import Stores
    from runvault.model.table import Table

Json: TypeAlias = Any


@dataclass(frozen=True)
class Diff:
    """What differs between run `a` and run `b`; `delta` is always b minus a.

    `definitions` says in which way the metrics are not defined alike, so that their deltas mean little.
    `trades` and `equity` are None where the artifacts of a run are not here; `missing` says which and why.
    """

    a: str
    b: str
    config: Sequence[Change]
    metrics: Sequence[Mapping[str, Json]]
    trades: TradeChanges | None
    equity: Mapping[str, Json] | None
    code: Mapping[str, Json]
    environment: Sequence[Change]
    definitions: Sequence[Change] = ()
    missing: Sequence[str] = ()

    @property
    def differs(self) -> bool:
        """Return whether config, metrics or trades differ: what was asked for, or what came of it."""
        return bool(self.config or self.metrics or (self.trades and self.trades.differ))

    def trade_rows(self) -> list[dict[str, Json]]:
        """Return the trades that differ, a row a trade: what it is, where it was entered, and what of it differs."""
        return [_trade_row(detail) for detail in self.trades.iter_details()] if self.trades else []

    def flat_rows(self) -> list[tuple[str, str, Json, Json]]:
        """Return all differences as rows: group, path, the value of `a`, the value of `b`."""
        rows = [("config", each["path"], each["a"], each["b"]) for each in (c.to_dict() for c in self.config)]
        rows += [("metrics", row["name"], row["a"], row["b"]) for row in self.metrics]
        rows += [
            ("environment", each["path"], each["a"], each["b"]) for each in (c.to_dict() for c in self.environment)
        ]
        return rows

    def __repr__(self) -> str:
        parts = f"{len(self.config)} config, {len(self.metrics)} metrics, {len(self.environment)} environment"
        return f"<Diff of {self.a[:8]} and {self.b[:8]}: {parts}, trades {self.trades and self.trades.to_dict()}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault diff --json`` prints."""
        return {
            "a": self.a,
            "b": self.b,
            "config": [change.to_dict() for change in self.config],
            "metrics": list(self.metrics),
            "trades": self.trades.to_dict() if self.trades else None,
            "equity": self.equity,
            "code": self.code,
            "environment": [change.to_dict() for change in self.environment],
            "definitions": [change.to_dict() for change in self.definitions],
            "missing": list(self.missing),
        }


def diff_runs(stores: Stores, a: Located, b: Located, periods_per_year: float | None = None) -> Diff:
    """Compare two runs, each at its own commit of the archive.

    With `periods_per_year` the Sharpe ratios are those that the moments of the returns give.

    Raises
    ------
    IntegrityError
        An artifact here is not what was recorded.
    """
    first, second = both = read_manifest(stores, a), read_manifest(stores, b)
    missing: list[str] = []
    trades = _tables(stores, trades_of, first, second, missing)
    equity = _tables(stores, equity_of, first, second, missing)
    return Diff(
        a=str(a.id),
        b=str(b.id),
        config=diff_values(_asked(first), _asked(second)),
        metrics=diff_metrics(*(restated(each["metrics"], each["moments"], periods_per_year) for each in both)),
        trades=match_trades(*trades) if trades else None,
        equity=equity_gap(*equity) if equity else None,
        code=_code(stores, first["code"] or {}, second["code"] or {}),
        environment=environment_changes(first, second),
        definitions=diff_values(first["metric_definitions"], second["metric_definitions"]),
        missing=missing,
    )


def _asked(manifest: Mapping[str, Json]) -> dict[str, Json]:
    """Return what a run was asked for: its config, and the seed that belongs to its address."""
    return {**manifest["config"], "seed": manifest["seed"]}


def _tables(
    stores: Stores,
    read: Callable[[Stores, Mapping[str, Json]], Table],
    first: Mapping[str, Json],
    second: Mapping[str, Json],
    missing: list[str],
) -> tuple[Table, Table] | None:
    """Return the tables of both runs; None where one is not to be had, which `missing` then says."""
    try:
        return read(stores, first), read(stores, second)
    except (ArtifactMissingError, FormatError) as error:
        if error.message not in missing:
            missing.append(error.message)
        return None


def _code(stores: Stores, first: Mapping[str, Json], second: Mapping[str, Json]) -> dict[str, Json]:
    a, b = first.get("commit"), second.get("commit")
    stat = stores.reader.diff_stat(a, b) if a and b and a != b else None
    return {"a": a, "b": b, "dirty": [first.get("dirty"), second.get("dirty")], "stat": stat}


def _trade_row(detail: Mapping[str, Json]) -> dict[str, Json]:
    """Return one differing trade as plain values; the side that has it says when it was entered."""
    trade = detail["a"] or detail["b"]
    row = {"kind": detail["kind"], "entry": str(trade.get("entry_time", trade.get("entry_bar")))[:19]}
    for name in ("entry_price", "exit_price", "size", "pnl"):
        for side in ("a", "b"):
            row[f"{name}_{side}"] = None if detail[side] is None else float(detail[side][name])
    return {**row, "fields": list(detail["fields"])}
