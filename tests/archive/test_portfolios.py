"""Portfolios of vectorbt through the whole archive: equal when they come back, each column of a sweep its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import runvault as rv

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def close() -> pd.Series:
    steps = np.random.default_rng(7).normal(0.0005, 0.02, 300)
    index = pd.date_range("2020-01-01", periods=300, freq="D", name="date")
    return pd.Series(100 * np.exp(np.cumsum(steps)), index=index, name="GOOG")


def crossover(close: pd.Series, fast: Any, slow: Any, **settings: Any) -> Any:
    import vectorbt as vbt

    first, second = vbt.MA.run(close, fast, short_name="fast"), vbt.MA.run(close, slow, short_name="slow")
    entries, exits = first.ma_crossed_above(second), first.ma_crossed_below(second)
    return vbt.Portfolio.from_signals(close, entries, exits, freq="1D", **settings)


def test_a_portfolio_comes_back_equal(vault: rv.Vault, close: pd.Series) -> None:
    pf = crossover(close, 5, 20, init_cash=1_000.0, fees=0.001)
    run = vault.get(vault.save(pf, strategy="dual_sma", params={"fast": 5, "slow": 20}).id)
    rebuilt = run.portfolio()

    pd.testing.assert_series_equal(run.stats(), pf.stats(), check_exact=True)
    pd.testing.assert_series_equal(rebuilt.stats(), pf.stats(), check_exact=True)
    assert rebuilt == pf
    np.testing.assert_array_equal(rebuilt.value().to_numpy(), pf.value().to_numpy())
    np.testing.assert_array_equal(run.equity()["value"].to_numpy(), pf.value().to_numpy())
    assert len(run.trades()) == pf.trades.count()
    assert run.metrics["total_return"] == pf.stats()["Total Return [%]"] / 100
    assert run.metrics["max_drawdown"] == -pf.stats()["Max Drawdown [%]"] / 100


def test_stats_before_saving_do_not_change_the_result(vault: rv.Vault, close: pd.Series) -> None:
    first = crossover(close, 5, 20)
    first.stats()
    second = crossover(close, 5, 20)

    assert vault.save(first, strategy="s").created
    assert not vault.save(second, strategy="s").created


def test_each_column_of_a_sweep_is_its_own(vault: rv.Vault, close: pd.Series) -> None:
    pf = crossover(close, [5, 10, 15], [30, 40, 50])
    saved = vault.save_sweep(pf, strategy="sweep", params={"market": "us"})

    assert [each.run.params for each in saved] == [
        {"fast_window": fast, "slow_window": slow, "market": "us"} for fast, slow in [(5, 30), (10, 40), (15, 50)]
    ]
    for place, column in enumerate(pf.wrapper.columns):
        run, alone = saved[place].run, pf[column]
        pd.testing.assert_series_equal(run.stats(), alone.stats(), check_exact=True)
        pd.testing.assert_series_equal(run.portfolio().stats(), alone.stats(), check_exact=True)
        np.testing.assert_array_equal(run.equity()["value"].to_numpy(), alone.value().to_numpy())
        np.testing.assert_array_equal(run.trades()["pnl"].to_numpy(), alone.trades.records["pnl"].to_numpy())


def test_a_sweep_never_takes_a_portfolio_apart_column_by_column(
    vault: rv.Vault, close: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vectorbt as vbt

    pf = crossover(close, list(range(2, 22)), list(range(30, 50)))
    taken = []
    indexing = vbt.Portfolio.indexing_func
    monkeypatch.setattr(
        vbt.Portfolio, "indexing_func", lambda self, *args, **kw: taken.append(1) or indexing(self, *args, **kw)
    )
    vault.save_sweep(pf, strategy="sweep")

    assert len(taken) <= 1  # one slice for one pickle of 20 columns


def test_a_grouped_portfolio_and_one_of_several_columns_are_one_run(vault: rv.Vault, close: pd.Series) -> None:
    import vectorbt as vbt

    prices = pd.DataFrame({"AAPL": close, "GOOG": close[::-1].to_numpy()})
    apart = vbt.Portfolio.from_holding(prices, freq="1D")
    grouped = vbt.Portfolio.from_holding(prices, freq="1D", group_by=True, cash_sharing=True, init_cash=100.0)

    run = vault.save(apart, strategy="hold").run
    assert run.symbols == ["AAPL", "GOOG"]
    assert any("mean" in warning for warning in run.manifest["warnings"])
    assert set(run.stats().index) == set(grouped.stats().index)
    shared = vault.save(grouped, strategy="hold", settings={"cash_sharing": True}).run
    pd.testing.assert_series_equal(shared.stats(), grouped.stats(), check_exact=True)
    assert shared.portfolio() == grouped


def test_a_portfolio_that_cannot_be_rebuilt_is_archived_and_says_so(vault: rv.Vault, close: pd.Series) -> None:
    import vectorbt as vbt

    class Mine(vbt.Portfolio):
        pass

    run = vault.save(Mine.from_holding(close, freq="1D"), strategy="mine").run
    assert run.manifest["portfolio"]["rebuildable"] is False
    assert any("rebuilt" in warning for warning in run.manifest["warnings"])
    with pytest.raises(rv.FormatError, match="subclass"):
        run.portfolio()


def test_a_pickle_is_loaded_on_the_users_word_alone(vault: rv.Vault, close: pd.Series) -> None:
    pf = crossover(close, 5, 20)
    run = vault.save(pf, strategy="s").run

    with pytest.raises(rv.UntrustedPickleError) as caught:
        run.portfolio(pickle=True)
    sha256 = run.artifacts["portfolio.pkl"]["sha256"]
    assert sha256 in str(caught.value.hint)
    assert run.portfolio(pickle=True, trust=sha256) == pf


def test_a_portfolio_saves_itself(
    repo: Path, vault: rv.Vault, close: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    rv.extend_vectorbt()
    saved = crossover(close, 5, 20).save_to_vault(strategy="s", params={"fast": 5})

    assert saved.run.params == {"fast": 5}


def test_no_trade_leaves_metrics_undefined(vault: rv.Vault, close: pd.Series) -> None:
    import vectorbt as vbt

    never = pd.Series(False, index=close.index)
    run = vault.save(vbt.Portfolio.from_signals(close, never, never, freq="1D"), strategy="idle").run

    assert run.metrics["total_trades"] == 0
    assert run.metrics["win_rate"] is None
    assert run.trades().empty


def test_the_command_line_saves_a_portfolio_from_its_pickle(
    repo: Path, vault: rv.Vault, close: pd.Series, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import json

    from runvault.cli.main import run

    monkeypatch.chdir(repo)
    crossover(close, 5, 20).save("pf.pkl")
    close.to_frame().to_csv("prices.csv")
    args = ["save", "pf.pkl", "--strategy", "dual_sma", "--param", "fast=5", "--param", "kind=sma", "--json"]
    assert (
        run([*args, "--setting", "fees=0.0", "--data", "prices.csv", "--seed", "3", "--tag", "t", "--note", "n"]) == 0
    )
    document = json.loads(capfd.readouterr().out)

    assert set(document) == {"run", "created", "drift"}
    assert (document["created"], document["drift"]) == (True, None)
    assert document["run"]["params"] == {"fast": 5, "kind": "sma"}
    assert document["run"]["settings"] == {"fees": 0.0}
    assert (document["run"]["seed"], document["run"]["tags"], document["run"]["note"]) == (3, ["t"], "n")
    assert document["run"]["data"]["prices"]["start"] == "2020-01-01"


def test_a_run_shows_itself_in_a_notebook(vault: rv.Vault, close: pd.Series) -> None:
    run = vault.save(crossover(close, 5, 20), strategy="<b>", params={"fast": 5}).run

    assert "&lt;b&gt;" in run._repr_html_()
    assert "sharpe_ratio" in vault.list()._repr_html_()
