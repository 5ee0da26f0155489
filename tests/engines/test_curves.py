from __future__ import annotations

import subprocess
import sys
from typing import Any

import corpus
import numpy as np
import pandas as pd
import pytest

from runvault.engines.result import PortfolioTables
from runvault.engines.vectorbt.accounts import Orders, add, cash_and_position, filled
from runvault.engines.vectorbt.curves import equity_from_tables, equity_table, trades_from_tables, trades_table
from runvault.engines.vectorbt.exits import exit_trades
from runvault.engines.vectorbt.inputs import read_inputs
from runvault.engines.vectorbt.stored import read_accounts
from runvault.errors import FormatError, MetricInputError
from runvault.model.table import Table

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Object has multiple columns"),
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]

EQUITY = ["time", "column", "value", "cash", "benchmark"]
TRADES = [
    *("id", "column", "entry_bar", "entry_time", "entry_price", "entry_fees"),
    *("exit_bar", "exit_time", "exit_price", "exit_fees"),
    *("size", "pnl", "return", "direction", "status", "parent_id"),
]


def stored(pf: Any, column: int | None = None) -> PortfolioTables:
    inputs = read_inputs(pf)
    assert inputs.reason is None
    return PortfolioTables(inputs.portfolio, inputs.tables, column)


def assert_same_bits(a: Table, b: Table) -> None:
    assert list(a.columns) == list(b.columns)
    assert a.time_zones == b.time_zones
    for name, values in a.columns.items():
        assert values.dtype == b.columns[name].dtype, name
        if values.dtype.kind == "f":
            gaps = np.isnan(values)
            np.testing.assert_array_equal(gaps, np.isnan(b.columns[name]), err_msg=name)
            assert values[~gaps].tobytes() == b.columns[name][~gaps].tobytes(), name
        else:
            np.testing.assert_array_equal(values, b.columns[name], err_msg=name)


def random_portfolio(rng: np.random.Generator, engine: str) -> Any:
    """Build long and short portfolios with gaps, tiny remainders, reversals, partial exits, and every kind of cash."""
    import vectorbt as vbt

    n_bars, n_columns = int(rng.integers(1, 70)), int(rng.integers(1, 4))
    shape = (n_bars, n_columns)
    values = 100 * np.exp(np.cumsum(rng.normal(0, 0.05, shape), axis=0))
    if rng.random() < 0.4:
        values[rng.random(shape) < 0.15] = np.nan
    close = pd.DataFrame(values, index=pd.date_range("2020", periods=n_bars, freq="D", tz="Europe/Berlin"))
    cash = [100.0, 1e6, 0.0, "auto", "autoalign", 5, np.array([50.0, 1000.0, 7.0])[:n_columns]]
    options = {
        "engine": engine,
        "fees": float(rng.choice([0, 0.001, 0.1])),
        "fixed_fees": float(rng.choice([0, 1])),
        "slippage": float(rng.choice([0, 0.01])),
        "init_cash": cash[rng.integers(len(cash))],
        "fillna_close": bool(rng.random() < 0.8),
    }
    direction = str(rng.choice(["both", "longonly", "shortonly"]))
    if rng.random() < 0.4 and type(options["init_cash"]) is float:  # signals spend all there is
        entries, exits = rng.random(shape) < 0.2, rng.random(shape) < 0.2
        accumulate = bool(rng.random() < 0.5)
        return vbt.Portfolio.from_signals(close, entries, exits, direction=direction, accumulate=accumulate, **options)
    size = rng.normal(0, 3, shape).round(int(rng.integers(0, 4)))
    size = np.sign(size) * rng.choice([0.1, 0.2, 0.3], shape) if rng.random() < 0.3 else size
    size[rng.random(shape) < rng.random()] = 0
    return vbt.Portfolio.from_orders(close, size, direction=direction, **options)


@pytest.mark.parametrize(("engine", "count"), [("rust", 150), ("numba", 8)])
def test_curves_and_trades_from_tables_are_the_engines_own_bits(engine: str, count: int) -> None:
    rng = np.random.default_rng(11)
    for _ in range(count):
        pf = random_portfolio(rng, engine)
        tables = stored(pf)
        assert read_accounts(tables) is not None
        assert_same_bits(equity_from_tables(tables), equity_table(pf))
        assert_same_bits(trades_from_tables(tables), trades_table(pf))


@pytest.mark.parametrize("name", ["sweep", "init_cash auto, two", "init_cash autoalign, two", "shared prices, mixed"])
def test_one_column_of_many_is_what_the_engine_gives_for_it_alone(name: str) -> None:
    pf = corpus.BUILDERS[name]()

    for column in range(pf.wrapper.shape[1]):
        alone = pf.iloc[column]
        assert_same_bits(equity_from_tables(stored(pf, column)), equity_table(alone))
        assert_same_bits(trades_from_tables(stored(pf, column)), trades_table(alone))


