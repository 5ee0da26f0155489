from __future__ import annotations

import importlib.metadata
from typing import Any

import corpus
import numpy as np
import pandas as pd
import pytest
from comparing import assert_same_portfolio, stats_of, through_files

from runvault.engines.result import PortfolioTables
from runvault.errors import ConfigError, FormatError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Object has multiple columns"),
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]


def extract(pf: Any) -> Any:
    from runvault.engines.vectorbt.extract import extract

    return extract(pf)


def test_a_portfolio_becomes_numbers_tables_and_constructor_inputs():
    from runvault.engines.vectorbt.rebuild import rebuild

    pf = corpus.from_signals(corpus.prices("A")["A"])
    result = extract(pf)
    assert (result.engine, result.backend) == ("vectorbt", "rust")
    assert result.packages["vectorbt"] == importlib.metadata.version("vectorbt")
    assert set(result.packages) == {"vectorbt", "numpy", "pandas", "numba", "vectorbt-rust"}
    assert set(result.tables) == {"prices.parquet", "orders.parquet", "trades.parquet", "equity.parquet"}
    assert result.metrics["total_trades"] == pf.trades.count()
    assert result.warnings == ()
    assert len(result.digest) == 64
    assert (result.window.start, result.window.end, result.window.bars) == ("2020-01-01", "2020-02-29", 60)
    assert_same_portfolio(pf, rebuild(through_files(result.portfolio, result.tables)))


def test_the_dump_is_vectorbts_own():
    pf = corpus.from_signals()
    assert type(pf).loads(extract(pf).dump()) == pf


def test_numbers_do_not_change_by_being_extracted_twice():
    pf = corpus.from_signals()
    first, second = extract(pf), extract(pf)
    assert first.digest == second.digest
    assert first.data == second.data


def test_what_is_no_portfolio_is_refused():
    with pytest.raises(ConfigError, match="not a vectorbt"):
        extract(pd.Series([1.0]))


@pytest.mark.parametrize("name", corpus.REFUSED)
def test_a_portfolio_that_cannot_be_rebuilt_is_extracted_and_says_so(name):
    from runvault.engines.vectorbt.rebuild import rebuild

    build, reason = corpus.REFUSED[name]
    result = extract(build())
    assert result.portfolio["rebuildable"] is False
    assert any(reason in warning for warning in result.warnings)
    assert len(result.digest) == 64
    with pytest.raises(FormatError, match="cannot be rebuilt"):
        rebuild(PortfolioTables(result.portfolio, result.tables))


@pytest.mark.parametrize(
    "name", ["a bar outside", "a column below", "records of another dtype", "cash of a column missing"]
)
def test_records_outside_the_table_never_reach_compiled_code(name):
    result = extract(corpus.REFUSED[name][0]())
    assert result.metrics == {}
    assert "equity.parquet" not in result.tables
    assert any("nothing was computed" in warning for warning in result.warnings)


def test_strided_order_records_are_made_contiguous_and_named():
    from runvault.engines.vectorbt.extract import STRIDED

    pf = corpus.from_signals(corpus.prices("A")["A"])
    twice = np.repeat(pf.order_records, 2)
    strided = corpus.direct(pf, order_records=twice[::2])
    assert not strided.order_records.flags.c_contiguous
    result, sound = extract(strided), extract(pf)
    assert STRIDED in result.warnings
    assert result.digest == sound.digest
    assert result.metrics == sound.metrics


def test_an_index_without_fixed_frequency_names_what_to_pass():
    result = extract(corpus.BUILDERS["index QE"]())
    assert any("freq=" in warning for warning in result.warnings)
    assert result.metrics["sharpe_ratio"] is None
    assert result.metrics["total_return"] is not None
    assert result.portfolio["rebuildable"] is True


