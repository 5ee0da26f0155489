import keyword
import math

import pytest

from runvault.model.metrics import (
    FORMAT_1_STATISTICS,
    METRICS,
    by_label,
    format_value,
    metric_of_label,
    name_of_label,
    sharpe_from_moments,
    sort_order,
    statistics_digest_lines,
    to_metric,
)


@pytest.mark.engine
@pytest.mark.filterwarnings("default")
def test_every_statistic_that_vectorbt_prints_is_registered():
    import vectorbt as vbt

    titles = [metric["title"] for metric in vbt.Portfolio._metrics.values()]
    assert len(titles) == 28
    assert [title for title in titles if by_label(title) is None] == []


def test_every_metric_is_described():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert name.isidentifier()
        assert not keyword.iskeyword(name)
        assert metric.direction in (-1, 0, 1)
        assert metric.definition
        assert metric.source
        assert name.endswith("_s") == (metric.unit == "duration")


def test_the_statistics_of_format_1_never_change():
    assert FORMAT_1_STATISTICS == (
        "avg_losing_trade",
        "avg_losing_trade_duration_bars",
        "avg_losing_trade_duration_s",
        "avg_winning_trade",
        "avg_winning_trade_duration_bars",
        "avg_winning_trade_duration_s",
        "benchmark_return",
        "best_trade",
        "calmar_ratio",
        "end_value",
        "expectancy",
        "losing_trades",
        "max_drawdown",
        "max_drawdown_duration_bars",
        "max_drawdown_duration_s",
        "max_gross_exposure",
        "omega_ratio",
        "open_trade_pnl",
        "period_bars",
        "period_s",
        "profit_factor",
        "sharpe_ratio",
        "sortino_ratio",
        "start_value",
        "total_closed_trades",
        "total_fees_paid",
        "total_open_trades",
        "total_profit",
        "total_return",
        "total_trades",
        "win_rate",
        "winning_trades",
        "worst_trade",
    )


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Total Return [%]", "total_return"),
        ("Avg Winning Trade [%]", "avg_winning_trade"),
        ("Max Drawdown Duration", "max_drawdown_duration_s"),
        ("My Ratio (v2) [x]", "my_ratio_v2"),
        ("95% VaR", "metric_95_var"),
        ("???", "metric"),
        ("Quote ﬁne", "quote_fine"),
    ],
)
def test_names_follow_from_labels(label, name):
    assert name_of_label(label) == name


def test_an_unknown_statistic_is_described_as_well_as_its_label_allows():
    assert metric_of_label("Hit Rate [%]", 12.0).unit == "fraction"
    assert metric_of_label("Bars Held", 12).unit == "count"
    assert metric_of_label("Skew", 0.1).unit == "ratio"
    assert to_metric(metric_of_label("Hit Rate [%]", 12.0), 12.0) == 0.12


def test_the_engines_units_become_the_archives():
    assert to_metric(METRICS["total_return"], 12.5) == 0.125
    assert to_metric(METRICS["max_drawdown"], 25.0) == -0.25
    assert math.copysign(1, to_metric(METRICS["max_drawdown"], 0.0) or 0.0) == 1
    trades = to_metric(METRICS["total_trades"], 9.0)
    assert (trades, type(trades)) == (9, int)
    assert to_metric(METRICS["total_trades"], 4.5) == 4.5  # the mean over columns
    assert to_metric(METRICS["start_value"], 100) == 100.0
    assert to_metric(by_label("Period", in_bars=True) or METRICS["start"], 300.0) == 300


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_undefined_is_none(value):
    assert to_metric(METRICS["profit_factor"], value) is None
    assert to_metric(METRICS["win_rate"], value) is None


def test_durations_are_cut_to_microseconds():
    duration = METRICS["avg_winning_trade_duration_s"]
    assert to_metric(duration, None, 86_400 * 10**9) == 86400.0
    assert to_metric(duration, None, 1_999) == 1e-6
    assert to_metric(duration, None, -1_999) == -1e-6
    assert to_metric(duration, None, None) is None


