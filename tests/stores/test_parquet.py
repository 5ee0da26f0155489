"""Tables into Parquet and back."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runvault.errors import FormatError
from runvault.model.table import Table
from runvault.stores.tables import TableWriter, check_values, known, read_table, reading, write_table, writing
from runvault.stores.tables.writing import ROW_GROUP


def orders(columns: int = 3, each: int = 4) -> Table:
    n = columns * each
    bar = np.tile(np.arange(each, dtype=np.int64), columns)
    return Table(
        {
            "id": bar.copy(),
            "column": np.repeat(np.arange(columns, dtype=np.int64), each),
            "bar": bar,
            "time": np.datetime64("2004-08-19", "ns") + bar * np.timedelta64(1, "D"),
            "size": np.linspace(1.0, 2.0, n),
            "price": np.linspace(50.0, 60.0, n),
            "fees": np.zeros(n),
            "side": bar % 2,
        },
        {"time": "America/New_York"},
    )


def statistics() -> Table:
    n = 28
    return Table(
        {
            "column": np.array([None] * n, object),
            "name": np.array([f"statistic_{i}" for i in range(n)], object),
            "label": np.array([f"Statistic {i} [%]" for i in range(n)], object),
            "unit": np.array([["%", "money", "count", "ratio"][i % 4] for i in range(n)], object),
            "value": np.sqrt(np.arange(n, dtype=float)),
            "value_ns": np.arange(n, dtype=np.int64),
            "tz": np.array([None] * n, object),
        }
    )


def assert_equal(a: Table, b: Table) -> None:
    assert list(a.columns) == list(b.columns)
    assert dict(a.time_zones) == dict(b.time_zones)
    for name, values in a.columns.items():
        assert values.dtype == b.columns[name].dtype, name
        np.testing.assert_array_equal(values, b.columns[name], err_msg=name, strict=True)


def test_every_kind_of_column_comes_back_as_it_was() -> None:
    table = Table(
        {
            "f8": np.array([1.5, np.nan, -0.0, np.inf, 5e-324]),
            "f4": np.array([1.5, np.nan, 0, 1, 2], np.float32),
            "i1": np.array([-1, 0, 1, 2, 3], np.int8),
            "i8": np.array([-(2**63), 2**63 - 1, 0, 1, 2]),
            "u8": np.array([2**64 - 1, 0, 1, 2, 3], np.uint64),
            "bool": np.array([True, False, True, True, False]),
            "text": np.array(["", None, "日本\u202e", "a" * 4096, "<b>"], object),
            "time": np.array(["1677-09-22", "NaT", "2262-04-11", "1970-01-01", "2020-02-29"], "datetime64[ns]"),
            "time_us": np.array(["0001-01-01", "NaT", "9999-12-31", "1970-01-01", "2020-02-29"], "datetime64[us]"),
        },
        {"time": "Europe/Berlin"},
    )
    assert_equal(read_table(write_table(table), "other"), table)


@settings(max_examples=40, deadline=None)
@given(
    floats=st.lists(st.floats(), max_size=30),
    data=st.data(),
)
def test_columns_of_any_values_come_back_bit_for_bit(floats: list[float], data: Any) -> None:
    n = len(floats)
    text = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
    integer = st.integers(-(2**63), 2**63 - 1)
    table = Table(
        {
            "f": np.array(floats, float),
            "i": np.array(data.draw(st.lists(integer, min_size=n, max_size=n)), np.int64),
            "s": np.array([*data.draw(st.lists(text, min_size=n, max_size=n)), None], object)[:-1],
        }
    )
    back = read_table(write_table(table), "other")
    assert back.columns["f"].tobytes() == table.columns["f"].tobytes()
    assert back.columns["i"].tobytes() == table.columns["i"].tobytes()
    assert list(back.columns["s"]) == list(table.columns["s"])


@pytest.mark.parametrize("rows", [0, 1, ROW_GROUP, ROW_GROUP + 1, 3 * ROW_GROUP])
def test_any_number_of_row_groups_comes_back(rows: int) -> None:
    table = Table(
        {
            "i": np.arange(rows),
            "b": np.arange(rows) % 3 == 0,
            "s": np.array([str(i % 7) for i in range(rows)], object),
            "t": np.arange(rows).astype("datetime64[ns]"),
        }
    )
    assert_equal(read_table(write_table(table), "other"), table)


def test_slices_and_foreign_byte_orders_are_written_as_values() -> None:
    base = np.arange(10.0)
    table = Table({"strided": base[::2], "big_endian": base[:5].astype(">f8"), "flipped": base[4::-1]})
    back = read_table(write_table(table), "other")
    for name, values in table.columns.items():
        np.testing.assert_array_equal(back.columns[name], values)


def test_equal_tables_give_equal_bytes() -> None:
    assert write_table(orders()) == write_table(orders())


def test_pandas_reads_times_with_their_zone_and_text_as_text() -> None:
    frame = pd.read_parquet(io.BytesIO(write_table(orders())))
    assert str(frame["time"].dtype) == "datetime64[ns, America/New_York]"
    assert frame["size"].tolist() == orders().columns["size"].tolist()
    labels = pd.read_parquet(io.BytesIO(write_table(statistics())))["label"]
    assert labels[3] == "Statistic 3 [%]"
    assert pd.api.types.is_string_dtype(labels)


def test_pages_carry_checksums_and_zstd() -> None:
    metadata = pq.ParquetFile(io.BytesIO(write_table(orders()))).metadata
    for i in range(metadata.num_columns):
        assert metadata.row_group(0).column(i).compression == "ZSTD"
    without = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(write_table(orders()))), without, compression="zstd")
    with pytest.raises(FormatError, match=r"orders\.parquet: a page has no checksum"):
        read_table(without.getvalue(), "orders")


def test_a_table_of_statistics_takes_about_a_kilobyte() -> None:
    assert len(write_table(statistics())) < 1500


@pytest.mark.skipif(int(pa.__version__.partition(".")[0]) < 26, reason="older ones import pandas by themselves")
def test_writing_and_reading_import_no_pandas() -> None:
    code = """
