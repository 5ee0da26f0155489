import datetime
import json
import subprocess
import sys
import zoneinfo

import dateutil.tz
import numpy as np
import pandas as pd
import pytest
import pytz
from pandas.tseries.offsets import CustomBusinessDay, DateOffset

from runvault.engines.vectorbt import labels, pool
from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.errors import FormatError
from runvault.model.table import Table

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "+02:00",
    zoneinfo.ZoneInfo("Asia/Tokyo"),
    datetime.timezone(datetime.timedelta(hours=-5, minutes=-30)),
    pytz.timezone("Europe/London"),
    pytz.FixedOffset(90),
    dateutil.tz.gettz("America/Sao_Paulo"),
    dateutil.tz.tzoffset(None, 3600),
]
INDEXES = {
    "range": pd.RangeIndex(3, 30, 3, name="bar"),
    "integers": pd.Index([5, 10, 20], name="window"),
    "small integers": pd.Index(np.array([5, 10], dtype=np.int8)),
    "large unsigned integers": pd.Index(np.array([2**64 - 1, 2**63], dtype=np.uint64)),
    "floats": pd.Index([0.1, np.nan, np.inf, -np.inf, -0.0]),
    "single floats": pd.Index(np.array([0.1, 0.2], dtype=np.float32)),
    "booleans": pd.Index([True, False]),
    "text in pyarrow": pd.Index(["AAPL", "GOOG"], dtype=pd.StringDtype("pyarrow", na_value=np.nan), name="ticker"),
    "text in python": pd.Index(["AAPL", "GOOG"], dtype=pd.StringDtype("python", na_value=np.nan)),
    "text with a gap": pd.Index(["AAPL", None]),
    "text with NA": pd.Index(["AAPL", None], dtype="string"),
    "text of every script": pd.Index(["<b>", "-x", "株", "a/b", "‮", "\n"]),
    "objects of text": pd.Index(["5", "a"], dtype=object),
    "mixed objects": pd.Index(["5", 5, 5.5, True, None, np.nan], dtype=object),
    "days": pd.date_range("2020-01-01", periods=4, name="date"),
    "days in seconds": pd.date_range("2020-01-01", periods=4, unit="s"),
    "days in nanoseconds": pd.date_range("2020-01-01", periods=4, unit="ns"),
    "days without frequency": pd.DatetimeIndex(["2020-01-01", "2020-01-05"]),
    "a time long ago": pd.DatetimeIndex(["0801-01-01"]).as_unit("s"),
    "quarter ends": pd.date_range("2020-01-01", periods=4, freq="QE-FEB"),
    "holidays": pd.date_range("2020-01-01", periods=9, freq=CustomBusinessDay(holidays=["2020-01-06"])),
    "timedeltas": pd.timedelta_range("0 s", periods=4, freq="90s"),
    "periods": pd.period_range("2020-01", periods=4, freq="Q-FEB"),
    "categories": pd.CategoricalIndex(["b", "a", "b"], categories=["b", "a", "c"], ordered=True),
    "intervals": pd.interval_range(0.0, 2.0, periods=4, closed="left"),
    "levels": pd.MultiIndex.from_product([[5, 10], ["AAPL", "GOOG"], [0.5]], names=["fast", "ticker", None]),
    "levels with unused labels": pd.MultiIndex.from_product([[1, 2, 3], ["a", "b"]])[:2],
    "levels with a gap": pd.MultiIndex.from_arrays([[1.0, np.nan], ["a", None]]),
    "levels of times": pd.MultiIndex.from_product([pd.date_range("2020", periods=2, tz="UTC"), [True, False]]),
    "intervals as categories": pd.CategoricalIndex(pd.cut([1, 5, 9], [0, 4, 8, 12])),
}


def through_manifest(index: pd.Index) -> pd.Index:
    """Take an index the way of column labels: description, JSON text, tables, and back."""
    arrays = pool.Pool()
    stored = arrays.store(labels.describe(index), "columns")
    return labels.restore(pool.load(json.loads(json.dumps(stored)), pool.read_pool(arrays.table())))


def assert_same(back: pd.Index, index: pd.Index) -> None:
    pd.testing.assert_index_equal(back, index, exact=True, check_exact=True)
    assert back.identical(index)
    assert getattr(back, "freq", None) == getattr(index, "freq", None)
    assert getattr(back.dtype, "storage", None) == getattr(index.dtype, "storage", None)


@pytest.mark.parametrize("name", INDEXES)
def test_labels_come_back_equal(name):
    assert_same(through_manifest(INDEXES[name]), INDEXES[name])


@pytest.mark.parametrize("name", INDEXES)
def test_long_labels_come_back_equal_from_their_table(name, monkeypatch):
    monkeypatch.setattr(pool, "INLINE", 1)
    assert_same(through_manifest(INDEXES[name]), INDEXES[name])


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_time_zones_come_back_with_their_library(zone):
    index = pd.date_range("2020-03-28 12:00", periods=30, freq="h", tz=zone)
    back = through_manifest(index)
    assert_same(back, index)
    assert type(back.tz) is type(index.tz)


