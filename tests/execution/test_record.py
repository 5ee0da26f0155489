"""The decorator and the context that archive from inside a program."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import runvault as rv

pytestmark = pytest.mark.engine

RECORDED = """
import datetime as dt
import enum
from pathlib import Path

import numpy as np
import vectorbt as vbt

import runvault as rv

CALLS = []


@rv.record(strategy="dual_sma", tags=["recorded"])
def backtest(prices, fast: int, slow: int = 8, seed: int = 0):
    CALLS.append(fast)
    close = prices if prices.ndim == 1 else prices.set_index("date")["close"]
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    return vbt.Portfolio.from_signals(close, above, ~above, freq="1D")


@rv.record(data={"prices": "data/prices.csv"}, save=False)
def off(prices, fast: int = 2):
    return prices


@rv.record(data={"prices": "data/prices.csv"}, settings={"fees": 0.01})
def drawn(prices, seed: int = 0):
    close = prices.set_index("date")["close"]
    size = close * 0
    size.iloc[: np.random.randint(1, 9)] = 0.01
    return vbt.Portfolio.from_orders(close, size.where(size > 0), freq="1D")


class Kind(enum.Enum):
    SHORT = 2
    LONG = 5


@rv.record
def typed(prices, kind: Kind, weights=np.array([0.25, 0.75]), since=dt.datetime(2020, 1, 5), pair=(1, 2)):
    close = prices[since:] * weights.sum() * {(1, 2): 1.0}[pair]
    assert since.year
    return vbt.Portfolio.from_signals(close, close > close.rolling(kind.value).mean(), freq="1D")


@rv.record
def missing(prices):
    raise KeyError("GOOG") from LookupError("no such column")


@rv.record(data={"prices": "data/prices.csv"})
def by_file(prices, fast: int = 2):
    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")
