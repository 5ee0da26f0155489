from __future__ import annotations

import copy
import functools
import importlib.metadata
import json
from typing import Any

import corpus
import numpy as np
import pandas as pd
import pytest
from comparing import assert_same_portfolio, assert_same_records, assert_same_stats, stats_of, through_files

from runvault.engines.result import PortfolioTables
from runvault.errors import FormatError, RunvaultError, SchemaTooNewError
from runvault.model.table import Table

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Object has multiple columns"),
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]

SWEEP_COLUMNS = {
    "sweep": (0, 7, 29),
    "sweep of long and short": (0, 29),
    "sweep grouped by symbol pairs": (0, 9),
    "sweep sharing cash": (0, 9),
    "signals, six": (0, 5),
    "columns of 120 levels": (0, 119),
    "columns of the same label twice": (0, 1, 2),
    "orders, sharing cash in two groups": (0, 1),
    "signals, calls": (0,),
    "signals, sharing cash": (0,),
    "signals with logs": (0,),
    "signals, logs": (0, 1),
    "orders with calls without sharing": (0, 1),
    "selected columns turned": (0, 1),
    "selected columns of calls": (0, 2),
    "signals, one column": (0,),
    "signals, one column in a frame": (0,),
    "prices of float32": (1,),
    "shared prices, mixed": (0, 4),
    "init_cash auto, two": (1,),
    "index of long levels": (1,),
}


@functools.cache
def built(name: str) -> Any:
    return corpus.BUILDERS[name]()


@functools.cache
def stored(name: str) -> Any:
    from runvault.engines.vectorbt.inputs import read_inputs

    return read_inputs(built(name))


def rebuilt(portfolio: Any, tables: Any, column: int | None = None) -> Any:
    from runvault.engines.vectorbt.rebuild import rebuild

    return rebuild(through_files(portfolio, tables, column))


def rebuilt_by_name(name: str, column: int | None = None) -> Any:
    return rebuilt(stored(name).portfolio, stored(name).tables, column)


def test_the_corpus_has_every_shape():
    assert len(corpus.BUILDERS) >= 300
    assert len(corpus.FREQUENCIES) >= 27
    assert len(corpus.ZONES) == 12


@pytest.mark.parametrize("name", corpus.BUILDERS)
def test_a_portfolio_is_rebuilt_equal(name):
    assert stored(name).reason is None
    assert_same_portfolio(built(name), rebuilt_by_name(name))


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name, all_ in SWEEP_COLUMNS.items() for column in all_]
)
def test_one_column_of_a_sweep_is_rebuilt_as_vectorbt_selects_it(name, column):
    pf = built(name)
    grouped = pf.wrapper.get_ndim() == 1
    assert_same_portfolio(pf if grouped else pf.iloc[column], rebuilt_by_name(name, column))


@pytest.mark.parametrize("name", corpus.REFUSED)
def test_what_cannot_be_rebuilt_is_named_when_saved_and_when_asked_for(name):
    from runvault.engines.vectorbt.inputs import read_inputs

    build, reason = corpus.REFUSED[name]
    inputs = read_inputs(build())
    assert inputs.portfolio["rebuildable"] is False
    assert reason in inputs.portfolio["reason"]
    with pytest.raises(RunvaultError, match=r"cannot be rebuilt: .*"):
        rebuilt(inputs.portfolio, inputs.tables)
    # Parquet cannot be rebuilt from, but prices or orders are still there for whoever reads the archive
    assert {"prices.parquet", "orders.parquet"} & inputs.tables.keys()


def test_no_bars_are_refused():
    from runvault.engines.vectorbt.inputs import read_inputs

    pf = built("signals, one column")
    none = corpus.direct(
        pf,
        wrapper=pf.wrapper.replace(index=pf.wrapper.index[:0]),
        close=pf.close.iloc[:0],
        order_records=pf.order_records[:0],
    )
    assert read_inputs(none).portfolio["reason"] == "no bars"


def test_the_member_is_small_and_leaves_defaults_out():
    assert stored("signals with engine unnamed").portfolio == {
        "format": "vbt-portfolio/1",
        "vectorbt": importlib.metadata.version("vectorbt"),
        "shape": [60, 2],
        "rebuildable": True,
        "index": {"kind": "datetime", "unit": "us", "freq": "D"},
        "columns": {"kind": "str", "storage": "pyarrow", "values": [["A", "B"]]},
        "init_cash": {"each": 100.0, "n": 2},
        "settings": {
            "freq": "1 days",
            "year_freq": "365 days",
            "risk_free": 0.0,
            "fillna_close": True,
            "trades_type": 1,
            "engine": "rust",
        },
    }
    for name in ("sweep", "columns of 120 levels", "columns of 120 labels", "index of long levels"):
        assert len(json.dumps(stored(name).portfolio)) < 1500, name


