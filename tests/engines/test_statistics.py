from __future__ import annotations

import contextlib
import datetime
import functools
import json
import math
from collections.abc import Iterator
from typing import Any

import corpus
import numpy as np
import pandas as pd
import pytest
from comparing import assert_same_stats, stats_of, through_files

from runvault.engines.result import Statistic
from runvault.engines.vectorbt.matrix import statistics_to_table, table_to_statistics
from runvault.engines.vectorbt.moments import compute_moments
from runvault.engines.vectorbt.scalars import decode_label, encode_label
from runvault.engines.vectorbt.statistics import Summary, statistics_to_series, summarise
from runvault.errors import FormatError
from runvault.model.metrics import METRICS, metric_of_label, sharpe_from_moments, to_metric
from runvault.model.table import Table

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Object has multiple columns"),
    pytest.mark.filterwarnings("ignore:Metric '.*' requires frequency"),
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]

DAYS = pd.date_range("2024-01-01", periods=6, freq="D", name="date")
EXACT = (
    *("signals, one column", "signals, one column in a frame", "signals, six", "signals, gaps", "signals, unnamed"),
    *("signals, tz-aware intraday", "signals, in three groups", "signals, sharing cash", "signals with numba"),
    *("orders, sharing cash in two groups", "holding, two", "random signals, two", "order function, one column"),
    *("signals with no trade", "shortonly orders, gaps", "trades as entrytrades", "trades as positions"),
    *("index B, freq given", "index 100ms", "hours in London of pytz", "hours in fixed offset", "index in s"),
    *("index of range, one column", "index of integers", "index of text, one column", "index of floats, one column"),
    *(
        "index of periods, one column",
        "index of timedeltas",
        "index of levels, one column",
        "index of days with a hole",
    ),
    *("columns of times", "columns of the same label twice", "columns of levels", "grouped by levels", "sweep"),
    *(
        "init_cash infinite",
        "init_cash auto, two",
        "gaps unfilled",
        "selected a column",
        "selected group, sharing True",
    ),
)


@functools.cache
def summary_of(name: str) -> Summary:
    return summarise(corpus.BUILDERS[name]())


def bought_and_sold(prices: list[float], orders: list[float], index: pd.Index = DAYS, **options: Any) -> Any:
    import vectorbt as vbt

    close = pd.Series(prices, index=index[: len(prices)], name="close", dtype=float)
    return vbt.Portfolio.from_orders(
        close, np.array(orders, dtype=float), **{"engine": "rust", "init_cash": 100.0} | options
    )


@pytest.mark.parametrize("name", EXACT)
def test_archived_statistics_are_those_of_stats_with_their_types(name: str) -> None:
    table = through_files({}, {"stats.parquet": statistics_to_table(summary_of(name).statistics)})
    archived = table_to_statistics(table.tables["stats.parquet"])

    assert_same_stats(statistics_to_series(archived), stats_of(corpus.BUILDERS[name]()))


@pytest.mark.parametrize("name", ["signals, six", "signals, in three groups", "index of range", "columns of floats"])
def test_each_column_or_group_keeps_its_own_statistics(name: str) -> None:
    pf = corpus.BUILDERS[name]()
    archived = table_to_statistics(statistics_to_table(summary_of(name).statistics))

    labels = list(stats_of(pf, agg_func=None).index)
    assert len(labels) > 1
    for label in labels:
        assert_same_stats(statistics_to_series(archived, str(label)), stats_of(pf, column=label))


