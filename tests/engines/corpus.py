"""Portfolios of every shape, by name; built when asked for, so that collecting tests imports no vectorbt.

``BUILDERS`` hold portfolios that are rebuilt from tables; ``REFUSED`` those that cannot be, with the reason.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable
from typing import Any

import dateutil.tz
import numpy as np
import pandas as pd
import pytz

Builder = Callable[[], Any]

FREQUENCIES = [
    *("B", "W", "W-WED", "MS", "ME", "BMS", "BME", "QS", "QE", "QE-FEB", "BQE", "YS", "YE", "BYE", "SME", "WOM-2TUE"),
    *("D", "2D", "h", "4h", "min", "5min", "15min", "30s", "s", "100ms", "us"),
]
ZONES = {
    "UTC": "UTC",
    "Berlin": "Europe/Berlin",
    "New York": "America/New_York",
    "Kolkata": "Asia/Kolkata",
    "Lord Howe": "Australia/Lord_Howe",
    "Tokyo of zoneinfo": zoneinfo.ZoneInfo("Asia/Tokyo"),
    "UTC of zoneinfo": zoneinfo.ZoneInfo("UTC"),
    "fixed offset": "+05:30",
    "fixed offset of datetime": datetime.timezone(datetime.timedelta(hours=-3)),
    "London of pytz": pytz.timezone("Europe/London"),
    "fixed offset of pytz": pytz.FixedOffset(-90),
    "Sao Paulo of dateutil": dateutil.tz.gettz("America/Sao_Paulo"),
}
DAYS = pd.date_range("2020-01-01", periods=60, freq="D")
BUILDERS: dict[str, Builder] = {}
REFUSED: dict[str, tuple[Builder, str]] = {}


def prices(
    columns: Any = ("A", "B"), index: pd.Index = DAYS, *, seed: int = 7, gaps: bool = False, dtype: str = "float64"
) -> pd.DataFrame:
    """Return a random walk, one column each, with a few days missing where there are gaps."""
    rng = np.random.default_rng(seed)
    labels = columns if isinstance(columns, pd.Index) else pd.Index(list(columns))
    steps = rng.normal(0, 0.02, (len(index), len(labels)))
    values = (100 * np.exp(np.cumsum(steps, axis=0))).astype(dtype)
    if gaps:
        values[[0, 7, 8, -1]] = np.nan
    return pd.DataFrame(values, index=index, columns=labels)


def signals(close: Any, seed: int = 1, share: float = 0.15) -> tuple[Any, Any]:
    """Return random entries and exits in the shape of the prices."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((2, *close.shape)) < share
    if close.ndim == 1:
        return tuple(pd.Series(d, index=close.index, name=close.name) for d in drawn)
    return tuple(pd.DataFrame(d, index=close.index, columns=close.columns) for d in drawn)


def from_signals(close: Any = None, *, seed: int = 1, **options: Any) -> Any:
    import vectorbt as vbt

    close = prices() if close is None else close
    entries, exits = signals(close, seed)
    return vbt.Portfolio.from_signals(close, entries, exits, **{"engine": "rust", "fees": 0.001, **options})


def from_orders(close: Any = None, *, seed: int = 2, **options: Any) -> Any:
    import vectorbt as vbt

    close = prices() if close is None else close
    size = np.random.default_rng(seed).normal(0, 1, close.shape)
    size[np.random.default_rng(seed).random(close.shape) < 0.7] = np.nan
    return vbt.Portfolio.from_orders(close, **{"size": size, "engine": "rust", **options})


def from_holding(close: Any = None, **options: Any) -> Any:
    import vectorbt as vbt

    return vbt.Portfolio.from_holding(prices() if close is None else close, **{"engine": "rust", **options})


def from_random_signals(close: Any = None, **options: Any) -> Any:
    import vectorbt as vbt

    close = prices() if close is None else close
    return vbt.Portfolio.from_random_signals(close, **{"n": 5, "seed": 42, "engine": "rust", **options})


def from_order_func(close: Any = None, **options: Any) -> Any:
    """Buy and sell in turn; in plain Python, because compiling takes longer than the rest of the corpus."""
    import vectorbt as vbt
    from vectorbt.portfolio import nb

    def order_func(context: Any, size: float) -> Any:
        return nb.order_nb(size=size if context.i % 5 == 0 else -size if context.i % 5 == 3 else np.nan, fees=0.001)

    close = prices(index=DAYS[:15]) if close is None else close
    return vbt.Portfolio.from_order_func(close, order_func, 1.0, use_numba=False, **options)


