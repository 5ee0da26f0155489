"""Naive times are the subject here: they are read as UTC."""
# ruff: noqa: DTZ001

import enum
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd
import pytest

from runvault.errors import ConfigError
from runvault.model.canonical import canonical_bytes, check_name, check_text, config_hash, make_config, normalise


class Side(enum.Enum):
    LONG = 1


class Size(enum.IntEnum):
    BIG = 7


class Mode(enum.StrEnum):
    FAST = "quick"


class Flags(enum.Flag):
    A = 1
    B = 2


def test_the_golden_hash():
    golden = "42ac6b203a9c26a4edda4ab6b58eba5b21f7407fecd1490321b22304755d36dd"
    assert config_hash({"slow": 30, "fast": 10}) == golden
    assert config_hash({"fast": np.int64(10), "slow": 30.0}) == golden


def test_the_golden_hash_of_a_whole_config():
    config = make_config(
        "dual_sma",
        "vectorbt",
        {"fast": 10, "slow": 50},
        {"init_cash": 10000, "fees": 0.001, "freq": "1D"},
        {"prices": {"start": "2004-08-19", "end": "2013-03-01", "symbols": ("GOOG",), "interval": "1D"}},
    )
    assert canonical_bytes(config) == (
        b'{"data":{"prices":{"end":"2013-03-01","interval":"1D","start":"2004-08-19","symbols":["GOOG"]}},'
        b'"engine":"vectorbt","params":{"fast":10,"slow":50},'
        b'"settings":{"fees":0.001,"freq":"1D","init_cash":10000},"strategy":"dual_sma"}'
    )
    assert config_hash(config) == "32772e15839b97542a5b20dbe9907cb9adbab598fd16ac103f6272253e2a236e"


def aware(hours: int) -> timezone:
    return timezone(timedelta(hours=hours))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3),
        (np.uint64(7), 7),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (-0.0, 0.0),
        ((1, (2, 3)), [1, [2, 3]]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5.0), 5.0),
        (np.array(["a", None], dtype=object), ["a", None]),
        (OrderedDict(b=1), {"b": 1}),
        (Side.LONG, "LONG"),
        (Size.BIG, "BIG"),
        (Mode.FAST, "FAST"),
        (PurePosixPath("a/b"), "a/b"),
        (PureWindowsPath("a\\b"), "a/b"),
        ({1: "a", Side.LONG: "c", np.int64(2): "d"}, {"1": "a", "LONG": "c", "2": "d"}),
        ({np.bool_(False): 0}, {"false": 0}),
        (2**53 - 1, 2**53 - 1),
        ("été / <b> --x \u202e", "été / <b> --x \u202e"),
    ],
)
def test_values_have_one_json_form(value, expected):
    result = normalise(value)
    assert result == expected
    assert type(result) is type(expected)
    assert str(result) == str(expected)  # 0.0 is not -0.0, True is not 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2024, 5, 1), "2024-05-01T00:00:00Z"),
        (datetime(2024, 5, 1, 12, 30, 1, 500_000), "2024-05-01T12:30:01.5Z"),
        (datetime(2024, 5, 1, 2, tzinfo=aware(2)), "2024-05-01T00:00:00Z"),
        (datetime(1, 1, 1), "0001-01-01T00:00:00Z"),
        (date(2024, 5, 1), "2024-05-01"),
        (pd.Timestamp("2024-05-01T00:00:00.000000001"), "2024-05-01T00:00:00.000000001Z"),
        (pd.Timestamp("2024-05-01 02:00", tz="Europe/Berlin"), "2024-05-01T00:00:00Z"),
        (np.datetime64("2024-05-01"), "2024-05-01"),
        (np.datetime64("2024-05"), "2024-05-01"),
        (np.datetime64("1969-12-31T23:59:59.999999999"), "1969-12-31T23:59:59.999999999Z"),
        (np.datetime64("2024-05-01T12", "h"), "2024-05-01T12:00:00Z"),
        (np.datetime64(1, "25s"), "1970-01-01T00:00:25Z"),
        (timedelta(hours=1), "PT3600S"),
        (timedelta(0), "PT0S"),
        (timedelta(microseconds=-1), "-PT0.000001S"),
        (timedelta(days=-1), "-PT86400S"),
        (pd.Timedelta("1h 5ns"), "PT3600.000000005S"),
        (pd.Timedelta("-1ns"), "-PT0.000000001S"),
        (np.timedelta64(2, "D"), "PT172800S"),
        (np.timedelta64(-1500, "ms"), "-PT1.5S"),
    ],
)
def test_times_have_one_text(value, expected):
    assert normalise(value) == expected


