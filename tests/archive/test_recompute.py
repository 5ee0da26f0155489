"""`verify --recompute`: statistics from archived prices and orders, beside those that the archive tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from machine import git
from results import make_result

import runvault as rv
from runvault.engines.vectorbt import recomputing
from runvault.model.table import Table
from runvault.stores.tables import read_table, write_table

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def close() -> pd.Series:
    steps = np.random.default_rng(7).normal(0.0005, 0.02, 300)
    index = pd.date_range("2020-01-01", periods=300, freq="D", name="date")
    return pd.Series(100 * np.exp(np.cumsum(steps)), index=index, name="GOOG")


def crossover(close: Any, fast: Any, slow: Any, **settings: Any) -> Any:
    import vectorbt as vbt

    first, second = vbt.MA.run(close, fast, short_name="fast"), vbt.MA.run(close, slow, short_name="slow")
    entries, exits = first.ma_crossed_above(second), first.ma_crossed_below(second)
    return vbt.Portfolio.from_signals(close, entries, exits, freq="1D", **settings)


def rewrite(vault: rv.Vault, repo: Path, run: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Commit another content of one of a run's files, as somebody with a checkout of the branch could."""
    work = repo.parent / "checkout"
    if not work.exists():
        git(repo, "worktree", "add", "--quiet", str(work), vault.branch)
    path = work / f"runs/{run[:2]}/{run}/{name}"
    path.write_bytes(change(path.read_bytes()))
    git(work, "commit", "--quiet", "--all", "--message", "other numbers")


def metric(name: str, value: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        manifest = json.loads(content)
        manifest["metrics"][name] = value
        return json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"

    return change


def statistic(name: str, value: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        columns = dict(read_table(content, "stats").columns)
        columns["value"] = np.where(columns["name"] == name, value, columns["value"])
        return write_table(Table(columns))

    return change


def test_single_grouped_and_swept_portfolios_give_what_was_archived(vault: rv.Vault, close: pd.Series) -> None:
    prices = pd.DataFrame({"A": close, "B": close[::-1].to_numpy()})
    vault.save(crossover(close, 5, 20, fees=0.001), strategy="single")
    vault.save(crossover(prices, 5, 20), strategy="columns")
    vault.save(crossover(prices, 5, 20, group_by=True, cash_sharing=True), strategy="grouped")
    vault.save(crossover(prices, 5, 20, init_cash="autoalign", size=1.0), strategy="aligned")
    vault.save_sweep(crossover(close, list(range(5, 17)), list(range(30, 42))), strategy="large sweep")
    vault.save_sweep(crossover(close, [5, 6], [30, 40], init_cash="autoalign", size=1.0), strategy="small sweep")
    vault.save(make_result(), strategy="by hand")
    report = vault.verify(recompute=True)

    assert report.findings == []
    assert (report.checked["recomputed"], report.checked["not recomputed"]) == (4 + 12 + 2, 1)


def test_a_large_sweep_is_rebuilt_once(vault: rv.Vault, close: pd.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.save_sweep(crossover(close, list(range(5, 17)), list(range(30, 42))), strategy="sweep")
    rebuilt: list[object] = []
    rebuild = recomputing.rebuild
    monkeypatch.setattr(recomputing, "rebuild", lambda tables: rebuilt.append(tables) or rebuild(tables))

    assert vault.verify(recompute=True).checked["recomputed"] == 12
    assert len(rebuilt) == 1


@pytest.mark.parametrize("swept", [False, True])
def test_a_metric_that_prices_and_orders_do_not_give_is_named(
    vault: rv.Vault, repo: Path, close: pd.Series, swept: bool
) -> None:
    """A metric that stats.parquet does not hold, so that nothing but the tables contradicts it."""
    if swept:
        run = vault.save_sweep(crossover(close, list(range(5, 17)), list(range(30, 42))), strategy="s")[7].run
    else:
        run = vault.save(crossover(close, 5, 20), strategy="s").run
    rewrite(vault, repo, run.id, "manifest.json", metric("winning_trades", 99))
    assert vault.verify().findings == []

    (found,) = vault.verify(recompute=True).findings
    assert (found.run, found.file) == (run.id, "manifest.json")
    assert found.problem.endswith("winning_trades")
    assert found.hint is None


def test_a_lie_told_twice_is_found(vault: rv.Vault, repo: Path, close: pd.Series) -> None:
    run = vault.save(crossover(close, 5, 20), strategy="s").run
    rewrite(vault, repo, run.id, "manifest.json", metric("sharpe_ratio", 3.0))
    rewrite(vault, repo, run.id, "stats.parquet", statistic("sharpe_ratio", 3.0))
    assert vault.verify().findings == []

    found = vault.verify([run], recompute=True).findings
    assert [(each.file, each.problem.split()[-1]) for each in found] == [
        ("manifest.json", "sharpe_ratio"),
        ("stats.parquet", "sharpe_ratio"),
    ]


def test_rounding_is_no_finding_and_another_version_is_said(vault: rv.Vault, repo: Path, close: pd.Series) -> None:
    run = vault.save(crossover(close, 5, 20), strategy="s").run
    total_profit = run.metrics["total_profit"]
    rewrite(vault, repo, run.id, "manifest.json", metric("total_profit", total_profit * (1 + 1e-13)))
    assert vault.verify(recompute=True).findings == []

    def older(content: bytes) -> bytes:
        manifest = json.loads(metric("total_profit", total_profit * 1.01)(content))
        manifest["environment"]["packages"]["vectorbt"] = "0.1.0"
        return json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"

    rewrite(vault, repo, run.id, "manifest.json", older)
    (found,) = vault.verify(recompute=True).findings
    assert "recorded with vectorbt 0.1.0" in str(found.hint)
