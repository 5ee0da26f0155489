"""Numbers that are computed differently never stand in one table without a word, and can be put on one definition."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import pytest
from results import make_result

import runvault as rv


def result_with(periods_per_year: float, mean: float, total_return: float) -> Any:
    result = make_result(total_return)
    return replace(
        result,
        metric_definitions={**result.metric_definitions, "periods_per_year": periods_per_year},
        moments={**result.moments, "mean": mean},
    )


@pytest.fixture
def mixed(vault: rv.Vault) -> rv.Vault:
    vault.save(result_with(365, 0.001, 0.5), strategy="a")  # reads 1.0, and has the lower mean
    vault.save(result_with(252, 0.002, 0.1), strategy="b")  # reads 0.2
    return vault


def test_one_definition_for_all_comes_from_the_moments(mixed: rv.Vault) -> None:
    assert [run.strategy for run in mixed.best("sharpe_ratio")] == ["a", "b"]
    best = mixed.best("sharpe_ratio", periods_per_year=100)

    assert [run.strategy for run in best] == ["b", "a"]
    assert [run.metrics["sharpe_ratio"] for run in best] == pytest.approx([0.2 * sqrt(100), 0.1 * sqrt(100)])
    assert mixed.list(where="sharpe_ratio > 1.5", periods_per_year=100).total == 1
    assert mixed.list(where="sharpe_ratio > 1.5").total == 0


def test_twice_the_periods_are_root_two_of_the_ratio(mixed: rv.Vault) -> None:
    once, twice = (mixed.best(n=1, periods_per_year=n)[0].metrics["sharpe_ratio"] for n in (126, 252))
    assert twice == pytest.approx(once * sqrt(2))


def test_the_setting_is_the_default(mixed: rv.Vault, repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVAULT_PERIODS_PER_YEAR", "100")
    assert [run.strategy for run in rv.open(repo).best()] == ["b", "a"]
    monkeypatch.setenv("RUNVAULT_PERIODS_PER_YEAR", "many")
    with pytest.raises(rv.ConfigError, match="periodsPerYear"):
        rv.open(repo).best()


def test_a_table_that_mixes_definitions_says_so(
    mixed: rv.Vault, repo: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from runvault.cli.main import run

    monkeypatch.chdir(repo)
    assert run(["best"]) == 0
    assert "periods_per_year is 252 or 365" in capfd.readouterr().err
    assert run(["best", "--periods-per-year", "252"]) == 0
    assert "warning" not in capfd.readouterr().err
    assert run(["compare", "latest", "latest-1"]) == 0
    assert "periods_per_year is 252 or 365" in capfd.readouterr().err


def test_a_diff_says_that_definitions_differ(mixed: rv.Vault) -> None:
    found = mixed.diff("latest", "latest-1")

    assert [change["path"] for change in found.to_dict()["definitions"]] == ["periods_per_year"]
    assert "not defined alike" in str(found)


def test_only_metrics_that_depend_on_definitions_are_warned_of(
    mixed: rv.Vault, repo: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from runvault.cli.main import run

    monkeypatch.chdir(repo)
    assert run(["list", "--columns", "short_id,total_return"]) == 0
    assert "warning" not in capfd.readouterr().err


def test_a_run_reads_the_same_everywhere_on_the_configured_definition(
    mixed: rv.Vault, repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNVAULT_PERIODS_PER_YEAR", "100")
    vault = rv.open(repo)
    run = vault.list()[0]

    assert run.periods_per_year == 100
    assert vault.get(run.id).to_dict() == run.to_dict()
    assert vault.history(run.id)[0].metrics["sharpe_ratio"] == run.metrics["sharpe_ratio"]