@pytest.mark.parametrize(
    "times",
    [
        [
            datetime(2024, 5, 1, 6),
            datetime(2024, 5, 1, 6, tzinfo=UTC),
            datetime(2024, 5, 1, 8, tzinfo=aware(2)),
            pd.Timestamp("2024-05-01 06:00"),
            np.datetime64("2024-05-01T06:00:00"),
            np.datetime64("2024-05-01T06", "h"),
        ],
        [timedelta(minutes=5), pd.Timedelta("5min"), np.timedelta64(5, "m"), np.timedelta64(300, "s")],
    ],
)
def test_equal_times_have_equal_addresses(times):
    assert len({config_hash({"t": value}) for value in times}) == 1


class Opaque:
    pass


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -np.inf,
        np.float32("nan"),
        2**53,
        -(2**53),
        np.uint64(2**60),
        Decimal("1.5"),
        {1, 2},
        frozenset(),
        b"x",
        bytearray(b"x"),
        1j,
        np.complex128(1),
        Fraction(1, 3),
        time(9, 30),
        Opaque(),
        Opaque,
        len,
        range(3),
        iter([]),
        pd.NaT,
        pd.NA,
        np.datetime64("NaT", "ns"),
        np.timedelta64("NaT", "ns"),
        np.timedelta64(1, "M"),
        np.timedelta64(1, "Y"),
        np.datetime64(1, "ps"),
        np.datetime64("10000-01-01"),
        pd.Series([1]),
        pd.Index([1]),
        pd.Period("2024"),
        np.zeros(513),
        np.array([1.0, np.nan]),
        np.void(b"x"),
        Flags.A & Flags.B,
        "x" * 4097,
        "é" * 2049,
        "a\nb",
        "a\x7f",
        "a\x85",
        "a\ud800",
        datetime.max.replace(tzinfo=aware(-5)),
        {1.5: 1},
        {None: 1},
        {(1,): 1},
        {"a\n": 1},
        {"k" * 5000: 1},
        {2**60: 1},
        {date(2024, 1, 1): 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused_by_path(value):
    with pytest.raises(ConfigError) as caught:
        make_config("s", "vectorbt", {"window": [0, value]}, {}, {})
    assert "params.window[1]" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_longdouble_that_no_float_holds_is_refused():
    value = np.longdouble(1) / 3
    if float(value) == value:
        pytest.skip("longdouble is double here")
    with pytest.raises(ConfigError):
        normalise(value)


@pytest.mark.parametrize("value", [{1: 0, "1": 0}, {True: 0, "true": 0}, {Side.LONG: 0, "LONG": 0}])
def test_two_keys_that_become_equal_are_refused(value):
    with pytest.raises(ConfigError, match=r"params\.\w+ stands twice"):
        make_config("s", "vectorbt", value, {}, {})


def test_true_and_one_are_different_keys():
    assert normalise({True: 0, "1": 1}) == {"true": 0, "1": 1}


def test_nesting_without_end_is_refused():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="levels deep"):
        normalise(endless)


def test_a_config_of_many_small_values_is_bounded():
    with pytest.raises(ConfigError, match="bytes, more than"):
        canonical_bytes({"values": list(range(100_000))})


@pytest.mark.parametrize("strategy", ["", "a\x1b[31m", "a\ud800", "x" * 4097, None, 7])
def test_a_strategy_name_must_be_text(strategy):
    with pytest.raises(ConfigError, match="strategy"):
        make_config(strategy, "vectorbt", {}, {}, {})


@pytest.mark.parametrize("strategy", ["été", "a/b", "a b", "<b>", "--x", "\u202etxt", "=cmd()", "x" * 4096])
def test_odd_strategy_names_are_accepted(strategy):
    assert make_config(strategy, "vectorbt", {}, {}, {})["strategy"] == strategy


def test_sections_must_be_mappings():
    with pytest.raises(ConfigError, match="params must be a mapping"):
        make_config("s", "vectorbt", [("fast", 1)], {}, {})


def test_notes_may_have_lines():
    assert check_text("a\n\tb", "the note", lines=True)
    with pytest.raises(ConfigError):
        check_text("a\x1b[0m", "the note", lines=True)
    with pytest.raises(ConfigError):
        check_name("a\nb", "a tag")