def test_levels_keep_codes_and_unused_labels():
    index = INDEXES["levels with unused labels"]
    back = through_manifest(index)
    assert [level.tolist() for level in back.levels] == [level.tolist() for level in index.levels]
    assert [codes.tolist() for codes in back.codes] == [codes.tolist() for codes in index.codes]


def test_more_than_100_labels_lie_in_a_table():
    arrays = pool.Pool()
    index = pd.MultiIndex.from_product([list(range(51)), ["a", "b"]])
    stored = arrays.store(labels.describe(index), "columns")
    assert len(json.dumps(stored)) < 400
    table = arrays.table()
    assert table is not None
    assert table.n_rows == 2 * 102 + 51 + 2
    assert set(table.columns) == {"array", "int", "float", "text"}


def test_a_description_is_short_and_readable():
    index = pd.MultiIndex.from_product([[5, 10], ["AAPL"]], names=["fast", "ticker"])
    assert pool.Pool().store(labels.describe(index), "columns") == {
        "kind": "multi",
        "names": ["fast", "ticker"],
        "levels": [
            {"kind": "int64", "values": [[5, 10]]},
            {"kind": "str", "storage": index.levels[1].dtype.storage, "values": [["AAPL"]]},
        ],
        "values": [[0, 1], [0, 0]],
    }


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (pd.Index([("a", 1), ("b",)], dtype=object, tupleize_cols=False), "arbitrary objects"),
        (pd.Index([datetime.date(2020, 1, 1)], dtype=object), "arbitrary objects"),
        (pd.Index([np.int64(1), "a"], dtype=object), "arbitrary objects"),
        (pd.Index([2**70], dtype=object), "beyond 64 bits"),
        (pd.Index([1, 2], name=("a", "b")), "a name of labels"),
        (pd.Index(["\ud800"], dtype=object), "Unicode"),
        (pd.Index(["x" * 5000]), "5000 characters"),
        (pd.Index([1, None], dtype="Int64"), "Int64"),
        (pd.Index([1j]), "complex128"),
        (pd.date_range("2020", periods=3, freq=DateOffset(months=2)), "no text"),
        (pd.date_range("2020", periods=3, tz=dateutil.tz.tzlocal()), "without a name"),
    ],
    ids=str,
)
def test_labels_without_a_form_are_refused_by_name(index, reason):
    with pytest.raises(NotRebuildableError, match=reason):
        labels.describe(index)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        {},
        {"kind": 3},
        {"kind": "int64", "values": 3},
        {"kind": "int64", "values": []},
        {"kind": "int64", "values": [["a"]]},
        {"kind": "int64", "values": [[2**80]]},
        {"kind": "int64", "values": [[1]], "name": ["unhashable"]},
        {"kind": "float16", "values": [[1.0]]},
        {"kind": "complex128", "values": [[1]]},
        {"kind": "O", "values": [["a"]]},
        {"kind": "str", "storage": "elsewhere", "values": [["a"]]},
        {"kind": "str", "values": [[1]]},
        {"kind": "mixed", "values": [[{"a": 1}]]},
        {"kind": "range", "start": 0, "stop": 4, "step": 0},
        {"kind": "range"},
        {"kind": "datetime", "unit": "century", "values": [[1]]},
        {"kind": "datetime", "unit": "ns", "tz": "../../etc/passwd", "values": [[1]]},
        {"kind": "datetime", "unit": "ns", "tz": "/etc/passwd", "tz_type": "dateutil", "values": [[1]]},
        {"kind": "datetime", "unit": "ns", "tz": 3, "values": [[1]]},
        {"kind": "datetime", "unit": "ns", "tz": "+99:00", "tz_type": "datetime", "values": [[1]]},
        {"kind": "datetime", "unit": "ns", "freq": "D", "values": [[1, 5]]},
        {"kind": "datetime", "unit": "ns", "freq": {"calendar": 1}, "values": [[1, 5]]},
        {"kind": "period", "freq": "zzz", "values": [[1]]},
        {"kind": "categorical", "ordered": False, "categories": {"kind": "str", "values": [["a"]]}, "values": [[1]]},
        {"kind": "multi", "names": ["a"], "levels": [{"kind": "int64", "values": [[1]]}], "values": [[7]]},
        {"kind": "multi", "names": ["a", "b"], "levels": [{"kind": "int64", "values": [[1]]}], "values": [[0]]},
        {"kind": "multi", "names": None, "levels": 3, "values": [[0]]},
        {"kind": "str", "values": [{"table": "elsewhere"}]},
    ],
    ids=str,
)
def test_hostile_descriptions_are_refused(spec):
    with pytest.raises(FormatError):
        labels.restore(pool.load(spec, {}))


def test_a_table_without_the_needed_columns_is_refused():
    with pytest.raises(FormatError, match=r"labels\.parquet"):
        pool.read_pool(Table({"array": np.array(["columns"], dtype=object)}))


def test_importing_the_room_imports_nothing_heavy():
    code = "import sys, runvault.engines.vectorbt; print({'vectorbt', 'pandas', 'numba', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
