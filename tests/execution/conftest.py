from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from machine import git

import runvault as rv

STRATEGY = """
import vectorbt as vbt

from smoothing import mean


def backtest(prices, fast: int, slow: int = 8, seed: int = 0):
    close = prices.set_index("date")["close"]
    above = mean(close, fast) > mean(close, slow)
    return vbt.Portfolio.from_signals(close, above, ~above, init_cash=1_000, fees=0.001, freq="1D")


def cash(prices, init_cash: float = 100.0):
    close = prices.set_index("date")["close"]
    return vbt.Portfolio.from_holding(close, init_cash=init_cash, freq="1D")


def random(prices, n: int, seed: int):
    close = prices.set_index("date")["close"]
    return vbt.Portfolio.from_random_signals(close, n=n, freq="1D")


def holding(prices):
    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")


def nothing(prices):
    return None


def broken(prices):
    raise ValueError("no such market")


def endless(prices):
    import time

    time.sleep(600)
"""

SMOOTHING = """
def mean(close, bars):
    return close.rolling(bars).mean()
"""


@pytest.fixture
def here(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a repository with a strategy, an untracked module that it imports, and prices; we stand in it."""
    (repo / "strategy.py").write_text(STRATEGY)
    git(repo, "commit", "--quiet", "--all", "--message", "strategy: moving averages")
    (repo / "smoothing.py").write_text(SMOOTHING)
    (repo / "data").mkdir()
    walk = np.random.default_rng(7).normal(0, 1, 60).cumsum()
    days = pd.date_range("2020-01-01", periods=60, freq="D")
    pd.DataFrame({"date": days, "close": 100 + walk}).to_csv(repo / "data" / "prices.csv", index=False)
    monkeypatch.chdir(repo)
    before = list(sys.path)
    rv.init(repo)
    yield repo
    sys.path[:] = before
    for name in ("strategy", "smoothing"):
        sys.modules.pop(name, None)


@pytest.fixture
def vault(here: Path) -> rv.Vault:
    return rv.open(here)
