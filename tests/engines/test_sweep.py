from __future__ import annotations

import functools
from typing import Any

import corpus
import numpy as np
import pandas as pd
import pytest
from comparing import assert_same_stats, stats_of

from runvault.engines.result import PortfolioTables, Sweep
from runvault.engines.vectorbt import columnwise
from runvault.engines.vectorbt.curves import equity_from_tables, equity_table, trades_from_tables, trades_table
from runvault.engines.vectorbt.extract import extract
from runvault.engines.vectorbt.matrix import statistics_to_table, table_to_statistics
from runvault.engines.vectorbt.parameters import parameters_of
from runvault.engines.vectorbt.pickles import load_pickle
from runvault.engines.vectorbt.rebuild import rebuild
from runvault.engines.vectorbt.statistics import statistics_to_series
from runvault.engines.vectorbt.sweep import extract_sweep
from runvault.errors import ConfigError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Object has multiple columns"),
    pytest.mark.filterwarnings("ignore:Metric '.*' requires frequency"),
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]

SWEEPS = ("crossing", "sweep", "sweep of long and short", "init_cash autoalign, two", "business days", "holding, gaps")
STEP = 3  # of the columns of the larger sweeps every third is looked at


def crossing(**options: Any) -> Any:
    """Cross two moving averages of two symbols, as in vectorbt's own documentation."""
    import vectorbt as vbt

    days = pd.date_range("2023-01-02", periods=90, freq="D", name="date")
    steps = np.random.default_rng(8).normal(0, 0.03, (90, 2))
    symbols = pd.Index(["AAPL", "GOOG"], name="symbol")
    close = pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=days, columns=symbols)
    fast, slow = vbt.MA.run_combs(close, window=[3, 5, 8], r=2, short_names=["fast", "slow"])
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    return vbt.Portfolio.from_signals(close, entries, exits, fees=0.001, freq="1D", **{"engine": "rust"} | options)


@functools.cache
def built(name: str) -> Any:
    if name == "crossing":
        return crossing()
    if name == "business days":
        return corpus.from_signals(corpus.prices(index=pd.date_range("2020-01-01", periods=40, freq="B", name="date")))
    return _named(corpus.BUILDERS[name]())


def _named(pf: Any) -> Any:
    columns = pf.wrapper.columns
    if columns.nlevels == 1 and columns.name is None:
        columns = columns.rename("symbol")
    return pf.replace(wrapper=pf.wrapper.replace(columns=columns))


@functools.cache
def swept(name: str) -> Sweep:
    return extract_sweep(built(name))


def test_parameters_are_the_names_and_values_of_the_levels_and_symbols_are_data() -> None:
    sweep = swept("crossing")

    assert [column.params for column in sweep.columns[:2]] == [{"fast_window": 3, "slow_window": 5}] * 2
    assert [column.window.symbols for column in sweep.columns] == [("AAPL",), ("GOOG",)] * 3
    assert {type(value) for column in sweep.columns for value in column.params.values()} == {int}
    assert [column.column for column in sweep.columns] == list(range(6))
    assert [column.data["prices"]["symbols"] for column in sweep.columns[:2]] == [["AAPL"], ["GOOG"]]
    assert len({column.data["prices"]["sha256"] for column in sweep.columns}) == 2


@pytest.mark.parametrize("name", SWEEPS)
def test_each_column_is_what_it_is_alone(name: str) -> None:
    sweep = swept(name)

    for column in sweep.columns[::STEP]:
        alone = extract(built(name).iloc[column.column])
        assert dict(column.metrics) == dict(alone.metrics)
        assert column.moments == alone.moments
        assert column.metric_definitions == alone.metric_definitions
        assert column.digest == alone.digest
        assert set(alone.warnings) <= set(column.warnings)
        assert (column.window.start, column.window.bars) == (alone.window.start, alone.window.bars)


@pytest.mark.parametrize("name", SWEEPS)
def test_statistics_of_each_column_are_those_of_its_own_stats(name: str) -> None:
    for column in swept(name).columns[::STEP]:
        archived = table_to_statistics(statistics_to_table(column.statistics))
        expected = stats_of(built(name).iloc[column.column])

        assert archived == list(column.statistics) or any(row.value != row.value for row in archived)  # NaN
        assert len(column.statistics) == len(archived)
        if not isinstance(expected, str):
            assert_same_stats(statistics_to_series(archived), expected)


@pytest.mark.parametrize("name", SWEEPS)
def test_equity_trades_and_portfolio_of_each_column_come_from_the_shared_tables(name: str) -> None:
    sweep = swept(name)

    for column in sweep.columns[::STEP]:
        tables = PortfolioTables(sweep.portfolio, sweep.tables, column.column)
        alone = built(name).iloc[column.column]
        pd.testing.assert_series_equal(rebuild(tables).value(), alone.value(), check_exact=True)
        for computed, engine in (
            (equity_from_tables(tables), equity_table(alone)),
            (trades_from_tables(tables), trades_table(alone)),
        ):
            for field, values in engine.columns.items():
                np.testing.assert_array_equal(computed.columns[field], values, err_msg=field)


def test_prices_and_orders_are_stored_once() -> None:
    sweep = swept("crossing")

    assert set(sweep.tables) == {"prices.parquet", "orders.parquet"}
    assert list(sweep.tables["prices.parquet"].columns) == ["index", "price_0", "price_1"]
    assert sweep.tables["orders.parquet"].n_rows == len(built("crossing").order_records)