def direct(pf: Any, **changes: Any) -> Any:
    """Return a portfolio made by the constructor itself, some of its arguments changed."""
    import vectorbt as vbt

    return vbt.Portfolio(**{**pf.config, **changes})


CONSTRUCTORS = {
    "signals": from_signals,
    "orders": from_orders,
    "holding": from_holding,
    "random signals": from_random_signals,
    "order function": from_order_func,
}


def _add(name: str, build: Callable[..., Any], *args: Any, **options: Any) -> None:
    assert name not in BUILDERS
    BUILDERS[name] = lambda: build(*args, **options)


def _shapes() -> None:
    for kind, build in CONSTRUCTORS.items():
        index = DAYS[:15] if kind == "order function" else DAYS
        one, two, many = prices("A", index)["A"], prices("AB", index), prices("ABCDEF", index)
        gaps = prices("AB", index, gaps=True)
        closes = {"one column": one, "one column in a frame": one.to_frame(), "two": two, "six": many, "gaps": gaps}
        for shape, close in closes.items():
            _add(f"{kind}, {shape}", build, close)
        _add(f"{kind}, unnamed", build, one.rename(None))
        _add(
            f"{kind}, tz-aware intraday",
            build,
            one.set_axis(pd.date_range("2021", periods=len(one), freq="h", tz="UTC")),
        )
        for grouping, options in {
            "grouped": {"group_by": True},
            "in three groups": {"group_by": np.array([0, 0, 1, 1, 1, 2])},
            "sharing cash": {"group_by": True, "cash_sharing": True},
            "sharing cash in two groups": {"group_by": ["x", "x", "y", "y", "y", "y"], "cash_sharing": True},
        }.items():
            _add(f"{kind}, {grouping}", build, many, **options)
        _add(f"{kind}, logs", build, two, **({} if kind == "order function" else {"log": True}))
        _add(f"{kind}, calls", build, many, group_by=True, cash_sharing=True, attach_call_seq=True)
        _add(f"{kind}, with freq", build, two, freq="1D")


def _directions() -> None:
    for direction in ("longonly", "shortonly", "both"):
        for shape, close in {"one": prices("A")["A"], "two": prices(), "gaps": prices(gaps=True)}.items():
            _add(f"{direction} signals, {shape}", from_signals, close, direction=direction)
            _add(f"{direction} orders, {shape}", from_orders, close, direction=direction)
            _add(f"{direction} holding, {shape}", from_holding, close, direction=direction)
        _add(
            f"{direction} sharing cash",
            from_signals,
            prices("ABC"),
            direction=direction,
            group_by=True,
            cash_sharing=True,
        )
        _add(f"{direction} by numba", from_signals, direction=direction, engine="numba")


def _signal_options() -> None:
    for name, options in {
        "stop loss": {"sl_stop": 0.03},
        "trailing stop": {"sl_stop": 0.03, "sl_trail": True},
        "take profit": {"tp_stop": 0.05},
        "both stops": {"tp_stop": 0.05, "sl_stop": 0.02},
        "accumulate": {"accumulate": True, "size": 0.1},
        "percent size": {"size": 0.5, "size_type": "percent"},
        "value size": {"size": 50.0, "size_type": "value"},
        "slippage": {"slippage": 0.002, "fixed_fees": 0.5},
        "granularity": {"size_granularity": 0.1},
        "reversal": {"direction": "both", "upon_opposite_entry": "reverse"},
        "no trade": {"size": 0.0},
        "logs": {"log": True, "group_by": True},
        "next price": {"price": prices().shift(-1).ffill()},
        "numba": {"engine": "numba"},
        "numba with logs": {"engine": "numba", "log": True},
        "numba sharing cash": {"engine": "numba", "group_by": True, "cash_sharing": True, "attach_call_seq": True},
        "engine auto": {"engine": "auto"},
        "engine unnamed": {"engine": None},
    }.items():
        _add(f"signals with {name}", from_signals, **options)
    for name, options in {
        "target amount": {"size_type": "targetamount"},
        "target value": {"size_type": "targetvalue", "size": 30.0},
        "target percent": {"size_type": "targetpercent", "size": 0.3},
        "auto calls": {"group_by": True, "cash_sharing": True, "call_seq": "auto", "attach_call_seq": True},
        "reversed calls": {"group_by": True, "cash_sharing": True, "call_seq": "reversed", "attach_call_seq": True},
        "calls without sharing": {"attach_call_seq": True},
        "fees": {"fees": 0.01, "fixed_fees": 1.0},
        "rejection": {"reject_prob": 0.5, "seed": 3},
        "numba": {"engine": "numba"},
        "no order": {"size": np.nan},
    }.items():
        _add(f"orders with {name}", from_orders, **options)


