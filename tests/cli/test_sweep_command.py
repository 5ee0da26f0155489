from __future__ import annotations

import click
import pytest

from runvault.cli.grids import parse_grid, parse_spec
from runvault.cli.saves import show_swept


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("10,20,30", [10, 20, 30]),
        ("ema, sma", ["ema", "sma"]),
        ('true,null,"1"', [True, None, "1"]),
        ("[1,2],[3]", [[1, 2], [3]]),
        ('ema, "a,b",c', ["ema", "a,b", "c"]),
        ("[1,2], all,{'a'}", [[1, 2], "all", "{'a'}"]),
        ("NaNo,Infinity War", ["NaNo", "Infinity War"]),
        ("09:30,16:00", ["09:30", "16:00"]),
        ('"09:30"', ["09:30"]),
        ('"a:b:c"', ["a:b:c"]),
        ("09:30:00,16:00:00", ["09:30:00", "16:00:00"]),
        ("binance:BTC", ["binance:BTC"]),
        ('{"a": {"b": {"c": 1}}}', [{"a": {"b": {"c": 1}}}]),
        ("5:20:5", [5, 10, 15]),
        ("10:4:-3", [10, 7]),
        ("0.1:0.7:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        ("1:2:0.4", [1.0, 1.4, 1.8]),
    ],
)
def test_a_spec_names_values(spec: str, values: list[object]) -> None:
    assert parse_spec(spec) == values
    assert list(map(type, parse_spec(spec))) == list(map(type, values))


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("", "no values"),
        (" ", "no values"),
        ("1,,2", "empty"),
        ("1,", "empty"),
        ("nan", "no value that two runs"),
        ("1,NaN", "no value that two runs"),
        ("1:5", "no range"),
        ("1:5:1:1", "no range"),
        ("1::2", "no range"),
        ("0:inf:1", "no range"),
        ("1:2:nan", "no range"),
        ("1 : 2 : NaN", "no range"),
        ("0:-Infinity", "no range"),
        ("1:2:3:inf", "no range"),
        ("a:b:c", "no range.*quotes"),
        ("1:5:0", "step is 0"),
        ("5:5:1", "no values"),
        ("5:1:1", "no values"),
        ("0:1:1e-9", "more than"),
    ],
)
def test_a_spec_that_is_none_is_refused(spec: str, match: str) -> None:
    with pytest.raises(click.BadParameter, match=match):
        parse_spec(spec)


@pytest.mark.parametrize(("given", "match"), [(["fast"], "of the form"), (["a=1", "a=2"], "twice"), (["=1"], "form")])
def test_a_grid_names_each_parameter_once(given: list[str], match: str) -> None:
    with pytest.raises(click.BadParameter, match=match):
        parse_grid(given)


def test_failures_are_told_with_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"params": {"fast": 5, "kind": "ema"}, "error": "sma raised ValueError: no"}]
    show_swept({"total": 3, "archived": 1, "skipped": 1, "failed": failed}, "table")
    out, err = capsys.readouterr()
    assert out == "3 combinations: 1 archived, 1 skipped, 1 failed\n"
    assert err == 'failed: fast=5, kind="ema": sma raised ValueError: no\n'