@pytest.mark.parametrize(
    ("name", "computed"),
    [
        ("columns of 120 levels", True),
        ("init_cash each its own", True),
        ("init_cash infinite", True),
        ("index of levels, one column", True),
        ("index of range", True),
        ("signals, grouped", False),
        ("signals, sharing cash", False),
        ("prices of float32", False),
        ("trades as entrytrades", True),
        ("trades as positions", True),
    ],
)
def test_portfolios_that_only_the_engine_can_compute_are_rebuilt(name: str, computed: bool) -> None:
    pf = corpus.BUILDERS[name]()
    tables = stored(pf)

    assert (read_accounts(tables) is not None) == computed
    assert_same_bits(equity_from_tables(tables), equity_table(pf))
    assert_same_bits(trades_from_tables(tables), trades_table(pf))


def test_equity_is_long_with_a_row_a_bar_and_column() -> None:
    import vectorbt as vbt

    days = pd.date_range("2024-01-01", periods=3, freq="D", tz="Europe/Berlin")
    close = pd.DataFrame({"A": [10.0, 12.0, 9.0], "B": [np.nan, 5.0, 10.0]}, index=days)
    size = pd.DataFrame({"A": [5.0, 0.0, -5.0], "B": [0.0, 2.0, 0.0]}, index=days)
    table = equity_table(vbt.Portfolio.from_orders(close, size, fixed_fees=1.0, init_cash=100.0, engine="rust"))

    assert list(table.columns) == EQUITY
    assert table.columns["column"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.columns["cash"].tolist() == [49.0, 49.0, 93.0, 100.0, 89.0, 89.0]
    assert table.columns["value"].tolist() == [99.0, 109.0, 93.0, 100.0, 99.0, 109.0]
    assert table.columns["benchmark"].tolist() == [100.0, 120.0, 90.0, 100.0, 100.0, 200.0]
    assert table.columns["time"].astype("M8[ns]")[:2].tolist() == [days[0].value, days[1].value]
    assert table.time_zones == {"time": "Europe/Berlin"}


def test_equity_of_groups_is_theirs() -> None:
    pf = corpus.BUILDERS["signals, in three groups"]()
    table = equity_table(pf)

    assert set(table.columns["column"]) == {0, 1, 2}
    np.testing.assert_array_equal(table.columns["value"][: len(pf.wrapper.index)], pf.value().iloc[:, 0])


def test_trades_are_the_engines_records_with_times() -> None:
    pf = corpus.BUILDERS["holding, two"]()
    table = trades_table(pf)

    records = pf.trades.values
    assert list(table.columns) == TRADES
    for name, field in {"id": "id", "column": "col", "exit_bar": "exit_idx", "pnl": "pnl", "status": "status"}.items():
        np.testing.assert_array_equal(table.columns[name], records[field])
    np.testing.assert_array_equal(table.columns["entry_time"], pf.wrapper.index.to_numpy()[records["entry_idx"]])
    assert (table.columns["status"] == 0).any()


def orders(*rows: tuple[int, float, float, float]) -> Orders:
    """Make orders from (bar, signed size, price, fees)."""
    bars, sizes, prices, fees = (np.array(column) for column in zip(*rows, strict=True))
    return Orders(bars, np.abs(sizes).astype(float), prices.astype(float), fees.astype(float), sizes < 0)


def test_a_partial_exit_takes_its_share_of_entry_costs_worked_by_hand() -> None:
    # 10 at 10 and 10 at 20: 20 at 15, fees 4; 5 sold at 30 (+75 - 1 - 2), 15 sold at 10 (-75 - 3 - 3)
    first, second = exit_trades(orders((0, 10, 10, 1), (1, 10, 20, 3), (2, -5, 30, 2), (3, -15, 10, 3)), 99.0, 5)

    assert (first.size, first.entry_price, first.entry_fees, first.pnl, first.ret) == (5, 15, 1, 72, 72 / 75)
    assert (second.size, second.entry_price, second.entry_fees, second.pnl) == (15, 15, 3, -81)
    assert [(t.entry_bar, t.exit_bar, t.status, t.position) for t in (first, second)] == [(0, 2, 1, 0), (0, 3, 1, 0)]


def test_an_order_beyond_the_position_reverses_it_worked_by_hand() -> None:
    # 10 long at 10; 15 sold at 12 for 3: closes 10 (+20 - 2) and leaves 5 short at 12 (fees 1), open at 9: +15 - 1
    closed, left = exit_trades(orders((0, 10, 10, 0), (2, -15, 12, 3)), 9.0, 4)

    assert (closed.direction, closed.status, closed.exit_fees, closed.pnl) == (0, 1, 2, 18)
    assert (left.direction, left.status, left.entry_bar, left.exit_bar) == (1, 0, 2, 3)
    assert (left.size, left.entry_fees, left.exit_price, left.pnl, left.ret) == (5, 1, 9, 14, 14 / 60)


def test_cash_and_position_worked_by_hand() -> None:
    cash, position = cash_and_position(orders((1, 2, 10, 1), (1, 3, 10, 1), (3, -5, 20, 4)), 100.0, 5)

    assert cash.tolist() == [100, 48, 48, 144, 144]
    assert position.tolist() == [0, 5, 5, 0, 0]


def test_sums_that_should_cancel_do() -> None:
    assert add(0.3, -(0.1 + 0.2)) == 0.0
    assert add(1e9, -1e9 + 0.5) == 0.0  # within 1e-9 of each other
    assert add(1.0, -0.5) == 0.5
    cash, position = cash_and_position(orders((0, 0.1, 1, 0), (1, 0.2, 1, 0), (2, -0.3, 1, 0)), 0.3, 4)
    assert cash.tolist()[1:] == [0.0, 0.3, 0.3]
    assert position.tolist()[2:] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        ([np.nan, 1.0, np.nan, 3.0, np.nan], [1.0, 1.0, 1.0, 3.0, 3.0]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([np.nan, np.nan], [np.nan, np.nan]),
    ],
)
def test_gaps_are_filled_forward_then_backward(close: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(filled(np.array(close)), expected)


def test_no_trade_gives_an_empty_table_and_a_flat_curve() -> None:
    pf = corpus.BUILDERS["signals with no trade"]()

    assert trades_from_tables(stored(pf)).n_rows == 0
    assert_same_bits(trades_from_tables(stored(pf)), trades_table(pf))
    assert_same_bits(equity_from_tables(stored(pf)), equity_table(pf))


def test_nothing_heavy_is_imported_for_a_run_of_a_sweep() -> None:
    program = """
import sys
import numpy as np
from runvault.engines.result import PortfolioTables
from runvault.engines.vectorbt.curves import equity_from_tables, trades_from_tables
from runvault.model.table import Table
prices = Table({"index": np.array(["2024-01-01", "2024-01-02"], "M8[us]"), "price_0": np.array([10.0, 12.0])})
orders = Table({"id": np.array([7]), "column": np.array([1]), "bar": np.array([0]), "size": np.array([2.0]),
                "price": np.array([10.0]), "fees": np.array([0.5]), "side": np.array([0], "i1")})
portfolio = {"format": "vbt-portfolio/1", "rebuildable": True, "shape": [2, 2], "init_cash": {"each": 100.0, "n": 2},
             "price_of": {"tile": 1}, "settings": {"fillna_close": True, "trades_type": 1, "engine": "rust"}}
tables = PortfolioTables(portfolio, {"prices.parquet": prices, "orders.parquet": orders}, 1)
assert equity_from_tables(tables).columns["value"].tolist() == [99.5, 103.5]
assert trades_from_tables(tables).columns["pnl"].tolist() == [3.5]
print(sorted(name for name in ("vectorbt", "pandas", "numba", "pyarrow") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def changed(tables: PortfolioTables, table: str, **columns: Any) -> PortfolioTables:
    new = Table({**tables.tables[table].columns, **columns})
    return PortfolioTables(tables.portfolio, {**tables.tables, table: new}, tables.column)


@pytest.mark.parametrize("compute", [equity_from_tables, trades_from_tables])
def test_tables_that_do_not_fit_together_are_refused(compute: Any) -> None:
    tables = stored(corpus.BUILDERS["signals, two"]())
    rows = tables.tables["orders.parquet"].columns
    n_bars = tables.tables["prices.parquet"].n_rows
    damaged = [
        changed(tables, "orders.parquet", bar=rows["bar"] + n_bars),
        changed(tables, "orders.parquet", bar=-1 - rows["bar"]),
        changed(tables, "orders.parquet", bar=rows["bar"][::-1]),
        changed(tables, "orders.parquet", column=rows["column"][::-1]),
        changed(tables, "orders.parquet", column=rows["column"].astype(float)),
        changed(tables, "orders.parquet", size=-rows["size"]),
        changed(tables, "orders.parquet", price=rows["price"] * np.nan),
        changed(tables, "orders.parquet", fees=rows["fees"] + np.inf),
        changed(tables, "orders.parquet", side=rows["side"] + 1),
        changed(tables, "prices.parquet", price_0=np.arange(n_bars)),
        PortfolioTables(tables.portfolio, {}),
        PortfolioTables(tables.portfolio, tables.tables, 2),
        PortfolioTables(tables.portfolio, tables.tables, -1),
        PortfolioTables({**tables.portfolio, "shape": [3, 2]}, tables.tables),
        PortfolioTables({**tables.portfolio, "init_cash": None}, tables.tables),
        PortfolioTables({**tables.portfolio, "init_cash": {"values": {"table": "init_cash"}}}, tables.tables),
        PortfolioTables({**tables.portfolio, "price_of": {"tile": 0}}, tables.tables),
        PortfolioTables({**tables.portfolio, "price_of": {"values": [0, 9]}}, tables.tables),
        PortfolioTables({**tables.portfolio, "rebuildable": False, "reason": "no reason"}, tables.tables),
        PortfolioTables({**tables.portfolio, "format": "vbt-portfolio/9"}, tables.tables),
    ]
    compute(tables)
    for number, one in enumerate(damaged):
        with pytest.raises(FormatError):
            pytest.fail(f"{number}: {compute(one)}")


def test_what_no_engine_can_compute_is_refused_by_name() -> None:
    build, _ = corpus.REFUSED["prices of objects"]

    with pytest.raises(MetricInputError, match="no equity curve"):
        equity_table(build())
    with pytest.raises(MetricInputError, match="no trades"):
        trades_table(build())