def test_digest_lines_have_one_spelling():
    lines = dict(
        line.split("=")
        for line in statistics_digest_lines(
            {
                "total_return": 1 / 3,
                "total_trades": 12,
                "end_value": 1e13,
                "win_rate": -0.0,
                "sharpe_ratio": math.nan,
                "period_s": 86400.0000005,
                "avg_losing_trade_duration_s": 1e-6,
                "my_own": 1.0,
            }
        )
    )
    assert list(lines) == list(FORMAT_1_STATISTICS)
    defined = {name: value for name, value in lines.items() if value != "null"}
    assert defined == {
        "total_return": "0.333333333333",
        "total_trades": "12",
        "end_value": "1e+13",
        "win_rate": "0",
        "period_s": "86400000000",
        "avg_losing_trade_duration_s": "1",
    }


def test_the_last_bit_does_not_reach_the_digest_but_another_definition_does():
    value = 0.93
    assert statistics_digest_lines({"sharpe_ratio": value}) == statistics_digest_lines(
        {"sharpe_ratio": math.nextafter(value, 1)}
    )
    assert statistics_digest_lines({"sharpe_ratio": value}) != statistics_digest_lines({"sharpe_ratio": value * 1.2})


def test_the_sharpe_ratio_from_moments():
    moments = {"n_periods": 504, "mean": 0.001, "std": 0.01}
    daily = sharpe_from_moments(moments, 252)
    assert daily == pytest.approx(0.1 * math.sqrt(252), rel=1e-15)
    assert sharpe_from_moments(moments, 504) == pytest.approx(daily * math.sqrt(2), rel=1e-15)
    assert sharpe_from_moments(moments, 252, risk_free=0.001) == 0.0


@pytest.mark.parametrize(
    "moments",
    [
        {},
        {"n_periods": 1, "mean": 0.1, "std": 0.1},
        {"n_periods": 9, "mean": 0.0, "std": 0.0},
        {"n_periods": 9, "mean": None, "std": 0.1},
        {"n_periods": 9, "mean": 0.1, "std": None},
    ],
)
def test_a_sharpe_ratio_that_is_undefined(moments):
    assert sharpe_from_moments(moments, 252) is None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("total_return", 0.123, "12.3 %"),
        ("max_drawdown", -1.5, "-150.0 %"),
        ("end_value", 10512.337, "10,512.34"),
        ("total_trades", 1200, "1,200"),
        ("total_trades", 4.5, "4.50"),
        ("sharpe_ratio", 0.931, "0.93"),
        ("period_s", 249 * 86400.0, "249d"),
        ("avg_winning_trade_duration_s", 12 * 86400.0 + 16 * 3600, "12d 16h"),
        ("avg_winning_trade_duration_s", 23.99 * 3600, "1d"),
        ("avg_winning_trade_duration_s", 5400.0, "1.5h"),
        ("avg_winning_trade_duration_s", 12.0, "12s"),
        ("unheard_of", 1.0, "1.00"),
        ("win_rate", None, "-"),
        ("win_rate", math.nan, "-"),
    ],
)
def test_values_for_people(name, value, text):
    assert format_value(name, value) == text


def test_the_best_come_first():
    assert [sort_order(name) for name in ("sharpe_ratio", "max_drawdown", "max_drawdown_duration_s", "unheard_of")] == [
        "-sharpe_ratio",
        "-max_drawdown",
        "max_drawdown_duration_s",
        "-unheard_of",
    ]


def test_nothing_heavy_is_imported():
    import subprocess
    import sys

    modules = "runvault.model.ids, runvault.model.metrics, runvault.model.changes, runvault.model.run_json"
    heavy = "{'numpy', 'pandas', 'pydantic', 'vectorbt', 'rfc8785', 'pygit2'}"
    code = f"import sys, {modules}, runvault.model.canonical; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