def _indexes() -> None:
    for freq in FREQUENCIES:
        close = prices("A", pd.date_range("2020-01-01", periods=40, freq=freq))["A"]
        _add(f"index {freq}", from_signals, close)
        _add(f"index {freq}, freq given", from_signals, close, freq="1D")
    for name, zone in ZONES.items():
        hours = pd.date_range("2020-03-28 12:00", periods=40, freq="h", tz=zone)
        _add(f"hours in {name}", from_signals, prices("A", hours)["A"])
        _add(f"days in {name}", from_signals, prices("AB", pd.date_range("2020-10-01", periods=40, tz=zone)))
    for unit in ("s", "ms", "us", "ns"):
        _add(f"index in {unit}", from_signals, prices("A", DAYS.as_unit(unit))["A"])
    holidays = pd.offsets.CustomBusinessDay(holidays=["2020-01-06", "2020-02-03"])
    for name, index in {
        "range": pd.RangeIndex(60),
        "range with a step": pd.RangeIndex(10, 130, 2, name="bar"),
        "integers": pd.Index(np.arange(60) * 7),
        "text": pd.Index([f"bar {i}" for i in range(60)]),
        "floats": pd.Index(np.linspace(0, 1, 60)),
        "periods": pd.period_range("2020-01", periods=60, freq="M"),
        "timedeltas": pd.timedelta_range("0 s", periods=60, freq="90s"),
        "levels": pd.MultiIndex.from_arrays([np.repeat([1, 2], 30), DAYS], names=["fold", "date"]),
        "long levels": pd.MultiIndex.from_arrays([np.repeat(range(60), 3), np.tile(["a", "b", "c"], 60)]),
        "holidays": pd.date_range("2020-01-01", periods=60, freq=holidays),
        "many holidays": pd.date_range(
            "2020-01-01",
            periods=60,
            freq=pd.offsets.CustomBusinessDay(holidays=pd.date_range("2021", periods=150).to_list()),
        ),
        "days with a hole": DAYS.delete(7),
        "a name": DAYS.rename("date"),
        "days backwards": DAYS[::-1],
        "a day twice": DAYS.insert(3, DAYS[3])[:60],
    }.items():
        _add(f"index of {name}", from_signals, prices("AB", index))
        _add(f"index of {name}, one column", from_signals, prices("A", index)["A"], freq="1D")


def _columns() -> None:
    for name, columns in {
        "one level": pd.Index([5, 10, 20], name="window"),
        "python text": pd.Index(["A", "B"], dtype=pd.StringDtype("python", na_value=np.nan)),
        "pyarrow text": pd.Index(["A", "B"], dtype=pd.StringDtype("pyarrow", na_value=np.nan)),
        "object text": pd.Index(["A", "B"], dtype=object),
        "mixed objects": pd.Index(["A", 1, 2.5], dtype=object),
        "floats": pd.Index([0.1, 0.2], name="stop"),
        "booleans": pd.Index([False, True]),
        "a range": pd.RangeIndex(3),
        "the same label twice": pd.Index(["A", "A", "B"]),
        "markup": pd.Index(["<b>A</b>", "-x", "株/式", "‮B", "=cmd()"]),
        "categories": pd.CategoricalIndex(["A", "B"], name="asset"),
        "times": pd.date_range("2020", periods=3, name="start"),
        "levels": pd.MultiIndex.from_product([[5, 10], [20, 50], ["A", "B"]], names=["fast", "slow", "ticker"]),
        "unused levels": pd.MultiIndex.from_product([[5, 10], ["A", "B"]], names=["fast", "ticker"])[:2],
        "unnamed levels": pd.MultiIndex.from_product([[0.5, 1.5], ["A", "B"]]),
        "120 levels": pd.MultiIndex.from_product([list(range(40)), ["A", "B", "C"]], names=["window", "symbol"]),
        "120 labels": pd.Index([f"asset {i}" for i in range(120)]),
    }.items():
        _add(f"columns of {name}", from_signals, prices(columns, DAYS[:30]))
    for name, group_by in {
        "a level by name": "ticker",
        "a level by place": 2,
        "levels by name": ["fast", "ticker"],
        "a tuple": ("ticker", "fast"),
    }.items():
        columns = pd.MultiIndex.from_product([["A", "B"], [5, 10], [20, 50]], names=["ticker", "fast", "slow"])
        order = ["fast", "slow", "ticker"] if group_by == 2 else None
        close = prices(columns.reorder_levels([1, 2, 0]) if order else columns, DAYS[:30])
        _add(f"grouped by {name}", from_signals, close, group_by=group_by)
    for name, group_by in {
        "an index": pd.Index(["x", "x", "y"], name="sector"),
        "levels": pd.MultiIndex.from_arrays([["x", "x", "y"], [1, 1, 2]], names=["sector", "size"]),
        "int32": np.array([0, 0, 1], dtype=np.int32),
        "text array": np.array(["x", "x", "y"]),
        "object array": np.array(["x", "x", "y"], dtype=object),
        "a list": [0, 1, 1],
    }.items():
        _add(f"grouped by {name}", from_signals, prices("ABC"), group_by=group_by)
        _add(f"sharing cash by {name}", from_signals, prices("ABC"), group_by=group_by, cash_sharing=True)