def test_numbers_do_not_depend_on_where_blocks_of_columns_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = swept("crossing")
    monkeypatch.setattr(columnwise, "CELLS", 90 * 4)
    blocks = extract_sweep(built("crossing"))

    assert [column.digest for column in blocks.columns] == [column.digest for column in whole.columns]
    assert [column.metrics for column in blocks.columns] == [column.metrics for column in whole.columns]
    assert [column.moments for column in blocks.columns] == [column.moments for column in whole.columns]


def test_stats_are_asked_twice_a_block_and_never_once_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    import vectorbt as vbt

    asked: list[int] = []
    stats = vbt.Portfolio.stats

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        asked.append(self.wrapper.shape_2d[1])
        return stats(self, *args, **options)

    monkeypatch.setattr(vbt.Portfolio, "stats", counted)
    extract_sweep(crossing())
    assert asked == [6, 6]  # once for all, once for the mean durations in bars


def test_a_dump_holds_just_the_columns_asked_for() -> None:
    sweep, pf = swept("crossing"), built("crossing")
    assert sweep.dump is not None
    loaded = load_pickle(sweep.dump([4, 1]))

    assert list(loaded.wrapper.columns) == [pf.wrapper.columns[4], pf.wrapper.columns[1]]
    pd.testing.assert_frame_equal(loaded.value(), pf.value().iloc[:, [4, 1]])


def test_initial_cash_aligned_over_columns_is_each_columns_own() -> None:
    sweep = swept("init_cash autoalign, two")

    assert any("aligned" in warning for warning in sweep.columns[0].warnings)
    cash = [column.metrics["start_value"] for column in sweep.columns]
    assert cash == [float(built("init_cash autoalign, two").iloc[i].init_cash) for i in range(2)]


def test_only_the_column_that_lost_more_than_it_had_warns() -> None:
    import vectorbt as vbt

    days = pd.date_range("2024-01-01", periods=2, freq="D")
    close = pd.DataFrame([[10.0, 10.0], [31.0, 11.0]], index=days, columns=pd.Index([1, 2], name="risk"))
    pf = vbt.Portfolio.from_orders(close, np.array([[-10.0] * 2, [0.0] * 2]), init_cash=100.0, engine="rust")

    first, second = extract_sweep(pf).columns
    assert "equity went negative: max_drawdown is below -1" in first.warnings
    assert not any("negative" in warning for warning in second.warnings)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: crossing(group_by="fast_window"), "a grouped portfolio is no sweep"),
        (lambda: crossing(group_by="fast_window", cash_sharing=True), "a grouped portfolio is no sweep"),
        (lambda: crossing().iloc[0], "one column is no sweep"),
        (
            lambda: crossing().iloc[[0, 1, 0]],
            "columns 0 and 2 of the sweep are the same: fast_window=3, slow_window=5, AAPL",
        ),
        (lambda: object(), "not a vectorbt.Portfolio"),
    ],
)
def test_what_is_no_sweep_is_refused_by_name(make: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        extract_sweep(make())

    assert reason in str(error.value)


def test_records_outside_the_table_never_reach_compiled_code() -> None:
    pf = crossing()
    records = pf.order_records.copy()
    records["idx"] += 2_000_000

    with pytest.raises(ConfigError, match="nothing can be computed"):
        extract_sweep(pf.replace(order_records=records))


@pytest.mark.parametrize("name", ["a subclass", "changed metrics", "integer cash"])
def test_a_sweep_that_cannot_be_rebuilt_is_archived_and_says_so(name: str) -> None:
    build, _ = corpus.REFUSED[name]
    sweep = extract_sweep(build())

    assert not sweep.portfolio["rebuildable"]
    assert all(any("cannot be rebuilt" in warning for warning in column.warnings) for column in sweep.columns)


@pytest.mark.parametrize(
    "name", ["prices of objects", "prices of booleans", "complex prices", "records of another dtype", "a column below"]
)
def test_a_sweep_that_cannot_be_computed_is_refused(name: str) -> None:
    build, _ = corpus.REFUSED[name]

    with pytest.raises(ConfigError, match="nothing can be computed of this portfolio"):
        extract_sweep(build())


def test_what_the_engine_cannot_compute_is_undefined_in_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    import vectorbt as vbt

    def broken(self: Any, **_: Any) -> Any:
        raise FloatingPointError("no profit")

    pf = crossing()
    monkeypatch.setattr(vbt.Portfolio, "total_profit", broken)
    monkeypatch.setattr(vbt.Portfolio, "returns", broken)
    for column in extract_sweep(pf).columns:
        assert column.metrics["total_profit"] is None
        assert column.metrics["total_return"] is None
        assert column.metrics["total_trades"] is not None
        assert column.moments["mean"] is None
        assert "FloatingPointError: no profit" in column.warnings


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [
        ([(5, 1), (10, 1)], ["window", None], "level 1 of the sweep's columns has no name"),
        ([(5, 1), (10, 1)], ["window", "window"], "two levels of the sweep's columns are named 'window'"),
        ([(5, "A"), (5, "A")], ["window", "ticker"], "columns 0 and 1 of the sweep are the same: window=5, A"),
    ],
)
def test_columns_that_tell_no_parameters_apart_are_refused(labels: Any, names: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        parameters_of(pd.MultiIndex.from_tuples(labels, names=names))

    assert str(error.value).startswith(reason)
    assert error.value.hint


def test_a_sweep_over_symbols_alone_has_no_parameters() -> None:
    told = parameters_of(pd.Index(["AAPL", "GOOG"]))

    assert told.params == [{}, {}]
    assert told.symbols == ["AAPL", "GOOG"]
