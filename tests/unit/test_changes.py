import math

import numpy as np
import pytest

from runvault.model.changes import ABSENT, Change, code_change, diff_metrics, diff_values, drift_between, flatten
from runvault.model.closeness import verdict
from runvault.model.equity import equity_gap
from runvault.model.table import Table
from runvault.model.trades import match_trades


def test_the_kind_of_a_change_follows_from_its_values():
    assert [Change("x", *pair).kind for pair in [(ABSENT, None), (None, ABSENT), (None, 1)]] == [
        "added",
        "removed",
        "changed",
    ]
    assert Change("x", 10, 12.5).delta == 2.5
    assert [Change("x", *pair).delta for pair in [(ABSENT, 1), ("a", 1), (True, 2), (None, 1)]] == [None] * 4
    assert Change("x", ABSENT, 1).to_dict() == {"path": "x", "a": None, "b": 1}


def test_configs_are_compared_by_path():
    a = {"params": {"fast": 10, "stop": {"loss": 0.1}, "windows": [1, 2], "same": 3}, "settings": {}}
    b = {"params": {"fast": 20, "stop": {}, "windows": [1, 3], "same": 3.0}, "settings": {"fees": None}}
    assert diff_values(a, b) == [
        Change("params.fast", 10, 20),
        Change("params.stop", ABSENT, {}),
        Change("params.stop.loss", 0.1, ABSENT),
        Change("params.windows", [1, 2], [1, 3]),
        Change("settings", {}, ABSENT),
        Change("settings.fees", ABSENT, None),
    ]
    assert diff_values(a, a) == []


def test_true_is_not_one_inside_lists_either():
    assert diff_values({"x": [True]}, {"x": [1]}) == [Change("x", [True], [1])]
    assert diff_values({"x": [{"y": True}]}, {"x": [{"y": 1}]})
    assert not diff_values({"x": [{"y": (1, 2)}]}, {"x": [{"y": [1.0, 2]}]})


def test_flat_paths():
    assert flatten({"a b": {"c": 1}, "d": {}}, "params") == {'params."a b".c': 1, "params.d": {}}


def test_metrics_that_differ_come_in_the_order_of_the_registry():
    a = {"zeta": 1, "sharpe_ratio": 1.0, "total_return": 0.25, "win_rate": None, "end_value": 5.0}
    b = {"alpha": 2, "sharpe_ratio": None, "total_return": 0.5, "win_rate": None, "end_value": 5.0}
    assert diff_metrics(a, b) == [
        {"name": "total_return", "a": 0.25, "b": 0.5, "delta": 0.25},
        {"name": "sharpe_ratio", "a": 1.0, "b": None, "delta": None},
        {"name": "alpha", "a": None, "b": 2, "delta": None},
        {"name": "zeta", "a": 1, "b": None, "delta": None},
    ]


CLEAN = {"commit": "a" * 40, "base": None, "branch": "main", "dirty": False}


@pytest.mark.parametrize(
    ("a", "b", "changed"),
    [
        (CLEAN, CLEAN, False),
        (CLEAN, {**CLEAN, "commit": "b" * 40}, True),
        (CLEAN, {**CLEAN, "dirty": True}, None),  # the same commit, with changes that nobody recorded
        ({**CLEAN, "dirty": True, "base": "c" * 40}, {**CLEAN, "dirty": True, "base": "c" * 40}, False),
        (None, CLEAN, None),
    ],
)
def test_whether_code_changed(a, b, changed):
    assert code_change(a, b)["changed"] is changed


def orders(price=(10.0, 11.0), bar=(1, 5), column=0, **more):
    n = len(price)
    return Table(
        {
            "id": np.arange(n) + more.get("first_id", 0),
            "column": np.full(n, column),
            "bar": np.array(bar),
            "size": np.ones(n),
            "price": np.array(price),
            "fees": np.array([0.0] * n),
            "side": np.arange(n) % 2,
        }
    )


def equity(value=(100.0, 101.0, 102.0), time=(1, 2, 3), column=None):
    columns = {"time": np.array(time), "value": np.array(value, dtype=float)}
    return Table(columns if column is None else {**columns, "column": np.array(column)})


def bundle(order_table, equity_table=None):
    return {"orders.parquet": order_table, **({"equity.parquet": equity_table} if equity_table else {})}


METRICS = {"total_return": 0.5, "total_profit": 1e-7, "start_value": 100.0, "sharpe_ratio": None}


