"""Parameters as a function declares them."""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from runvault.execution.declared import as_declared
from runvault.model.canonical import normalise

if TYPE_CHECKING:
    from nowhere import Unknown


class Kind(enum.Enum):
    SIMPLE = "sma"
    WEIGHTED = "wma"


WEIGHTS = np.array([1.0, 2.0])
ZONE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    "value",
    [
        Kind.WEIGHTED,
        dt.date(2024, 5, 1),
        dt.datetime(2024, 5, 1, 12, 30, 0, 7),  # noqa: DTZ001 - naive times are usual in prices
        dt.datetime(2024, 5, 1, 12, tzinfo=ZONE),
        pd.Timestamp("2024-05-01 09:30:00.000000007"),
        dt.timedelta(days=-2, seconds=3),
        pd.Timedelta("36h"),
        (10, "ema"),
        [10, 20],
        "as it is",
        3,
        None,
    ],
)
def test_a_given_value_comes_back_as_the_default_is(value: Any) -> None:
    def backtest(start: Any = value) -> None: ...

    back = as_declared(backtest, {"start": normalise(value)})["start"]
    assert (back, type(back)) == (value, type(value))


def test_another_value_than_the_default_has_its_type() -> None:
    def backtest(
        kind: Kind = Kind.SIMPLE,
        weights: Any = WEIGHTS,
        pair: Any = (1, 2),
        start: Any = dt.datetime(2020, 1, 1, tzinfo=ZONE),
    ) -> None: ...

    asked = {"kind": "WEIGHTED", "weights": [3, 4], "pair": [5, 6], "start": "2024-05-01T10:00:00Z"}
    made = as_declared(backtest, asked)

    assert (made["kind"], made["pair"]) == (Kind.WEIGHTED, (5, 6))
    assert made["start"] == dt.datetime(2024, 5, 1, 12, tzinfo=ZONE)
    assert (made["weights"].dtype, made["weights"].tolist()) == (np.dtype("f8"), [3.0, 4.0])
    assert normalise(made) == asked


def test_an_annotation_says_what_is_meant() -> None:
    def backtest(kind: Kind, until: dt.date | None = None, windows: tuple[int, int] | None = None) -> None: ...

    made = as_declared(backtest, {"kind": "SIMPLE", "until": "2024-05-01", "windows": [5, 20]})
    assert made == {"kind": Kind.SIMPLE, "until": dt.date(2024, 5, 1), "windows": (5, 20)}


def test_what_does_not_fit_stays_as_it_is() -> None:
    def backtest(kind: Kind, until: dt.date = dt.date(2024, 1, 1), either: int | str = 1, **more: Any) -> None: ...

    asked = {"kind": "sma", "until": "today", "either": "x", "other": [1]}
    assert as_declared(backtest, asked) == asked


def test_annotations_that_cannot_be_resolved_say_nothing() -> None:
    def backtest(kind: Unknown, pair: Any = (1, 2)) -> None: ...

    assert as_declared(backtest, {"kind": "x", "pair": [3, 4]}) == {"kind": "x", "pair": (3, 4)}