import sys
import numpy as np
from runvault.model.table import Table
from runvault.stores.tables import read_table, write_table
times = np.array(["2020-01-01", "NaT"], "datetime64[ns]")
table = Table({"t": times, "s": np.array(["a", None], object), "f": np.ones(2)}, {"t": "Asia/Tokyo"})
read_table(write_table(table), "other")
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_column_of_a_sweep_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    each = 500
    table = orders(columns=200, each=each)  # five row groups
    data = write_table(table)
    groups: list[list[int]] = []
    read = pq.ParquetFile.read_row_groups

    def spy(self: pq.ParquetFile, wanted: list[int], **options: Any) -> Any:
        groups.append(wanted)
        return read(self, wanted, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    for column in (0, 39, 40, 199, 200):
        got = read_table(data, "orders", column=column)
        keep = table.columns["column"] == column
        assert_equal(got, Table({k: v[keep] for k, v in table.columns.items()}, table.time_zones))
    assert groups == [[0], [0], [1], [4], []]


def test_columns_not_asked_for_are_not_read() -> None:
    got = read_table(write_table(orders()), "orders", columns=["price", "bar"], column=2)
    assert list(got.columns) == ["price", "bar"]
    assert got.n_rows == 4
    with pytest.raises(FormatError, match="column 'nothing' is missing"):
        read_table(write_table(orders()), "orders", columns=["nothing"])


def test_names_with_dots_stay_apart() -> None:
    table = Table({"a": np.ones(2), "a.b": np.zeros(2)})
    assert_equal(read_table(write_table(table), "prices", columns=["a"]), Table({"a": np.ones(2)}))
    assert_equal(read_table(write_table(table), "prices"), table)


def test_a_table_too_large_for_readers_is_refused_by_the_writer() -> None:
    wide = Table({f"c{i}": np.zeros(1) for i in range(20_001)})
    with pytest.raises(FormatError, match="20001 columns"):
        write_table(wide)


def trades(**changes: Any) -> Table:
    columns = {
        "id": np.arange(2),
        "column": np.zeros(2, np.int64),
        "entry_bar": np.array([1, 3]),
        "entry_time": np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"),
        "entry_price": np.array([10.0, 11.0]),
        "entry_fees": np.zeros(2),
        "exit_bar": np.array([2, 4]),
        "exit_time": np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"),
        "exit_price": np.array([11.0, 10.0]),
        "exit_fees": np.zeros(2),
        "size": np.ones(2),
        "pnl": np.array([1.0, -1.0]),
        "return": np.array([0.1, np.nan]),
        "direction": np.array([0, 1]),
        "status": np.array([1, 0]),
        "parent_id": np.array([0, 1]),
    }
    return Table(columns | changes)


def equity(**changes: Any) -> Table:
    days = np.arange(3).astype("datetime64[D]").astype("datetime64[ns]")
    curves = {name: np.array([1.0, np.nan, 3.0]) for name in ("value", "cash", "benchmark")}
    return Table({"time": days, "column": np.zeros(3, np.int64), **curves} | changes)


def changed(table: Table, **columns: Any) -> Table:
    return Table({**table.columns, **columns}, table.time_zones)


def at(table: Table, name: str, value: Any, row: int = 5) -> Table:
    values = table.columns[name].copy()
    values[min(row, len(values) - 1)] = value
    return changed(table, **{name: values})


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("orders", orders()),
        ("orders", orders(columns=0)),
        ("stats", statistics()),
        ("stats", at(statistics(), "value", np.inf)),  # a profit factor without losses
        ("trades", trades()),
        ("equity", equity()),
        ("prices", Table({"time": equity().columns["time"], "GOOG": np.array([1.0, np.nan, -1.0])})),
        ("labels", Table({"anything": np.array([np.inf])})),
    ],
)
def test_what_engines_write_is_accepted(kind: str, table: Table) -> None:
    check_values(kind, table)
    assert_equal(read_table(write_table(table), kind), table)