@pytest.mark.parametrize(
    ("old", "new", "metrics", "expected"),
    [
        (bundle(orders()), bundle(orders()), {}, "close"),
        (bundle(orders()), bundle(orders(price=(10.0, 11.0 * (1 + 1e-10)))), {}, "close"),
        (bundle(orders()), bundle(orders(price=(10.0, 11.0 * (1 + 1e-8)))), {}, "drift"),
        (bundle(orders()), bundle(orders(bar=(1, 6))), {}, "drift"),
        (bundle(orders()), bundle(orders(price=(10.0,), bar=(1,))), {}, "drift"),
        (bundle(orders()), bundle(orders(column=17, first_id=99)), {}, "close"),
        (bundle(orders(), equity()), bundle(orders(), equity()), {}, "close"),
        (bundle(orders(), equity()), bundle(orders(), equity(value=(100.0, 101.0, 103.0))), {}, "drift"),
        (bundle(orders(), equity()), bundle(orders(), equity(time=(1, 2, 4))), {}, "drift"),
        (bundle(orders(), equity()), bundle(orders()), {}, "close"),  # a sweep's run stores no curve
        ({}, bundle(orders()), {}, "drift"),
        ({}, {}, {}, "drift"),
        ({"equity.parquet": equity()}, {"equity.parquet": equity()}, {}, "close"),
        (bundle(orders()), bundle(orders()), {"total_return": 0.5 + 1e-12}, "close"),
        (bundle(orders()), bundle(orders()), {"total_return": 0.5 + 1e-6}, "drift"),
        (bundle(orders()), bundle(orders()), {"total_profit": 1.1e-7}, "close"),
        (bundle(orders()), bundle(orders()), {"sharpe_ratio": 1.0}, "drift"),
        (bundle(orders()), bundle(orders()), {"new_one": 1.0}, "drift"),
    ],
)
def test_rounding_and_drift(old, new, metrics, expected):
    assert verdict(old, new, METRICS, {**METRICS, **metrics}) == expected


@pytest.mark.parametrize(
    ("new", "metrics", "rtol", "expected"),
    [
        (bundle(orders(price=(10.0, 11.05)), equity()), {}, 0.01, "close"),
        (bundle(orders(price=(10.0, 11.05)), equity()), {}, 0.001, "drift"),
        (bundle(orders(), equity(value=(100.0, 101.0, 102.5))), {}, 0.01, "close"),
        (bundle(orders(), equity(value=(100.0, 101.0, 102.5))), {}, 0.001, "drift"),
        (bundle(orders(bar=(1, 6)), equity()), {}, 0.5, "drift"),  # another order, however near the numbers are
        (bundle(orders(price=(10.0,), bar=(1,)), equity()), {}, 0.5, "drift"),
        (bundle(orders(), equity()), {"total_return": 0.503}, 0.01, "close"),
        (bundle(orders(), equity()), {"total_return": 0.503}, 0.001, "drift"),
        (bundle(orders(), equity()), {"total_profit": 0.9}, 0.01, "drift"),  # a hundredth of the account, of no profit
        (bundle(orders(), equity()), {"total_return": 0.5 + 1e-12}, 0.0, "drift"),
    ],
)
def test_a_tolerance_is_about_all_values_of_the_same_orders(new, metrics, rtol, expected):
    old = bundle(orders(), equity())
    assert verdict(old, new, METRICS, {**METRICS, **metrics}, rtol) == expected


def test_an_order_at_another_time_is_drift_in_a_real_index_too():
    def timed(day):
        return {"orders.parquet": Table({"time": np.array([day, "NaT"], dtype="datetime64[ns]")})}

    assert verdict(timed("2024-01-01"), timed("2024-01-01"), {}, {}) == "close"
    assert verdict(timed("2024-01-01"), timed("2024-01-02"), {}, {}) == "drift"


def test_columns_count_where_there_are_several():
    def two(a, b):
        return {"orders.parquet": Table({"column": np.array([a, b]), "price": np.array([1.0, 1.0])})}

    assert verdict(two(0, 1), two(0, 1), {}, {}) == "close"
    assert verdict(two(0, 1), two(1, 0), {}, {}) == "drift"


def manifest(**changes):
    members = {
        "config": {"data": {"prices": {"sha256": "x"}}},
        "window": {"bars": 10},
        "artifacts": {"prices.parquet": {"sha256": "p"}},
        "metrics": {"total_trades": 3},
        "code": CLEAN,
        "environment": {"python": "3.11", "packages": {"vectorbt": "1.1"}},
    }
    return {**members, **changes}


def test_drift_names_what_moved_and_what_may_be_the_reason():
    new = manifest(
        metrics={"total_trades": 5},
        code={**CLEAN, "commit": "b" * 40},
        artifacts={"prices.parquet": {"sha256": "q"}},
        environment={"python": "3.11", "packages": {"vectorbt": "1.2"}},
    )
    tables = bundle(orders())
    drift = drift_between(manifest(), new, commit="c" * 40, previous_tables=tables, current_tables=tables)
    assert drift == {
        "previous": "c" * 40,
        "verdict": "drift",
        "metrics": [{"name": "total_trades", "a": 3, "b": 5, "delta": 2}],
        "code": {"changed": True, "a": CLEAN, "b": {**CLEAN, "commit": "b" * 40}},
        "data": [{"path": "prices.sha256", "a": "p", "b": "q"}],
        "environment": [{"path": "packages.vectorbt", "a": "1.1", "b": "1.2"}],
    }


