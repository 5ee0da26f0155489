"""Inputs by extension, and windows cut out of time series; numbers worked by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from runvault.errors import ConfigError
from runvault.execution.series import Declared, Span, cut_inputs, read_input, series_in, time_of

HOURS = pd.date_range("2024-05-01 22:00", periods=4, freq="h")


def bars() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Open": [1, 2, 3, 4],
            "High": [5, 9, 7, 6],
            "Low": [1, 0, 2, 3],
            "Close": [2, 3, 4, 5],
            "Volume": [1, 1, 2, 2],
        },
        index=HOURS,
    )


def cut(value: object, span: Span, declared: Declared | None = None) -> object:
    return cut_inputs({"bars": value}, span, series_in({"bars": value}, declared))["bars"]


def test_files_are_read_by_their_extension(tmp_path: Path) -> None:
    frame = bars().reset_index(names="time")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_feather(tmp_path / "a.feather")
    (tmp_path / "a.txt").write_text("x")
    for name in ("a.csv", "a.parquet", "a.feather"):
        read = read_input(tmp_path / name)
        assert list(read["time"]) == list(HOURS), name
        assert time_of(read) == "time"
    assert read_input(tmp_path / "a.txt") == tmp_path / "a.txt"
    assert read_input(tmp_path) == tmp_path


def test_texts_that_are_no_dates_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("symbol,code\n3M,2024-13-99\nIBM,x\n")
    assert time_of(read_input(tmp_path / "a.csv")) is None


def test_a_file_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet.*cannot be read"):
        read_input(tmp_path / "a.parquet")


def test_both_ends_are_included_and_a_date_means_all_of_its_day() -> None:
    days = pd.Series(range(800), pd.date_range("2019-01-01", periods=800))
    assert cut(days, Span(start="2019-02", end="2019-02")).index.strftime("%m-%d")[-1] == "02-28"
    assert len(cut(days, Span(start="2020", end="2020"))) == 366
    assert list(cut(bars(), Span(end="2024-05-01")).index) == list(HOURS[:2])
    assert list(cut(bars(), Span(start="2024-05-01T23:00", end="2024-05-02T00:00")).index) == list(HOURS[1:3])


def test_a_zone_is_kept_and_a_naive_moment_is_meant_in_it() -> None:
    zoned = bars().tz_localize("America/New_York")
    assert len(cut(zoned, Span(start="2024-05-02"))) == 2
    assert len(cut(zoned, Span(start="2024-05-02T04:00:00Z"))) == 2


def test_bars_are_resampled_by_the_rules_of_each_column() -> None:
    days = cut(bars(), Span(interval="1D"))
    assert days.to_dict("list") == {
        "Open": [1, 3],
        "High": [9, 7],
        "Low": [0, 2],
        "Close": [3, 5],
        "Volume": [2, 4],
    }


def test_a_column_of_times_is_cut_like_an_index() -> None:
    frame = bars().reset_index(names="time")
    assert len(cut(frame, Span(start="2024-05-02"))) == 2
    assert list(cut(frame, Span(interval="1D"))["Close"]) == [3, 5]


@pytest.mark.parametrize(
    "span",
    [Span(start="soon"), Span(start="nat"), Span(end="now"), Span(interval="nothing"), Span(interval="0D")],
    ids=str,
)
def test_what_is_no_time_is_refused(span: Span) -> None:
    with pytest.raises(ConfigError):
        cut(bars(), span)


def test_what_is_no_time_series_is_left_alone() -> None:
    weights = pd.DataFrame({"weight": [1.0]})
    assert cut(weights, Span(start="2024-05-02")) is weights


def two_times() -> pd.DataFrame:
    frame = bars().reset_index(names="time")
    return frame.assign(known=frame["time"] + pd.Timedelta(days=1))


def test_a_declared_column_is_cut_where_several_hold_times() -> None:
    span = Span(start="2024-05-02")
    assert len(cut(two_times(), span)) == 4
    assert len(cut(two_times(), span, {"bars": "time"})) == 2
    assert len(cut(two_times(), span, {"bars": "known"})) == 4
    assert list(cut(two_times(), Span(interval="1D"), {"bars": "time"})["Close"]) == [3, 5]


def test_what_is_not_declared_is_left_alone_where_something_is() -> None:
    given = {"bars": bars(), "other": bars(), "weights": 3}
    done = cut_inputs(given, Span(end="2024-05-01"), series_in(given, {"bars": ""}))
    assert [len(done["bars"]), len(done["other"]), done["weights"]] == [2, 4, 3]
    assert series_in(given, {}) == {}
    assert series_in(given, None) == {"bars": "", "other": ""}


@pytest.mark.parametrize("span", [Span(), Span(start="2024-05-02")], ids=["whole", "cut"])
@pytest.mark.parametrize(
    ("value", "declared", "words"),
    [
        (bars(), {"baars": ""}, "no input 'baars'"),
        (bars(), {"bars": "time"}, "no column 'time' of times"),
        (bars(), {"bars": "Open"}, "no column 'Open' of times"),
        (two_times(), {"bars": ""}, r"2 columns \(time, known\) of times"),
        (pd.DataFrame({"weight": [1.0]}), {"bars": ""}, "neither index nor column of times"),
        (Path("a.txt"), {"bars": ""}, "neither index nor column of times"),
    ],
)
def test_a_declaration_that_does_not_hold_is_refused(span: Span, value: object, declared: Declared, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        cut(value, span, declared)


@pytest.mark.parametrize("span", [Span(start="2050-01-01"), Span(start="2024-05-03", end="2024-05-01")])
def test_dates_that_leave_nothing_are_an_error(span: Span) -> None:
    given = {"bars": bars(), "weights": 3}
    with pytest.raises(ConfigError, match="no row of bars lies between") as caught:
        cut_inputs(given, span, {"bars": ""})
    assert str(HOURS[0]) in str(caught.value.hint)
    events = bars()[:0]  # one of several may have nothing there
    assert (
        len(cut_inputs({**given, "events": events}, Span(end="2024-05-01"), {"bars": "", "events": ""})["events"]) == 0
    )