def test_a_price_series_that_columns_share_is_stored_once():
    expected = {
        "sweep": {"tile": 3},
        "shared prices, tiled": {"tile": 2},
        "shared prices, repeated": {"repeat": 2},
        "shared prices, mixed": {"values": [0, 1, 1, 0, 0]},
        "signals, two": None,
    }
    for name, price_of in expected.items():
        assert stored(name).portfolio.get("price_of") == price_of
    assert [n for n in stored("sweep").tables["prices.parquet"].columns if n.startswith("price_")] == [
        "price_0",
        "price_1",
        "price_2",
    ]


def test_orders_are_the_records_field_by_field():
    pf, table = built("signals, two"), stored("signals, two").tables["orders.parquet"]
    assert list(table.columns) == ["id", "column", "bar", "time", "size", "price", "fees", "side"]
    readable = pf.orders.records
    for name, field in {
        "id": "id",
        "column": "col",
        "bar": "idx",
        "size": "size",
        "price": "price",
        "side": "side",
    }.items():
        np.testing.assert_array_equal(table.columns[name], readable[field])
    np.testing.assert_array_equal(table.columns["time"], pf.wrapper.index[readable["idx"]].to_numpy())


def test_records_in_bar_order_are_stored_by_column_and_restored_by_id():
    pf, table = built("signals, sharing cash"), stored("signals, sharing cash").tables["orders.parquet"]
    assert np.any(np.diff(pf.order_records["col"]) < 0)
    assert np.all(np.diff(table.columns["column"]) >= 0)
    assert "position" not in table.columns
    assert_same_records(rebuilt_by_name("signals, sharing cash").order_records, pf.order_records)


def test_records_whose_ids_do_not_rise_keep_a_position():
    assert "position" in stored("selected columns turned").tables["orders.parquet"].columns


def test_records_come_back_contiguous():
    records = rebuilt_by_name("sweep", 3).order_records
    assert records.flags.c_contiguous


def test_string_storage_is_part_of_the_labels():
    for storage in ("python", "pyarrow"):
        back = rebuilt_by_name(f"columns of {storage} text")
        assert back.wrapper.columns.dtype.storage == storage


def test_cash_of_python_and_of_numpy_stay_apart():
    assert type(rebuilt_by_name("made directly")._init_cash) is float
    assert type(rebuilt_by_name("made directly with NumPy's float")._init_cash) is np.float64


def test_an_index_without_fixed_length_is_stored_without_freq():
    assert stored("index QE").portfolio["settings"]["freq"] is None
    assert stored("index QE, freq given").portfolio["settings"]["freq"] == "1 days"


def test_the_engine_recorded_is_the_one_that_ran(monkeypatch):
    from vectorbt import _engine

    from runvault.engines.vectorbt.inputs import read_inputs

    assert read_inputs(built("signals with engine auto")).portfolio["settings"]["engine"] == "rust"
    assert read_inputs(built("signals with numba")).portfolio["settings"]["engine"] == "numba"
    monkeypatch.setattr(_engine, "_rust_status", False)
    assert read_inputs(built("signals with engine auto")).portfolio["settings"]["engine"] == "numba"


def test_rebuild_falls_back_to_numba_without_rust(monkeypatch):
    from vectorbt import _engine

    before = stats_of(built("signals, one column"))
    inputs = stored("signals, one column")
    monkeypatch.setattr(_engine, "_rust_status", False)
    back = rebuilt(inputs.portfolio, inputs.tables)
    assert back.engine == "numba"
    after = stats_of(back)
    for label, value in before.items():
        assert after[label] == value or after[label] == pytest.approx(value, rel=1e-12), label


def test_numba_is_kept_where_rust_has_come_since(monkeypatch):
    from vectorbt import _engine

    from runvault.engines.vectorbt.inputs import read_inputs

    with monkeypatch.context() as patch:
        patch.setattr(_engine, "_rust_status", False)
        inputs = read_inputs(built("signals with engine unnamed"))
    assert rebuilt(inputs.portfolio, inputs.tables).engine == "numba"


