from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import corpus
import numpy as np
import pandas as pd
import pytest
from comparing import stats_of, through_files

from runvault.engines.vectorbt.digest import combine, data_fingerprint, floats, results_digest

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Object has multiple columns"),
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]

GOLDEN_PORTFOLIO = "8277b5e9f9cb3b8272711d3dc3041d6472258092e6f71beee7b1f417d329eff3"
GOLDEN_RESULTS = "67d6247c6c5076423b78b6f1d82c4bb878d944bbe3e2395a958dae0d1a6fe547"


def digest_of(pf: Any) -> str:
    from runvault.engines.vectorbt.digest import portfolio_digest

    return portfolio_digest(pf).hex()


def hand_made() -> Any:
    """Buy 2 at 10 on the second bar with a fee of 1, sell 2 at 12 on the last; the third price is missing."""
    import vectorbt as vbt

    index = pd.date_range("2020-01-01", periods=4)
    close = pd.Series([9.0, 10.0, np.nan, 12.0], index=index, name="A")
    size, price = pd.Series([np.nan, 2.0, np.nan, -2.0], index=index), close.fillna(10.0)
    fees = pd.Series([0.0, 1.0, 0.0, 0.0], index=index)
    return vbt.Portfolio.from_orders(close, size=size, price=price, fixed_fees=fees, init_cash=100.0, engine="rust")


def written(*arrays: tuple[str, str, list[float]]) -> bytes:
    return b"".join(
        f"{name} {dtype} ({len(values)},)\n".encode() + np.array(values, dtype=dtype).tobytes()
        for name, dtype, values in arrays
    )


def test_the_digest_of_a_portfolio_is_what_the_specification_says():
    column = hashlib.sha256(
        written(
            ("close", "<f8", [9.0, 10.0, 10.0, 12.0]),  # the gap is valued at the last price
            ("bar", "<i8", [1, 3]),
            ("size", "<f8", [2.0, 2.0]),
            ("price", "<f8", [10.0, 12.0]),
            ("fees", "<f8", [1.0, 0.0]),
            ("side", "<i8", [0, 1]),
            ("init_cash", "<f8", [100.0]),
        )
    ).digest()
    whole = hashlib.sha256(
        b"columns |u1 (1, 32)\n"
        + column
        + written(("init_cash", "<f8", [100.0]))
        + b"cash_sharing |u1 (1,)\n\x00"
        + b"groups <i8 (0,)\n"
    ).hexdigest()
    assert digest_of(hand_made()) == whole == GOLDEN_PORTFOLIO


def test_the_golden_results_digest():
    metrics = {"total_return": 0.03, "total_trades": 1, "period_s": 345600.0, "sharpe_ratio": None}
    assert results_digest(bytes.fromhex(GOLDEN_PORTFOLIO), metrics) == GOLDEN_RESULTS


def test_another_statistic_of_format_1_changes_the_results_digest():
    one, other = {"total_return": 0.03}, {"total_return": 0.0300001}
    assert results_digest(bytes(32), one) != results_digest(bytes(32), other)
    assert results_digest(bytes(32), one) == results_digest(bytes(32), {"total_return": 0.03 + 1e-15})
    assert results_digest(bytes(32), one) == results_digest(bytes(32), {**one, "new_in_a_later_vectorbt": 1.0})


def test_zero_and_nan_have_one_form():
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x8000000000000000], dtype=np.uint64).view(np.float64)
    plain = np.array([0x7FF8000000000000, 0x7FF8000000000000, 0], dtype=np.uint64).view(np.float64)
    assert floats(strange).tobytes() == plain.tobytes()


def test_a_column_of_a_sweep_digests_as_the_same_column_alone():
    from runvault.engines.vectorbt.digest import column_digests

    for name in ("sweep", "signals, gaps", "columns of 120 levels"):
        pf = corpus.BUILDERS[name]()
        cash = np.atleast_1d(pf.get_init_cash())
        for column, own in enumerate(column_digests(pf)[:4]):
            assert combine([own], cash[column : column + 1]).hex() == digest_of(pf.iloc[column])