def test_metrics_of_a_portfolio_worked_by_hand() -> None:
    # 5 bought at 10, sold at 12: +10; 4 bought at 11, sold at 10: -4; 1 bought at 20, worth 25: +5 and still open.
    told = summarise(bought_and_sold([10, 12, 11, 10, 20, 25], [5, -5, 4, -4, 1, 0]))

    expected = {
        "period_s": 6 * 86400,
        "start_value": 100,
        "end_value": 111,
        "total_profit": 11,
        "total_return": 0.11,
        "benchmark_return": 1.5,
        "total_fees_paid": 0,
        "max_drawdown": -4 / 110,  # from 110 on the second day to 106 on the fourth
        "max_drawdown_duration_s": 2 * 86400,  # below the peak at two closes
        "total_trades": 3,
        "total_closed_trades": 2,
        "total_open_trades": 1,
        "winning_trades": 1,
        "losing_trades": 1,
        "open_trade_pnl": 5,
        "win_rate": 0.5,
        "best_trade": 0.2,
        "worst_trade": -1 / 11,
        "avg_winning_trade": 0.2,
        "avg_losing_trade": -1 / 11,
        "avg_winning_trade_duration_s": 86400,
        "avg_losing_trade_duration_s": 86400,
        "profit_factor": 2.5,
        "expectancy": 3,
    }
    assert {name: told.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert told.warnings == ()


def test_counts_are_integers_and_durations_are_seconds() -> None:
    metrics = summarise(bought_and_sold([10, 12, 11, 10, 20, 25], [5, -5, 4, -4, 1, 0])).metrics

    assert {name for name, value in metrics.items() if type(value) is int} == {
        "total_trades",
        "total_closed_trades",
        "total_open_trades",
        "winning_trades",
        "losing_trades",
    }
    assert not {"start", "end"} & set(metrics)
    assert set(metrics) <= set(METRICS)


@pytest.mark.parametrize("name", EXACT)
def test_metrics_are_the_archived_statistics_in_units_of_the_manifest(name: str) -> None:
    told = summary_of(name)

    metrics = dict(told.metrics)
    for row in (row for row in told.statistics if row.column is None and row.name in metrics):
        metric = metric_of_label(row.label, row.value, in_bars=row.name.endswith("_bars"))
        expected = to_metric(metric, row.value, row.value_ns)
        assert metrics[row.name] == expected, row
        assert type(metrics[row.name]) is type(expected), row
    json.dumps(metrics, allow_nan=False)


def test_what_is_undefined_is_null_in_the_manifest_and_itself_in_the_table() -> None:
    told = summarise(bought_and_sold([10, 12, 11], [0, 0, 0]))

    rows = {row.name: row for row in told.statistics}
    assert told.metrics["win_rate"] is None
    assert told.metrics["max_drawdown"] is None
    assert told.metrics["avg_winning_trade_duration_s"] is None
    assert told.metrics["sharpe_ratio"] is None
    assert math.isnan(rows["win_rate"].value)  # type: ignore[arg-type]
    assert rows["sharpe_ratio"].value == math.inf
    assert rows["avg_winning_trade_duration_s"].value_ns is None
    assert told.metrics["total_trades"] == 0
    assert told.metrics["total_return"] == 0.0


@pytest.mark.parametrize("name", ["index B", "index W", "index MS", "index QE", "index B, freq given"])
def test_a_portfolio_whose_stats_raise_is_summarised_as_far_as_it_goes(name: str) -> None:
    told = summary_of(name)
    pf = corpus.BUILDERS[name]()

    ratios = ("sharpe_ratio", "calmar_ratio", "omega_ratio", "sortino_ratio")
    raises = isinstance(stats_of(pf), str)
    assert raises == (name != "index B, freq given")
    assert all((told.metrics[ratio] is None) == raises for ratio in ratios)
    assert (told.metrics["period_s"] is None) == raises
    assert any("freq=" in warning for warning in told.warnings) == raises
    assert told.metrics.get("period_bars") == (len(pf.wrapper.index) if raises else None)
    assert told.metrics["total_return"] is not None
    assert told.moments.keys() >= {"mean", "std"}
    assert statistics_to_series(told.statistics)["Start"] == pf.wrapper.index[0]
    assert told.metric_definitions["periods_per_year"] == (None if raises else 365.0)


def test_an_index_without_frequency_leaves_ratios_undefined_and_counts_bars() -> None:
    told = summarise(bought_and_sold([10, 12, 11, 9], [5, 0, 0, 0], pd.RangeIndex(4)))

    assert told.metrics["sharpe_ratio"] is None
    assert told.metrics["max_drawdown_duration_s"] is None
    assert told.metrics["max_drawdown_duration_bars"] == 2  # the last two closes are below the peak
    assert len(told.warnings) == 1
    assert "sharpe_ratio, calmar_ratio, omega_ratio, sortino_ratio" in told.warnings[0]


def test_metrics_of_several_columns_are_means_and_the_manifest_says_so() -> None:
    pf = corpus.BUILDERS["signals, six"]()
    told = summary_of("signals, six")

    own = [summarise(pf.iloc[i]).metrics for i in range(6)]
    assert told.warnings[0].startswith("metrics are means over 6 columns")
    for name in ("total_return", "win_rate", "total_profit", "winning_trades"):
        mean = np.mean([metrics[name] for metrics in own])
        assert told.metrics[name] == pytest.approx(mean, rel=1e-12)
    assert told.moments["mean"] is None
    assert told.moments["n_periods"] == len(pf.wrapper.index)


def test_equity_below_zero_is_warned_of() -> None:
    # 10 sold short at 10: 100 of cash and 100 owed; at 31 that is 110 in debt.
    told = summarise(bought_and_sold([10, 31], [-10, 0]))

    assert told.metrics["max_drawdown"] == pytest.approx(-2.1)
    assert told.warnings == ("equity went negative: max_drawdown is below -1",)


def test_a_metric_that_raises_costs_itself_alone() -> None:
    pf = bought_and_sold([10, 12, 11], [5, -5, 0])
    pf.metrics["broken"] = {"title": "Broken", "calc_func": lambda: 1 / 0}
    told = summarise(pf)

    assert told.metrics["total_return"] == pytest.approx(0.1)
    assert told.metrics["broken"] is None
    assert told.warnings == ("stats() raised ZeroDivisionError: division by zero; undefined: broken",)


def test_a_metric_of_ones_own_is_archived_under_its_label() -> None:
    pf = bought_and_sold([10, 12, 11], [5, -5, 0])
    pf.metrics["mood"] = {"title": "Mood", "calc_func": lambda: "calm"}
    pf.metrics["share"] = {"title": "Days Long [%]", "calc_func": lambda: 50.0}
    told = summarise(pf)

    assert told.metrics["days_long"] == 0.5
    assert "mood" not in told.metrics or told.metrics["mood"] is None
    series = statistics_to_series(told.statistics)
    assert series["Mood"] == "calm"
    assert series["Days Long [%]"] == 50.0


@contextlib.contextmanager
def setting(path: list[str], value: Any) -> Iterator[None]:
    import vectorbt as vbt

    node = functools.reduce(lambda node, key: node[key], path[:-1], vbt.settings)
    old = node[path[-1]]
    node[path[-1]] = value
    try:
        yield
    finally:
        node[path[-1]] = old


def test_definitions_say_what_the_ratios_depend_on() -> None:
    import vectorbt as vbt

    plain = summarise(bought_and_sold([10, 12, 11, 10], [5, 0, 0, 0]))
    with setting(["returns", "year_freq"], "252 days"), setting(["returns", "defaults", "risk_free"], 0.001):
        other = summarise(bought_and_sold([10, 12, 11, 10], [5, 0, 0, 0]))

    assert plain.metric_definitions == {
        "engine": "vectorbt",
        "version": vbt.__version__,
        "periods_per_year": 365.0,
        "risk_free": 0.0,
        "ddof": 1,
    }
    assert other.metric_definitions == {**plain.metric_definitions, "periods_per_year": 252.0, "risk_free": 0.001}
    assert other.moments == plain.moments


@pytest.mark.parametrize("name", ["signals, one column", "orders, one column", "signals, grouped", "index 5min"])
def test_moments_give_the_engines_own_sharpe_ratio(name: str) -> None:
    pf = corpus.BUILDERS[name]()
    one = pf if pf.wrapper.get_ndim() == 1 else pf.iloc[0]
    told = summarise(one)

    periods_per_year = told.metric_definitions["periods_per_year"]
    assert sharpe_from_moments(told.moments, periods_per_year) == pytest.approx(told.metrics["sharpe_ratio"], rel=1e-10)
    doubled = sharpe_from_moments(told.moments, 2 * periods_per_year)
    assert doubled == pytest.approx(math.sqrt(2) * told.metrics["sharpe_ratio"], rel=1e-10)  # type: ignore[operator]


def test_moments_worked_by_hand() -> None:
    # Gaps -1, -1, 2 from the mean of 1: m2 = 2, m3 = 2, m4 = 6
    (moments,) = compute_moments(np.array([[0.0], [0.0], [3.0]]))

    assert moments == {
        "n_periods": 3,
        "mean": 1.0,
        "std": math.sqrt(3),
        "skew": pytest.approx(2 / 2**1.5, rel=1e-15),
        "kurtosis": 1.5,
        "autocorrelation": None,  # the two returns before another never vary
    }


def test_moments_agree_with_pandas_and_leave_gaps_out() -> None:
    rng = np.random.default_rng(3)
    returns = rng.normal(0, 0.01, (200, 3))
    returns[rng.random((200, 3)) < 0.1] = np.nan
    for column, moments in enumerate(compute_moments(returns)):
        series = pd.Series(returns[:, column])
        assert moments["n_periods"] == series.count()
        assert moments["mean"] == pytest.approx(series.mean(), rel=1e-12)
        assert moments["std"] == pytest.approx(series.std(), rel=1e-12)
        known = series.dropna().to_numpy()
        standard = (known - known.mean()) / known.std()
        assert moments["skew"] == pytest.approx((standard**3).mean(), rel=1e-12)
        assert moments["kurtosis"] == pytest.approx((standard**4).mean(), rel=1e-12)
        assert moments["autocorrelation"] == pytest.approx(series.autocorr(), rel=1e-9)


@pytest.mark.parametrize(
    ("returns", "defined"),
    [
        ([], {"n_periods"}),
        ([0.1], {"n_periods", "mean"}),
        ([0.001] * 50, {"n_periods", "mean", "std"}),
        ([math.nan] * 3, {"n_periods"}),
        ([0.1, math.inf, 0.2], {"n_periods"}),
    ],
)
def test_moments_of_too_little_are_undefined(returns: list[float], defined: set[str]) -> None:
    (moments,) = compute_moments(np.array(returns).reshape(-1, 1))

    assert {name for name, value in moments.items() if value is not None} == defined
    if "std" in defined:
        assert moments["std"] == 0.0


def test_moments_of_a_column_do_not_depend_on_its_neighbours() -> None:
    returns = np.asfortranarray(np.random.default_rng(4).normal(0, 0.01, (333, 300)))

    together = compute_moments(returns)
    assert together[271] == compute_moments(returns[:, 271:272])[0]


@pytest.mark.parametrize(
    "label",
    [
        *(
            None,
            True,
            5,
            2.5,
            math.inf,
            "",
            "AAPL",
            "ü\n\u202e",
            "\ud800",
            np.int64(5),
            np.float32(0.5),
            np.bool_(True),
        ),
        *(("GOOG", np.int64(5), (1.5, None)), datetime.date(2024, 1, 2), pd.Period("2024-03", "M"), pd.Timedelta("1h")),
        *(pd.Timestamp("2024-01-01 12:00"), pd.Timestamp("2024-01-01", tz="UTC")),
    ],
    ids=repr,
)
def test_labels_come_back_with_their_type(label: object) -> None:
    back = decode_label(encode_label(label))

    assert type(back) is type(label)
    assert back == label


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"object": 1, "b": 2}', '{"datetime64[s]": 5}', '{"int64": "x"}', "[" * 9999]
)
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        decode_label(text)


def test_a_table_of_statistics_that_is_none_is_refused() -> None:
    row = Statistic(None, "total_return", "Total Return [%]", "%", 5.0)
    table = statistics_to_table([row])

    assert table_to_statistics(table) == [row]
    with pytest.raises(FormatError, match="label"):
        table_to_statistics(Table({name: values for name, values in table.columns.items() if name != "label"}))
    with pytest.raises(FormatError, match="name"):
        table_to_statistics(Table({**table.columns, "name": np.array([None], dtype=object)}))
