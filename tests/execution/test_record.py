"""The decorator and the context that archive from inside a program."""

from __future__ import annotations

import importlib
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import runvault as rv

pytestmark = pytest.mark.engine

RECORDED = """
import datetime as dt
import enum
import importlib
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


@rv.record
def shaped(prices):
    return vbt.Portfolio.from_holding(prices, init_cash=100 * prices.ndim, freq="1D")


@rv.record
def reloading(close, bars: int = 4):
    smoothing = importlib.reload(importlib.import_module("smoothing"))
    return vbt.Portfolio.from_signals(close, close > smoothing.mean(close, bars), freq="1D")


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


def test_a_file_that_is_edited_and_not_reloaded_is_told_as_it_was_imported(
    vault: rv.Vault, recorded, here: Path
) -> None:
    recorded.backtest(close_of(here), 3)
    edited = RECORDED.replace("rolling(fast).mean()", "rolling(fast).median()")
    (here / "strategy.py").write_text(edited)
    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close\n")
    importlib.import_module("smoothing")  # another file of the code: it is kept anew

    by_mean = recorded.backtest(close_of(here), 4)
    old = recorded.backtest.saved.run
    assert vault.replay(old).verdict == "exact"
    assert {tuple(each.code) for each in vault.stale().runs} == {("strategy.py",)}

    reloaded = importlib.reload(recorded)
    by_median = reloaded.backtest(close_of(here), 4)
    assert reloaded.CALLS == [4]  # what is archived is not of this code
    assert by_median.total_return() != by_mean.total_return()
    assert vault.replay(reloaded.backtest.saved.run).verdict == "exact"


def test_a_module_that_is_reloaded_by_the_call_is_told_as_it_was_reloaded(
    vault: rv.Vault, recorded, here: Path
) -> None:
    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close.rolling(bars).mean()\n")
    importlib.import_module("smoothing")
    recorded.backtest(close_of(here), 3)  # now both files are known as they were imported
    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close.rolling(bars).mean().shift(bars)\n")

    recorded.reloading(close_of(here))

    assert vault.replay(recorded.reloading.saved.run).verdict == "exact"


@pytest.mark.parametrize("as_frame", [True, False])
def test_what_was_passed_in_memory_replays_exactly(vault: rv.Vault, recorded, here: Path, as_frame: bool) -> None:
    close = close_of(here)
    recorded.backtest(close.reset_index() if as_frame else close, 3)

    assert vault.replay(recorded.backtest.saved.run).verdict == "exact"


def test_a_series_is_not_taken_for_the_frame_of_it(vault: rv.Vault, recorded, here: Path) -> None:
    """Their bytes are the same, and a function may ask which of them it has."""
    close = close_of(here)
    frame = recorded.shaped(close.to_frame())
    series = recorded.shaped(close)

    assert (frame.init_cash.iloc[0], series.init_cash) == (200, 100)
    assert recorded.shaped(close).init_cash == 100
    assert vault.replay(recorded.shaped.saved.run).verdict == "exact"


def test_a_frame_that_cannot_be_kept_is_refused_with_a_hint(vault: rv.Vault, recorded, here: Path) -> None:
    close = close_of(here)
    for frame in (pd.concat([close, close], axis=1), pd.DataFrame({"close": [1.0, "x", {}]})):
        with pytest.raises(rv.ConfigError, match="'prices' cannot be kept as Parquet") as caught:
            recorded.shaped(frame)
        assert caught.value.hint


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


SHAPES = """
import functools

import pandas as pd
import vectorbt as vbt

import runvault as rv
from decorating import kept


def holding(prices, cash: int = 100):
    return vbt.Portfolio.from_holding(prices, init_cash=cash, freq="1D")


class Strategy:
    cash = 100

    @staticmethod
    @rv.record
    def inner(prices, cash: int = 101):
        return holding(prices, cash)

    @rv.record
    @staticmethod
    def outer(prices, cash: int = 102):
        return holding(prices, cash)

    @classmethod
    def of_class(cls, prices):
        return holding(prices, cls.cash)

    def method(self, prices):
        return holding(prices, self.cash)

    __call__ = method


class Rich(Strategy):
    cash = 900


@rv.record
@kept
def decorated(prices, cash: int = 103):
    return holding(prices, cash)


@rv.record
@functools.cache
def remembered(prices=None, cash: int = 104):
    return holding(pd.Series([1.0, 2.0, 3.0], pd.date_range("2020", periods=3)), cash)