def test_a_sweep_column_digests_as_a_fresh_single_run():
    close = corpus.prices("ABC")
    entries, exits = corpus.signals(close)
    sweep = corpus.from_signals(close)

    import vectorbt as vbt

    fresh = vbt.Portfolio.from_signals(close["C"], entries["C"], exits["C"], fees=0.001, engine="rust")
    assert fresh.order_records["id"][0] != sweep.iloc[2].order_records["id"][0]
    assert digest_of(fresh) == digest_of(sweep.iloc[2])


@pytest.mark.parametrize("name", ["signals, two", "signals, gaps", "signals, sharing cash in two groups", "sweep"])
def test_the_digest_survives_stats_tables_and_pickle(name):
    from runvault.engines.vectorbt.inputs import read_inputs
    from runvault.engines.vectorbt.rebuild import rebuild

    pf = corpus.BUILDERS[name]()
    before = digest_of(pf)
    stats_of(pf)
    inputs = read_inputs(pf)
    assert digest_of(pf) == before
    assert digest_of(rebuild(through_files(inputs.portfolio, inputs.tables))) == before
    assert digest_of(type(pf).loads(pf.dumps())) == before


@pytest.mark.parametrize(
    "options", [{}, {"group_by": True}, {"group_by": True, "cash_sharing": True}, {"init_cash": "auto", "size": 1.0}]
)
def test_numba_and_rust_have_one_digest(options):
    assert digest_of(corpus.from_signals(**options)) == digest_of(corpus.from_signals(engine="numba", **options))


def test_the_digest_is_equal_across_processes():
    code = "import corpus, test_digest; print(test_digest.digest_of(test_digest.hand_made()))"
    here = str(corpus.__file__).rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == GOLDEN_PORTFOLIO


def test_what_is_valued_ordered_or_shared_otherwise_digests_otherwise():
    base = {"init_cash": 100.0}
    variants = [
        corpus.from_signals(**base),
        corpus.from_signals(corpus.prices(seed=8), **base),
        corpus.from_signals(**{**base, "init_cash": 200.0}),
        corpus.from_signals(**{**base, "fees": 0.002}),
        corpus.from_signals(**base, group_by=True),
        corpus.from_signals(**base, group_by=True, cash_sharing=True),
        corpus.from_signals(corpus.prices(gaps=True), **base),
        corpus.from_signals(corpus.prices(gaps=True), **base, fillna_close=False),
    ]
    assert len({digest_of(pf) for pf in variants}) == len(variants)


def test_the_fingerprint_of_price_data_is_what_the_specification_says():
    index = pd.date_range("2020-01-01", periods=2, tz="Europe/Berlin", unit="s")
    expected = hashlib.sha256(
        np.array([2, 2], dtype="<i8").tobytes()
        + np.array([1577833200 * 10**9, 1577919600 * 10**9], dtype="<i8").tobytes()
        + np.array([1.0, 0.0], dtype="<f8").tobytes()
        + np.array([2.0, np.nan], dtype="<f8").tobytes()
        + '["株",0]'.encode()
    ).hexdigest()
    assert data_fingerprint(index, [np.array([1.0, -0.0]), np.array([2, np.nan])], ["株", 0]) == expected
    naive = index.tz_convert("UTC").tz_localize(None)
    assert data_fingerprint(naive, [np.array([1.0, -0.0]), np.array([2, np.nan])], ["株", 0]) == expected


def test_labels_of_every_kind_have_a_fingerprint():
    indexes = [
        pd.RangeIndex(2),
        pd.Index(["a", "b"]),
        pd.period_range("2020-01", periods=2, freq="M"),
        pd.MultiIndex.from_product([[1], pd.date_range("2020", periods=2)]),
        pd.DatetimeIndex(["0801-01-01", "0802-01-01"]).as_unit("s"),
        pd.Index([0.5, np.nan]),
    ]
    prints = {data_fingerprint(index, [np.array([1.0, 2.0])], [("a", np.int64(5), np.nan)]) for index in indexes}
    assert len(prints) == len(indexes)