@pytest.fixture
def settings():
    """vectorbt's settings, put back afterwards."""
    import vectorbt as vbt

    saved = copy.deepcopy(dict(vbt.settings))
    yield vbt.settings
    for name, value in saved.items():
        dict.__setitem__(vbt.settings, name, value)


def test_settings_that_moved_the_stats_are_applied_again(settings):
    from runvault.engines.vectorbt.inputs import read_inputs

    settings["returns"]["year_freq"] = "252 days"
    settings["returns"]["defaults"].update(risk_free=0.0001, ddof=0, required_return=0.0002)
    settings["portfolio"]["stats"]["settings"].update(incl_open=True)
    settings["portfolio"].update(trades_type="positions", fillna_close=False)
    settings["array_wrapper"]["freq"] = "2h"
    pf = corpus.from_signals(corpus.prices("A", pd.RangeIndex(60), gaps=True)["A"], freq=None)
    before, inputs = stats_of(pf), read_inputs(pf)
    assert inputs.portfolio["settings"] == {
        "freq": "0 days 02:00:00",
        "year_freq": "252 days",
        "risk_free": 0.0001,
        "ddof": 0,
        "required_return": 0.0002,
        "incl_open": True,
        "fillna_close": False,
        "trades_type": 2,
        "engine": "rust",
    }
    assert_same_portfolio(pf, rebuilt(inputs.portfolio, inputs.tables))  # nothing to change where settings are the same

    settings["returns"]["year_freq"] = "365 days"
    settings["returns"]["defaults"].update(risk_free=0.0, ddof=1, required_return=0.0)
    settings["portfolio"]["stats"]["settings"].update(incl_open=False)
    settings["portfolio"].update(trades_type="exittrades", fillna_close=True)
    settings["array_wrapper"]["freq"] = None
    assert_same_stats(stats_of(rebuilt(inputs.portfolio, inputs.tables)), before)


def test_asset_returns_are_applied_again(settings):
    from runvault.engines.vectorbt.inputs import read_inputs

    pf = corpus.from_signals(corpus.prices("A")["A"])
    settings["portfolio"]["stats"]["settings"].update(use_asset_returns=True)
    before, inputs = stats_of(pf), read_inputs(pf)
    settings["portfolio"]["stats"]["settings"].update(use_asset_returns=False)
    assert_same_stats(stats_of(rebuilt(inputs.portfolio, inputs.tables)), before)


def with_orders(**changes: Any) -> PortfolioTables:
    """Return the tables of a portfolio of two columns, some columns of its orders changed by a function."""
    inputs = stored("signals, two")
    orders = inputs.tables["orders.parquet"].columns
    changed = {name: changes[name](values.copy()) if name in changes else values for name, values in orders.items()}
    return PortfolioTables(inputs.portfolio, {**inputs.tables, "orders.parquet": Table(changed)})


def at_first(value: Any) -> Any:
    def change(values: Any) -> Any:
        values[0] = value
        return values

    return change