"""


@pytest.fixture
def recorded(here: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (here / "strategy.py").write_text(RECORDED)
    monkeypatch.syspath_prepend(str(here))
    importlib.invalidate_caches()
    return importlib.import_module("strategy")


def close_of(here: Path) -> pd.Series:
    frame = pd.read_csv(here / "data" / "prices.csv", parse_dates=["date"])
    return frame.set_index("date")["close"]


def test_a_call_is_archived_and_its_portfolio_given_back(vault: rv.Vault, recorded, here: Path) -> None:
    portfolio = recorded.backtest(close_of(here), 3, seed=4)

    run = recorded.backtest.saved.run
    assert portfolio.total_return() == run.metrics["total_return"]
    assert (run.strategy, run.params, run.to_dict()["seed"]) == ("dual_sma", {"fast": 3, "slow": 8}, 4)
    assert run.tags == ["recorded"]


def test_an_equal_call_does_not_run_again(vault: rv.Vault, recorded, here: Path) -> None:
    first = recorded.backtest(close_of(here), 3)
    again = recorded.backtest(close_of(here), fast=3)

    assert recorded.CALLS == [3]
    assert again.total_return() == first.total_return()
    assert vault.count() == 1


@pytest.mark.parametrize("as_frame", [True, False])
def test_what_was_passed_in_memory_replays_exactly(vault: rv.Vault, recorded, here: Path, as_frame: bool) -> None:
    close = close_of(here)
    recorded.backtest(close.reset_index() if as_frame else close, 3)

    assert vault.replay(recorded.backtest.saved.run).verdict == "exact"


def test_a_named_file_is_read_and_replays_exactly(vault: rv.Vault, recorded, here: Path) -> None:
    recorded.by_file(fast=3)

    run = recorded.by_file.saved.run
    assert run.manifest["recipe"]["inputs"]["prices"]["path"] == "data/prices.csv"
    assert recorded.by_file(Path("data/prices.csv"), 3) is not None
    assert vault.count() == 1
    assert vault.replay(run).verdict == "exact"


def test_recording_can_be_switched_off(vault: rv.Vault, recorded, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded.off(fast=3).equals(pd.read_csv(here / "data" / "prices.csv", parse_dates=["date"]))
    monkeypatch.setenv("RUNVAULT_DISABLED", "1")
    recorded.backtest(close_of(here), 3)
    assert vault.count() == 0


@pytest.mark.parametrize("disabled", [False, True])
def test_recorded_or_not_the_call_is_the_same(
    vault: rv.Vault, recorded, here: Path, monkeypatch: pytest.MonkeyPatch, disabled: bool
) -> None:
    """Files that the decorator names are read, settings are in force and the seed is set."""
    if disabled:
        monkeypatch.setenv("RUNVAULT_DISABLED", "1")
    portfolio = recorded.drawn(seed=5)

    expected = int(np.random.RandomState(5).randint(1, 9))
    assert portfolio.orders.count() == expected
    assert portfolio.orders.fees.sum() > 0
    assert vault.count() == (not disabled)


@pytest.mark.parametrize("disabled", ["", "1"])
def test_what_a_recorded_function_raises_reaches_its_caller(
    vault: rv.Vault, recorded, here: Path, monkeypatch: pytest.MonkeyPatch, disabled: str
) -> None:
    monkeypatch.setenv("RUNVAULT_DISABLED", disabled)
    with pytest.raises(KeyError, match="GOOG") as caught:
        recorded.missing(close_of(here))
    assert isinstance(caught.value.__cause__, LookupError)
    assert vault.count() == 0


def test_a_replay_gives_the_function_what_it_was_given(vault: rv.Vault, recorded, here: Path) -> None:
    """Not the text of an enumeration or a time, nor the list of an array or a tuple."""
    recorded.typed(close_of(here), recorded.Kind.LONG)
    run = recorded.typed.saved.run

    assert vault.replay(run).verdict == "exact"
    changed = vault.replay(run, set={"params.kind": "SHORT"}).run
    assert changed is not None
    assert changed.params == {**run.params, "kind": "SHORT"}


def test_every_portfolio_built_inside_is_archived(vault: rv.Vault, here: Path) -> None:
    import vectorbt as vbt

    close = close_of(here)
    constructor = vbt.Portfolio.from_holding.__func__
    with rv.autosave(strategy="try_out", params={"version": 2}) as saved:
        vbt.Portfolio.from_holding(close, init_cash=500, freq="1D")
        vbt.Portfolio.from_signals(close, close > 100, close < 100, freq="1D")

    holding, signals = (dict(each.run.params) for each in saved)
    assert holding == {"constructor": "from_holding", "init_cash": 500, "freq": "1D", "version": 2}
    assert [len(signals.pop(name)) for name in ("entries", "exits")] == [16, 16]
    assert signals == {"constructor": "from_signals", "freq": "1D", "version": 2}
    assert vbt.Portfolio.from_holding.__func__ is constructor
    vbt.Portfolio.from_holding(close, freq="1D")
    assert vault.count() == 2


def test_portfolios_of_other_arguments_are_other_runs(vault: rv.Vault, here: Path) -> None:
    """Two tries of a loop would be one run otherwise, the second a drift of the first."""
    import vectorbt as vbt

    close = close_of(here)
    high = close > 100
    with rv.autosave(strategy="try_out") as saved:
        vbt.Portfolio.from_signals(close, high, ~high)
        vbt.Portfolio.from_signals(close, high.shift(fill_value=False), ~high)
        vbt.Portfolio.from_signals(close, high.to_numpy(), ~high, fees=np.float32(0.5))
        vbt.Portfolio.from_orders(close, np.inf)
        vbt.Portfolio.from_orders(close, np.int64(1))
        vbt.Portfolio.from_orders(close, close * 0 + 1)
        vbt.Portfolio.from_holding(close)
        vbt.Portfolio.from_signals(close, entries=high.to_numpy(), exits=~high)

    ids = [str(each.id) for each in saved]
    assert len(set(ids)) == 7
    assert (ids[-1], saved[-1].created) == (ids[0], False)
    assert saved[3].run.params == {"constructor": "from_orders", "size": "inf"}


def test_a_recorded_function_declares_its_series(vault: rv.Vault, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    importlib.invalidate_caches()
    (here / "declared.py").write_text(
        "import vectorbt as vbt\n\nimport runvault as rv\n\n\n"
        "@rv.record(series={'prices': 'date'})\n"
        "def hold(prices):\n"
        "    return vbt.Portfolio.from_holding(prices.set_index('date')['close'], freq='1D')\n"
    )
    declared = importlib.import_module("declared")
    prices = pd.read_csv(here / "data" / "prices.csv", parse_dates=["date"])
    declared.hold(prices.assign(known=prices["date"]))

    replayed = vault.replay(declared.hold.saved.run, end="2020-01-20")

    assert replayed.run is not None
    assert replayed.run.end == "2020-01-20"