partial = rv.record(functools.partial(holding, cash=105))
of_class = rv.record(Strategy.of_class)
of_rich = rv.record(Rich.of_class)
short = rv.record(lambda prices, cash=106: holding(prices, cash))


def by_place(prices, /):
    return holding(prices)


def many(prices, *cash):
    return holding(prices)
"""

DECORATING = """
import functools


def kept(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call
"""


@pytest.fixture
def shapes(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (here / "strategy.py").write_text(SHAPES)
    (here / "decorating.py").write_text(DECORATING)
    monkeypatch.syspath_prepend(str(here))
    importlib.invalidate_caches()
    yield importlib.import_module("strategy")
    sys.modules.pop("decorating")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("Strategy.inner", "strategy.py:Strategy.inner"),
        ("Strategy.outer", "strategy.py:Strategy.outer"),
        ("of_class", "strategy.py:Strategy.of_class"),
        ("decorated", "strategy.py:decorated"),
        ("remembered", "strategy.py:remembered"),
        ("partial", "strategy.py:holding"),
    ],
)
def test_what_has_a_name_in_a_file_is_recorded_and_replays(
    vault: rv.Vault, shapes: Any, here: Path, name: str, entry: str
) -> None:
    function = operator.attrgetter(name)(shapes)
    function() if name == "remembered" else function(close_of(here))

    run = function.saved.run
    assert run.manifest["recipe"]["entry"] == entry
    assert run.warnings == []
    assert vault.replay(run).verdict == "exact"


@pytest.mark.parametrize("name", ["short", "of_rich"])
def test_what_no_file_names_is_archived_with_a_warning(vault: rv.Vault, shapes: Any, here: Path, name: str) -> None:
    """A class method's name is that of the class that wrote it: there it would be called on another class."""
    function = getattr(shapes, name)
    function(close_of(here))

    assert "no replay can run it" in function.saved.run.warnings[-1]
    with pytest.raises(rv.ReplayError, match="without a recipe"):
        vault.replay(function.saved.run)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda shapes: shapes.Strategy.method, "is a method"),
        (lambda shapes: shapes.Strategy().method, "is a method"),
        (lambda shapes: vars(shapes.Strategy)["of_class"], "is a method"),
        (lambda shapes: shapes.Strategy(), "object of the class Strategy"),
        (lambda shapes: shapes.Strategy, "is a class"),
        (lambda shapes: shapes.by_place, "'prices' has no name"),
        (lambda shapes: shapes.many, "'cash' has no name"),
        (lambda _: "dual_sma", "a str, no function"),
    ],
)
def test_what_a_call_cannot_be_archived_of_is_refused_where_it_is_decorated(
    shapes: Any, make: Callable[[Any], Any], words: str
) -> None:
    with pytest.raises(rv.ConfigError, match=words) as caught:
        rv.record(make(shapes))
    assert caught.value.hint


def test_switched_off_a_decorated_method_is_called_as_it_is(
    shapes: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that was archived is imported by a replay, whatever stands beside the entry."""
    monkeypatch.setenv("RUNVAULT_DISABLED", "1")
    method = rv.record(shapes.Strategy.method)
    assert method(shapes.Rich(), close_of(here)).init_cash == 900

    monkeypatch.delenv("RUNVAULT_DISABLED")
    with pytest.raises(rv.ConfigError, match="is a method"):
        method(shapes.Rich(), close_of(here))


def test_a_method_is_no_entry(vault: rv.Vault, shapes: Any) -> None:
    with pytest.raises(rv.ConfigError, match=r"Strategy\.method is a method"):
        vault.run("strategy.py:Strategy.method", data={"prices": "data/prices.csv"})


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


def test_portfolios_of_several_threads_are_archived_all(vault: rv.Vault, here: Path) -> None:
    """While one thread is inside a constructor, another's is not called by it."""
    import vectorbt as vbt

    close = close_of(here)
    other = threading.Thread(target=lambda: vbt.Portfolio.from_holding(close, init_cash=200, freq="1D"))

    class Slow(pd.Series):
        def __getattribute__(self, name: str) -> Any:
            if name == "index" and other.ident is None:
                other.start()
                other.join()
            return super().__getattribute__(name)

    slow = Slow(close)
    with rv.autosave(strategy="threads") as saved:
        vbt.Portfolio.from_holding(slow, init_cash=100, freq="1D")

    assert [each.run.params["init_cash"] for each in saved] == [200, 100]


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