def _sweeps() -> None:
    def sweep(**options: Any) -> Any:
        import vectorbt as vbt

        close = prices(pd.Index(["A", "B", "C"], name="symbol"), pd.date_range("2020", periods=120))
        fast, slow = vbt.MA.run_combs(close, [3, 5, 8, 13, 21], r=2, short_names=["fast", "slow"])
        entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
        return vbt.Portfolio.from_signals(close, entries, exits, **{"engine": "rust", "freq": "1D", **options})

    _add("sweep", sweep)
    _add("sweep of long and short", sweep, direction="both", fees=0.001)
    _add("sweep grouped by symbol pairs", sweep, group_by=["fast_window", "slow_window"])
    _add("sweep sharing cash", sweep, group_by=["fast_window", "slow_window"], cash_sharing=True)
    _add("sweep by numba", sweep, engine="numba")


def _cash_and_frequency() -> None:
    for name, cash in {"int": 250, "float": 250.5, "each its own": [100.0, 200.0], "infinite": np.inf}.items():
        _add(f"init_cash {name}", from_signals, init_cash=cash, size=1.0)
    for mode in ("auto", "autoalign"):
        for shape, close in {"one": prices("A")["A"], "two": prices()}.items():
            _add(f"init_cash {mode}, {shape}", from_signals, close, init_cash=mode, size=1.0)
            _add(
                f"init_cash {mode}, short, {shape}",
                from_signals,
                close,
                init_cash=mode,
                size=1.0,
                direction="shortonly",
            )
        _add(f"init_cash {mode}, grouped", from_signals, init_cash=mode, size=1.0, group_by=True)
    for name, freq in {
        "text": "2h",
        "Timedelta": pd.Timedelta(minutes=90),
        "Timedelta in seconds": pd.Timedelta(90, unit="s").as_unit("s"),
        "timedelta": datetime.timedelta(days=1),
        "timedelta64": np.timedelta64(4, "h"),
        "offset": pd.offsets.Hour(3),
    }.items():
        _add(f"freq as {name}", from_signals, freq=freq)
    _add("gaps unfilled", from_signals, prices(gaps=True), fillna_close=False)
    _add("prices of integers", from_signals, prices(dtype="int64"), engine="auto")
    _add("prices of float32", from_signals, prices(dtype="float32"))
    _add("shared prices, tiled", from_signals, pd.concat([prices()] * 3, axis=1, keys=[1, 2, 3]))
    _add("shared prices, repeated", from_signals, prices()[["A", "A", "B", "B"]].set_axis(list("abcd"), axis=1))
    _add("shared prices, mixed", from_signals, prices()[["A", "B", "B", "A", "A"]].set_axis(list("abcde"), axis=1))
    for kind in ("entrytrades", "exittrades", "positions", 2):
        _add(f"trades as {kind}", from_signals, trades_type=kind, accumulate=True, size=0.1)