@pytest.mark.parametrize(
    ("kind", "table", "reason"),
    [
        ("orders", at(orders(), "bar", -1), "'bar' is out of range in row 5"),
        ("orders", at(orders(), "bar", 2**31), "'bar' is out of range"),
        ("orders", at(orders(), "column", -5), "'column' is out of range"),
        ("orders", at(orders(), "id", -1), "'id' is out of range"),
        ("orders", at(orders(), "id", 0), "'id' is not above the one before it in row 5"),
        ("orders", at(orders(), "side", 2), "'side' is neither 0 nor 1"),
        ("orders", at(orders(), "side", -1), "'side' is neither 0 nor 1"),
        ("orders", at(orders(), "price", 0.0), "'price' is not positive"),
        ("orders", at(orders(), "price", np.nan), "'price' is not finite"),
        ("orders", at(orders(), "price", np.inf), "'price' is not finite"),
        ("orders", at(orders(), "size", -1.0), "'size' is not positive"),
        ("orders", at(orders(), "size", np.nan), "'size' is not finite"),
        ("orders", at(orders(), "fees", np.inf), "'fees' is not finite"),
        ("orders", changed(orders(), bar=orders().columns["bar"].astype(float)), "column 'bar' is of type float64"),
        ("orders", changed(orders(), price=orders().columns["bar"]), "column 'price' is of type int64"),
        ("orders", changed(orders(), size=np.array(["1"] * 12, object)), "column 'size' is of type object"),
        ("orders", Table({"id": np.arange(3)}), "column 'column' is missing"),
        ("prices", Table({"GOOG": np.array([1.0, -np.inf])}), "'GOOG' is infinite in row 1"),
        ("trades", trades(direction=np.array([0, 3])), "'direction' is neither 0 nor 1"),
        ("trades", trades(exit_bar=np.array([2, -1])), "'exit_bar' is out of range"),
        ("trades", trades(size=np.array([1.0, 0.0])), "'size' is not positive"),
        ("trades", trades(entry_price=np.array([1.0, np.inf])), "'entry_price' is not finite"),
        ("equity", equity(value=np.arange(3)), "column 'value' is of type int64"),
        ("equity", equity(column=np.array([0, 0, -1])), "'column' is out of range"),
        ("stats", at(statistics(), "unit", "furlong"), "'unit' is unknown in row 5"),
        ("stats", at(statistics(), "name", None), "'name' is empty in row 5"),
        ("stats", changed(statistics(), value=np.arange(28)), "column 'value' is of type int64"),
    ],
)
def test_values_that_no_engine_writes_are_refused(kind: str, table: Table, reason: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_table(write_table(table), kind)
    assert str(caught.value).startswith(f"{kind}.parquet: {reason}")


def test_orders_outside_the_portfolio_are_refused() -> None:
    data = write_table(orders(columns=3, each=4))
    assert read_table(data, "orders", shape=(4, 3)).n_rows == 12
    with pytest.raises(FormatError, match="'bar' is not below 3 in row 3"):
        read_table(data, "orders", shape=(3, 3))
    with pytest.raises(FormatError, match="'column' is not below 2 in row 8"):
        read_table(data, "orders", shape=(4, 2))


def test_ids_need_to_rise_within_a_column_only() -> None:
    table = orders(columns=2, each=2)
    check_values("orders", changed(table, column=np.array([1, 0, 1, 0]), id=np.array([0, 4, 2, 9])))
    with pytest.raises(FormatError, match="row 2"):
        check_values("orders", changed(table, column=np.array([1, 0, 1, 0]), id=np.array([3, 4, 2, 9])))


def test_numbers_that_are_missing_are_refused() -> None:
    import pyarrow as pa

    sink = io.BytesIO()
    pq.write_table(pa.table({"i": pa.array([1, None])}), sink, write_page_checksum=True, compression="zstd")
    with pytest.raises(FormatError, match="numbers are missing"):
        read_table(sink.getvalue(), "other")


@pytest.mark.parametrize(
    ("values", "zone"),
    [
        (np.array(["\ud800"], object), None),
        (np.array(["x" * 4097], object), None),
        (np.array([1, "a"], object), None),
        (np.array([1j]), None),
        (np.array(["2020-01-01"], "datetime64[ns]"), "../../etc/localtime"),
    ],
)
def test_what_a_reader_would_refuse_is_not_written(values: Any, zone: str | None) -> None:
    with pytest.raises(FormatError, match="column 'odd' cannot be written"):
        write_table(Table({"odd": values}, {"odd": zone} if zone else {}))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the columns that are decoded, in a process that has read nothing yet."""
    monkeypatch.setattr(known, "_known", OrderedDict())
    names: list[str] = []
    decode = reading._decoded

    def watched(file: pq.ParquetFile, groups: Any, wanted: Any) -> Any:
        names.extend(wanted)
        return decode(file, groups, wanted)

    monkeypatch.setattr(reading, "_decoded", watched)
    return names


def test_columns_that_tables_have_alike_are_decoded_once(decoded: list[str]) -> None:
    for factor in range(50):
        table = changed(statistics(), value=np.sqrt(np.arange(28.0)) * factor)
        assert_equal(read_table(write_table(table), "stats"), table)
    assert sorted(decoded) == sorted([*statistics().columns, *["value"] * 49])


def test_equal_bytes_are_other_values_where_the_footer_says_so(decoded: list[str]) -> None:
    """Zeros are text, floats, integers, times of two zones: by their pages alone nobody could tell."""
    numbers = np.zeros(5, np.int64)
    tables = [
        Table({"a": numbers, "b": numbers.view(np.float64)}),
        Table({"a": numbers.view("datetime64[ns]"), "b": numbers}, {"a": "Europe/Berlin"}),
        Table({"a": numbers.view("datetime64[ns]"), "b": numbers}, {"a": "Asia/Tokyo"}),
        Table({"a": numbers.view("datetime64[us]"), "b": numbers.view(np.uint64)}),
        Table({"b": numbers, "a": numbers.view(np.float64)}),
    ]
    for table in (*tables, *tables):
        assert_equal(read_table(write_table(table), "other"), table)


def test_a_column_that_is_known_is_of_no_other_length(decoded: list[str]) -> None:
    one, other = (write_table(Table({"a": np.zeros(n), "b": np.ones(n)})) for n in (5, 6))
    assert [read_table(data, "other").n_rows for data in (one, other, one, other)] == [5, 6, 5, 6]
    assert len(decoded) == 4


def test_what_is_known_cannot_be_changed(decoded: list[str]) -> None:
    data = write_table(statistics())
    for values in read_table(data, "stats").columns.values():
        with pytest.raises(ValueError, match="read-only"):
            values[0] = values[1]


def test_neither_large_columns_nor_more_than_some_are_kept(decoded: list[str]) -> None:
    read_table(write_table(Table({"noise": np.random.default_rng(1).random(1000)})), "other")
    read_table(write_table(Table({"alike": np.zeros(100_000)})), "other")
    read_table(write_table(Table({"words": np.array(["x" * 4096] * 5, object)})), "other")
    assert not known._known
    for number in range(known.MOST + 5):
        read_table(write_table(Table({"a": np.array([number])})), "other")
    assert len(known._known) == known.MOST


def test_files_that_end_alike_are_read_by_one_footer(decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reading._metadata.cache_clear()
    read = []
    original = pq.read_metadata

    def counted(where: Any) -> pq.FileMetaData:
        read.append(where)
        return original(where)

    monkeypatch.setattr(reading.pq, "read_metadata", counted)
    tables = [Table({"a": np.array([0.1 + n, 0.7]), "b": np.array([n, 1])}) for n in range(9)]
    for table in (*tables, Table({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([1, 2, 3])})):
        assert_equal(read_table(write_table(table), "other"), table)
    assert len(read) < len(tables)


def test_of_many_runs_an_equal_table_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Table] = []
    monkeypatch.setattr(writing, "write_table", lambda table: written.append(table) or write_table(table))
    tables = TableWriter()

    for _ in range(3):
        assert tables.write("orders", orders()) == write_table(orders())
        assert tables.write("stats", statistics()) == write_table(statistics())

    assert len(written) == 2


@pytest.mark.parametrize(
    "other",
    [
        Table({"x": np.array([-0.0, 1.0])}),
        Table({"x": np.array([0, 1])}),
        Table({"x": np.array([0.0, 1.0], ">f8")}),
        Table({"x": np.array([0.0])}),
        Table({"y": np.array([0.0, 1.0])}),
        Table({"x": np.array([0.0, 1.0]), "y": np.array([0.0, 1.0])}),
        Table({"x": np.array(["0.0", None], object)}),
        Table({"x": np.array([0.0, np.nan])}),
    ],
)
def test_a_table_that_differs_is_written_anew(other: Table) -> None:
    tables = TableWriter()
    tables.write("one", Table({"x": np.array([0.0, 1.0])}))

    assert tables.write("one", other) == write_table(other)


def test_another_zone_or_text_is_written_anew() -> None:
    time = np.array(["2024-01-01"], "datetime64[ns]")
    tables = TableWriter()
    for table in (
        Table({"time": time}, {"time": "UTC"}),
        Table({"time": time}, {"time": "Asia/Tokyo"}),
        Table({"text": np.array(["a", None], object)}),
        Table({"text": np.array(["a", "None"], object)}),
    ):
        assert tables.write("one", table) == write_table(table)