@pytest.mark.parametrize(
    "changes",
    [
        {"bar": at_first(60)},
        {"bar": at_first(-1)},
        {"column": at_first(2)},
        {"column": at_first(-5)},
        {"column": lambda values: values[::-1]},
        {"id": at_first(10**6)},
        {"id": lambda values: values[::-1]},
        {"id": lambda values: values * 0},
        {"id": lambda values: values - 5},
        {"bar": lambda values: values[::-1]},
        {"bar": lambda values: values.astype(float)},
        {"size": at_first(-1.0)},
        {"price": at_first(np.nan)},
        {"side": at_first(2)},
    ],
    ids="-".join,
)
def test_orders_outside_the_table_never_reach_compiled_code(changes):
    from runvault.engines.vectorbt.rebuild import rebuild

    with pytest.raises(FormatError, match=r"orders\.parquet"):
        rebuild(with_orders(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "vbt-portfolio/9"},
        {"format": "pickle"},
        {"format": None},
        {"shape": [60, 3]},
        {"shape": [59, 2]},
        {"shape": [10**12, 10**12]},
        {"shape": "60"},
        {"shape": [60, 2, 1]},
        {"shape": [True, True]},
        {"index": {"kind": "elsewhere"}},
        {"index": {"kind": "range", "start": 0, "stop": 59, "step": 1}},
        {"index": None},
        {"columns": {"kind": "range", "start": 0, "stop": 10**12, "step": 1}},
        {"columns": {"kind": "range", "start": 0, "stop": 3, "step": 1}},
        {"columns": []},
        {"price_of": {"tile": 0}},
        {"price_of": {"tile": 3, "repeat": 0}, "shape": [60, 9]},
        {"price_of": {"values": [0, 7]}},
        {"price_of": {"values": [0, -1]}},
        {"price_of": {"values": [0]}},
        {"price_of": 7},
        {"price_dtype": "object"},
        {"price_dtype": "complex128"},
        {"init_cash": {"each": 100.0, "n": 3}},
        {"init_cash": {"each": 100.0, "n": 10**15}},
        {"init_cash": {"each": "x", "n": 2}},
        {"init_cash": 100.0},
        {"init_cash": None},
        {"init_cash": "elsewhere"},
        {"cash_sharing": True, "group_by": [0, 1, 2]},
        {"group_by": {"array": {"kind": "int64", "values": [[0, 0]]}, "dtype": "V900000000"}},
        {"group_by": {"index": {}}},
        {"group_by": "a level of labels that have none"},
        {"freq": {"timedelta": "x"}},
        {"freq": {"offset": "zzz"}},
        {"freq": {"weeks": 1, "fold": 3}},
        {"wrapper": {"code": 1}},
        {"wrapper": {"grouped_ndim": 7}},
        {"wrapper": {"allow_enable": "yes"}},
        {"wrapper": 3},
        {"engine": "elsewhere"},
        {"trades_type": "elsewhere"},
        {"logs": True},
        {"call_seq": {"dtype": "int64", "ndim": 2}},
        {"settings": {"engine": "elsewhere"}},
        {"settings": {"engine": "rust", "year_freq": "x"}},
        {"settings": {"engine": "rust", "risk_free": "x"}},
        {"settings": 3},
        {"rebuildable": "yes"},
    ],
    ids=str,
)
def test_a_member_that_does_not_fit_is_refused(changes):
    from runvault.engines.vectorbt.rebuild import rebuild

    inputs = stored("signals, two")
    with pytest.raises(FormatError):
        rebuild(PortfolioTables({**inputs.portfolio, **changes}, inputs.tables))


def test_groups_that_are_not_sorted_are_refused():
    from runvault.engines.vectorbt.rebuild import rebuild

    inputs = stored("signals, six")
    with pytest.raises(FormatError, match="not sorted"):
        rebuild(PortfolioTables({**inputs.portfolio, "group_by": [0, 1, 0, 1, 2, 2]}, inputs.tables))


def test_a_newer_format_says_so():
    from runvault.engines.vectorbt.rebuild import rebuild

    with pytest.raises(SchemaTooNewError):
        rebuild(PortfolioTables({"format": "vbt-portfolio/2"}))


@pytest.mark.parametrize("table", ["prices.parquet", "orders.parquet"])
def test_a_missing_table_is_named(table):
    from runvault.engines.vectorbt.rebuild import rebuild

    inputs = stored("signals, two")
    rest = {name: values for name, values in inputs.tables.items() if name != table}
    with pytest.raises(FormatError, match=table):
        rebuild(PortfolioTables(inputs.portfolio, rest))


@pytest.mark.parametrize("column", [-1, 30, 10**9])
def test_a_column_that_is_not_there_is_refused(column):
    from runvault.engines.vectorbt.rebuild import rebuild

    inputs = stored("sweep")
    with pytest.raises(FormatError, match="no column"):
        rebuild(PortfolioTables(inputs.portfolio, inputs.tables, column))


@pytest.mark.parametrize("change", [lambda c: c + 6, lambda c: c - 1, lambda c: c.astype(float), lambda c: c[:-1]])
def test_calls_outside_their_group_never_reach_compiled_code(change):
    from runvault.engines.vectorbt.rebuild import rebuild

    inputs = stored("signals, calls")
    calls = inputs.tables["calls.parquet"].columns
    hostile = Table({**calls, "call": change(calls["call"])})
    with pytest.raises(FormatError, match="call"):
        rebuild(PortfolioTables(inputs.portfolio, {**inputs.tables, "calls.parquet": hostile}))


@pytest.mark.parametrize(("field", "value"), [("column", 7), ("bar", -1), ("bar", 10**6)])
def test_logs_outside_the_table_are_refused(field, value):
    from runvault.engines.vectorbt.rebuild import rebuild

    inputs = stored("signals, logs")
    logs = dict(inputs.tables["logs.parquet"].columns)
    logs[field] = at_first(value)(logs[field].copy())
    with pytest.raises(FormatError, match=r"logs\.parquet"):
        rebuild(PortfolioTables(inputs.portfolio, {**inputs.tables, "logs.parquet": Table(logs)}))