def trades(rows, column=0, timed=False):
    """Return a table of trades, each (entry bar, exit bar, direction, profit)."""
    entry, leave, direction, pnl = (
        (np.array(values) for values in zip(*rows, strict=True)) if rows else [np.empty(0)] * 4
    )
    day = np.datetime64("2024-01-01", "ns")
    times = {"entry_time": day + entry.astype("m8[D]"), "exit_time": day + leave.astype("m8[D]")} if timed else {}
    return Table(
        {
            "id": np.arange(len(rows)),
            "column": np.full(len(rows), column),
            "entry_bar": entry,
            "exit_bar": leave,
            "direction": direction,
            "pnl": pnl.astype(float),
            **times,
        }
    )


def test_trades_are_matched_one_by_one():
    a = trades([(1, 5, 0, 1.0), (6, 8, 0, 2.0), (10, 12, 0, 3.0)])
    b = trades([(1, 5, 0, 1.0), (6, 9, 0, 2.5), (10, 12, 1, 3.0), (20, 21, 0, math.nan)])
    found = match_trades(a, b)
    assert (found.only_a, found.only_b, found.changed, found.same) == (1, 2, 1, 1)
    assert found.to_dict() == {"only_a": 1, "only_b": 2, "changed": 1, "same": 1}
    assert found.differ
    assert [row.fields for row in found.rows if row.kind == "changed"] == [("exit_bar", "pnl")]
    details = list(found.iter_details())
    assert [each["kind"] for each in details] == ["changed", "only_a", "only_b", "only_b"]
    assert (details[0]["a"]["exit_bar"], details[0]["b"]["exit_bar"]) == (8, 9)
    assert details[1]["b"] is None


def test_trades_of_one_bar_are_paired_in_their_order():
    rows = [(1, 2, 0, 1.0), (1, 3, 0, 2.0), (1, 4, 0, math.nan)]
    assert match_trades(trades(rows), trades(rows)).to_dict() == {"only_a": 0, "only_b": 0, "changed": 0, "same": 3}
    assert match_trades(trades(rows), trades(rows[:2])).only_a == 1


def test_a_sweeps_run_is_matched_with_one_saved_alone():
    rows = [(1, 2, 0, 1.0), (3, 4, 0, 2.0)]
    assert not match_trades(trades(rows, column=17), trades(rows)).differ


def test_time_counts_rather_than_the_bar():
    a, b = trades([(1, 5, 0, 1.0)], timed=True), trades([(1, 5, 0, 1.0)], timed=True)
    shifted = Table({**b.columns, "entry_bar": b.columns["entry_bar"] + 3, "exit_bar": b.columns["exit_bar"] + 3})
    assert match_trades(a, shifted).same == 1


def test_no_trades_at_all():
    assert match_trades(trades([]), trades([])).to_dict() == {"only_a": 0, "only_b": 0, "changed": 0, "same": 0}
    assert match_trades(trades([]), trades([(1, 2, 0, 1.0)])).only_b == 1
    assert not match_trades(trades([]), trades([])).differ


def test_the_last_bits_are_no_change():
    a, b = trades([(1, 2, 0, 3.0)]), trades([(1, 2, 0, 3.0 * (1 + 1e-12))])
    assert match_trades(a, b).same == 1


def test_equity_curves_over_common_times():
    gap = equity_gap(equity(), equity(value=(100.0, 99.0, 98.0)))
    assert gap["correlation"] == pytest.approx(-1.0, abs=1e-15)
    assert gap["max_abs_gap"] == 4.0
    assert equity_gap(equity(), equity()) == {"correlation": 1.0, "max_abs_gap": 0.0}


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        (equity(time=(7, 8, 9)), {"correlation": None, "max_abs_gap": None}),
        (equity(value=(5.0, 5.0, 5.0)), {"correlation": None, "max_abs_gap": 97.0}),
        (equity(value=(90.0,), time=(3,)), {"correlation": None, "max_abs_gap": 12.0}),
        (equity(value=(), time=()), {"correlation": None, "max_abs_gap": None}),
        (equity(value=(math.nan, 101.0, math.inf)), {"correlation": None, "max_abs_gap": 0.0}),
    ],
)
def test_what_is_undefined_between_curves_is_none(b, expected):
    assert equity_gap(equity(), b) == expected


def test_curves_of_times_and_of_numbers_have_nothing_in_common():
    dated = Table({"time": np.array(["2024-01-01"], dtype="M8[ns]"), "value": np.array([1.0])})
    assert equity_gap(dated, equity())["max_abs_gap"] is None


def test_the_columns_of_a_portfolio_are_added_up():
    both = equity(value=(60.0, 40.0, 61.0, 40.0, 62.0, 40.0), time=(1, 1, 2, 2, 3, 3), column=(0, 1, 0, 1, 0, 1))
    assert equity_gap(both, equity())["max_abs_gap"] == 0.0