@pytest.mark.parametrize(
    ("index", "start", "end", "interval"),
    [
        (pd.date_range("2020-01-01", periods=60), "2020-01-01", "2020-02-29", "1D"),
        (pd.date_range("2020-01-01", periods=60, tz="UTC"), "2020-01-01T00:00:00Z", "2020-02-29T00:00:00Z", "1D"),
        (pd.date_range("2020-01-01", periods=60, freq="h"), "2020-01-01T00:00:00Z", "2020-01-03T11:00:00Z", "1h"),
        (
            pd.date_range("2020-06-01", periods=60, freq="90s", tz="Europe/Berlin"),
            "2020-05-31T22:00:00Z",
            "2020-05-31T23:28:30Z",
            "90s",
        ),
        (pd.bdate_range("2020-01-01", periods=60), "2020-01-01", "2020-03-24", "B"),
        (pd.date_range("2020-01-01", periods=60, freq="QE"), "2020-03-31", "2034-12-31", "QE-DEC"),
        (
            pd.date_range("2020-01-01", periods=70).delete([5, 6, 11, 30, 31, 33, 40, 50, 51, 60]),
            "2020-01-01",
            None,
            None,
        ),
        (pd.period_range("2020-01", periods=60, freq="M"), "2020-01-01", "2024-12-01", "M"),
        (pd.RangeIndex(60), None, None, None),
        (pd.Index([f"bar {i}" for i in range(60)]), None, None, None),
        (
            pd.date_range("2020-01-01", periods=60, freq="100ms"),
            "2020-01-01T00:00:00Z",
            "2020-01-01T00:00:05.9Z",
            "100ms",
        ),
    ],
    ids=str,
)
def test_the_window_is_normalised_text(index, start, end, interval):
    from runvault.engines.vectorbt.window import window_of

    window = window_of(corpus.from_signals(corpus.prices("A", index)["A"]))
    assert (window.start, window.interval, window.bars) == (start, interval, 60)
    if end is not None or start is None:
        assert window.end == end


@pytest.mark.parametrize(
    ("columns", "symbols"),
    [
        (pd.Index(["AAPL", "GOOG"]), ("AAPL", "GOOG")),
        (pd.Index(["AAPL"], name="symbol"), ("AAPL",)),
        (pd.Index(["Close"]), ()),
        (pd.Index(["sma", "ema"], name="ma_type"), ()),
        (pd.Index([5, 10], name="window"), ()),
        (pd.RangeIndex(2), ()),
        (pd.Index(["AAPL", "AAPL", None]), ("AAPL",)),
        (pd.Index(["A\nB", "OK"]), ("OK",)),
        (pd.MultiIndex.from_product([[5], ["sma"], ["AAPL", "GOOG"]], names=["w", "kind", "Ticker"]), ("AAPL", "GOOG")),
        (pd.MultiIndex.from_product([["AAPL"], [5]], names=["asset", "window"]), ("AAPL",)),
        (pd.MultiIndex.from_product([[5], ["AAPL"]], names=["window", None]), ("AAPL",)),
        (pd.MultiIndex.from_product([[5], ["sma"]], names=["window", "kind"]), ()),
    ],
    ids=str,
)
def test_symbols_are_the_labels_of_the_asset_level(columns, symbols):
    from runvault.engines.vectorbt.window import symbols_of

    assert symbols_of(columns) == symbols


def test_the_data_entry_addresses_the_portfolios_own_prices():
    pf = corpus.from_signals(corpus.prices("AB"))
    entry = extract(pf).data["prices"]
    assert set(entry) == {"sha256", "start", "end", "symbols", "interval"}
    assert entry["symbols"] == ["A", "B"]
    assert entry == extract(corpus.from_signals(corpus.prices("AB"), fees=0.5)).data["prices"]
    others = [corpus.prices("AB", seed=9), corpus.prices("AC"), corpus.prices("AB", gaps=True)]
    assert (
        len({extract(corpus.from_signals(close)).data["prices"]["sha256"] for close in others} | {entry["sha256"]}) == 4
    )


def test_stats_of_the_saved_portfolio_are_not_disturbed():
    pf = corpus.from_signals(corpus.prices("A")["A"])
    before = stats_of(pf)
    extract(pf)
    pd.testing.assert_series_equal(stats_of(pf), before)
