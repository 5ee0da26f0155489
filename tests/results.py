"""Results made by hand, for tests that need runs and no engine: importing vectorbt takes seconds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from runvault.engines.result import Result, Statistic, Sweep, SweepColumn, Window
from runvault.model.table import Table

DAY_NS = 86_400_000_000_000
START_NS = 1_577_836_800_000_000_000  # 2020-01-01


def make_result(
    total_return: float = 0.5, *, bars: int = 20, prices: float = 100.0, dump: bytes | None = b""
) -> Result:
    """Return a result of one buy and one sell whose numbers follow from `total_return`; `dump` b"" makes one up."""
    times = (START_NS + DAY_NS * np.arange(bars)).astype("datetime64[ns]")
    close = np.linspace(prices, prices * (1 + total_return), bars)
    orders = {
        "id": np.array([0, 1]),
        "column": np.array([0, 0]),
        "bar": np.array([0, bars - 1]),
        "time": times[[0, -1]],
        "size": np.array([1.0, 1.0]),
        "price": close[[0, -1]],
        "fees": np.array([0.0, 0.0]),
        "side": np.array([0, 1]),
    }
    outcome = _outcome(total_return, bars, close)
    content = f"dump of {total_return}".encode() if dump == b"" else dump
    return Result(
        **outcome,
        engine="vectorbt",
        backend="numba",
        packages={"vectorbt": "1.2.0"},
        tables={
            "prices.parquet": Table({"index": times, "price_0": close}),
            "orders.parquet": Table(orders),
            "trades.parquet": _trades(times, close),
            "equity.parquet": Table(
                {
                    "time": times,
                    "column": np.zeros(bars, dtype=np.int64),
                    "value": close,
                    "cash": np.zeros(bars),
                    "benchmark": close,
                }
            ),
        },
        portfolio={"rebuildable": False, "reason": "made by hand"},
        dump=None if content is None else lambda: content,
    )


def make_sweep(returns: list[float], **params: list[Any]) -> Sweep:
    """Return a sweep of a column for each of `returns`; `params` hold a value a column."""
    first = make_result(returns[0])
    columns = []
    for number, total_return in enumerate(returns):
        close = np.linspace(100.0, 100.0 * (1 + total_return), 20)
        values = {name: values[number] for name, values in params.items()}
        columns.append(SweepColumn(**_outcome(total_return, 20, close), column=number, params=values))
    orders = first.tables["orders.parquet"].columns
    many = {name: np.tile(values, len(returns)) for name, values in orders.items()}
    many["column"] = np.repeat(np.arange(len(returns)), 2)
    return Sweep(
        engine=first.engine,
        backend=first.backend,
        packages=first.packages,
        tables={"prices.parquet": first.tables["prices.parquet"], "orders.parquet": Table(many)},
        portfolio=first.portfolio,
        columns=columns,
        dump=lambda numbers: f"dump of {list(numbers)}".encode(),
    )


def with_digest(result: Result, digest: str) -> Result:
    """Return `result` with another digest: the same numbers, said to be others."""
    return replace(result, digest=hashlib.sha256(digest.encode()).hexdigest())


def _outcome(total_return: float, bars: int, close: np.ndarray[Any, Any]) -> dict[str, Any]:
    sharpe = None if total_return == 0 else round(total_return * 2, 6)
    values = hashlib.sha256(close.astype("<f8").tobytes()).hexdigest()
    return {
        "statistics": [
            Statistic(None, "total_return", "Total Return [%]", "%", total_return * 100),
            Statistic(None, "sharpe_ratio", "Sharpe Ratio", "ratio", float("nan") if sharpe is None else sharpe),
            Statistic(None, "total_trades", "Total Trades", "count", 1.0),
        ],
        "metrics": {
            "total_return": total_return,
            "sharpe_ratio": sharpe,
            "max_drawdown": -abs(total_return) / 10,
            "total_trades": 1,
            "win_rate": 1.0,
        },
        "metric_definitions": {"engine": "vectorbt", "version": "1.2.0", "periods_per_year": 365.0, "ddof": 1},
        "moments": {"n_periods": bars, "mean": 0.001, "std": 0.01, "skew": 0.0, "kurtosis": 3.0},
        "window": Window("2020-01-01", "2020-01-20", bars, "1D", ("GOOG",)),
        "data": {"prices": {"symbols": ["GOOG"]}},
        "digest": hashlib.sha256(f"{total_return}".encode() + values.encode()).hexdigest(),
    }


def _trades(times: np.ndarray[Any, Any], close: np.ndarray[Any, Any]) -> Table:
    pnl = close[-1] - close[0]
    return Table(
        {
            "id": np.array([0]),
            "column": np.array([0]),
            "entry_bar": np.array([0]),
            "entry_time": times[[0]],
            "entry_price": close[[0]],
            "entry_fees": np.array([0.0]),
            "exit_bar": np.array([len(close) - 1]),
            "exit_time": times[[-1]],
            "exit_price": close[[-1]],
            "exit_fees": np.array([0.0]),
            "size": np.array([1.0]),
            "pnl": np.array([pnl]),
            "return": np.array([pnl / close[0]]),
            "direction": np.array([0]),
            "status": np.array([1]),
            "parent_id": np.array([0]),
        }
    )