def _selections() -> None:
    many = {"group_by": ["x", "x", "y", "y"], "attach_call_seq": True, "log": True}
    for name, select in {
        "a column": lambda pf: pf.iloc[1],
        "columns": lambda pf: pf.iloc[1:],
        "columns turned": lambda pf: pf.iloc[[2, 0]],
    }.items():
        _add(f"selected {name}", lambda select=select: select(from_signals(prices("ABCD"), log=True)))
        _add(
            f"selected {name} of calls",
            lambda select=select: select(from_signals(prices("ABCD"), attach_call_seq=True)),
        )
    for sharing in (False, True):
        _add(
            f"selected group, sharing {sharing}",
            lambda s=sharing: from_signals(prices("ABCD"), cash_sharing=s, **many).iloc[1],
        )
        _add(
            f"selected groups, sharing {sharing}",
            lambda s=sharing: from_signals(prices("ABCD"), cash_sharing=s, **many).iloc[[0, 1]],
        )
    _add("regrouped", lambda: from_signals(prices("ABCD")).regroup([0, 0, 1, 1]))
    _add("after stats", _after_stats)
    _add("after a pickle", lambda: _pickled(from_signals(prices("ABCD"), group_by=True)))
    _add("made directly", lambda: direct(from_signals(prices("A")["A"]), init_cash=100.0))
    _add("made directly with NumPy's float", lambda: direct(from_signals(prices("A")["A"]), init_cash=np.float64(100)))
    _add("wrapper options", _wrapper_options)


def _after_stats() -> Any:
    pf = from_signals(prices("A")["A"])
    pf.stats()
    return pf


def _pickled(pf: Any) -> Any:
    return type(pf).loads(pf.dumps())


def _wrapper_options() -> Any:
    pf = from_signals(prices("AB"))
    return pf.replace(wrapper=pf.wrapper.replace(column_only_select=True, group_select=False, allow_enable=False))


def _refused() -> None:
    def objects() -> Any:
        return direct(from_signals(), close=prices().astype(object))

    def complex_prices() -> Any:
        return direct(from_signals(), close=prices().astype(complex))

    def subclass() -> Any:
        import vectorbt as vbt

        class Mine(vbt.Portfolio):  # type: ignore[misc]
            pass

        return Mine(**from_signals().config)

    def other_metrics() -> Any:
        pf = from_signals()
        pf.metrics["sharpe_ratio"]["title"] = "My Sharpe"
        return pf

    def outside(field: str, value: int) -> Builder:
        def build() -> Any:
            pf = from_signals()
            records = pf.order_records.copy()
            records[field][0] = value
            return direct(pf, order_records=records)

        return build

    def other_records() -> Any:
        pf = from_signals()
        return direct(pf, order_records=pf.order_records.astype([(n, "f8") for n in pf.order_records.dtype.names]))

    def dated(columns: pd.Index) -> Builder:
        return lambda: from_signals(prices(columns))

    dates = pd.Index([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)], dtype=object)
    months = pd.date_range("2020", periods=30, freq=pd.DateOffset(months=2))
    local = pd.date_range("2020", periods=30, tz=dateutil.tz.tzlocal())
    REFUSED.update(
        {
            "a subclass": (subclass, "Mine is a subclass of Portfolio"),
            "changed metrics": (other_metrics, "changed metrics, which are code"),
            "labels of dates": (dated(dates), "arbitrary objects"),
            "prices of objects": (objects, "prices of dtype object"),
            "prices of booleans": (lambda: direct(from_signals(), close=prices() > 100), "prices of dtype bool"),
            "complex prices": (complex_prices, "prices of dtype complex128"),
            "cash of a column missing": (
                lambda: direct(from_signals(), init_cash=100.0),
                "an init_cash for 1 of 2 columns",
            ),
            "integer cash": (lambda: direct(from_signals(), init_cash=5), "an integer init_cash of 5"),
            "a zone without a name": (lambda: from_signals(prices("AB", local)), "a time zone without a name"),
            "a frequency without text": (
                lambda: from_signals(prices("AB", months)),
                "an index frequency that has no text",
            ),
            "records of another dtype": (other_records, "another dtype"),
            "a bar outside": (outside("idx", 10**6), "outside the table of 60 bars and 2 columns"),
            "a column below": (outside("col", -5), "outside the table of 60 bars and 2 columns"),
        }
    )


for _fill in (
    _shapes,
    _directions,
    _signal_options,
    _indexes,
    _columns,
    _sweeps,
    _cash_and_frequency,
    _selections,
    _refused,
):
    _fill()
