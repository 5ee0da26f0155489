"""The filter expression: what is a condition, what is refused, and how it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvault.errors import ConfigError
from runvault.model.query import (
    All,
    AnyOf,
    Comparison,
    Membership,
    Name,
    Not,
    Selection,
    Truth,
    Undefined,
    Value,
    Values,
    names_of,
    normalise_time,
    parse_condition,
)


def bare(name: str) -> Name:
    return Name(name, bare=True)


def dotted(name: str) -> Name:
    return Name(name, bare=False)


def test_the_example_of_the_manual_is_read_whole() -> None:
    text = 'sharpe_ratio > 1 and params.fast < 20 and "golden" in tags and symbol == "GOOG"'
    assert parse_condition(text) == All(
        (
            Comparison(bare("sharpe_ratio"), ">", Value(1)),
            Comparison(dotted("params.fast"), "<", Value(20)),
            Membership(Value("golden"), bare("tags"), negated=False),
            Comparison(bare("symbol"), "==", Value("GOOG")),
        )
    )


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("a == 'x'", Comparison(bare("a"), "==", Value("x"))),
        ('a == "x"', Comparison(bare("a"), "==", Value("x"))),
        ("1 < a <= 2.5", All((Comparison(Value(1), "<", bare("a")), Comparison(bare("a"), "<=", Value(2.5))))),
        ("a > -0.5", Comparison(bare("a"), ">", Value(-0.5))),
        ("a != True", Comparison(bare("a"), "!=", Value(True))),
        ("a == None", Comparison(bare("a"), "==", Value(None))),
        ("a is None", Undefined(bare("a"), negated=False)),
        ("a is not None", Undefined(bare("a"), negated=True)),
        ("not a", Not(Truth(bare("a")))),
        ("a or b", AnyOf((Truth(bare("a")), Truth(bare("b"))))),
        ("seed in [1, 2]", Membership(bare("seed"), Values((1, 2)), negated=False)),
        ("seed not in (1, None)", Membership(bare("seed"), Values((1, None)), negated=True)),
        ("'x' not in tags", Membership(Value("x"), bare("tags"), negated=True)),
        ('params["a b"] > 1', Comparison(dotted("params.a b"), ">", Value(1))),
        ('data["prices"].md5 == "x"', Comparison(dotted("data.prices.md5"), "==", Value("x"))),
        ("\n a\n", Truth(bare("a"))),
    ],
)
def test_what_a_condition_means(text: str, condition: object) -> None:
    assert parse_condition(text) == condition


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("a >", "not a condition"),
        ("a = 1", "not a condition"),
        ("__import__('os').system('true')", "a call"),
        ("len(tags) > 1", "a call"),
        ("a + 1 > 2", "arithmetic"),
        ("-a > 2", "such an operator"),
        ("-'x' > 2", "such an operator"),
        ("-True > 2", "such an operator"),
        ("~a > 2", "such an operator"),
        ("a > b'x'", "such a literal"),
        ("a > 1j", "such a literal"),
        ("a > ...", "such a literal"),
        ("a > [1]", "a list that does not follow 'in'"),
        ("a in [b]", "a name in a list"),
        ("a in [[1]]", "a list that does not follow 'in'"),
        ("a is 1", "'is' asks for None only"),
        ("(a > 1) > 2", "a comparison as a value"),
        ("(a and b) > 2", "a condition as a value"),
        ("a[0] > 1", "an index that is not a text"),
        ("a[1:2] > 1", "an index that is not a text"),
        ("(lambda: 1) > 1", "a function"),
        ("f'{a}' == 'x'", "a formatted text"),
        ("{1: 2} == a", "a dictionary"),
        ("[x for x in a]", "a comprehension"),
        ("(x := 1) > 0", "an assignment"),
        ("a if b else c", "if … else"),
        ("await a", "this is not allowed"),
        ("a == '\\ud800'", "not Unicode"),
        ("a == '\ud800'", "not a condition"),
        ("a == '\0'", "not a condition"),
        ("a; import os", "not a condition"),
        ("a\nb", "not a condition"),
        ("import os", "not a condition"),
        ("(" * 500 + "a" + ")" * 500, "nested"),
        ("not " * 200 + "a", "levels deep"),
        ("not " * 100_000 + "a", "nested"),
        ("a == '" + "x" * (1 << 20) + "'", "longer than"),
    ],
)
def test_what_is_no_condition_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition(text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_single_equals_sign_is_answered_with_two() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition("symbol = 'GOOG'")
    assert caught.value.hint == "equality is written '=='"


@pytest.mark.parametrize("text", ["start < 2024-01-01", "start < 2024-11-12", "'2024-01-01' < start < 2024-11-12"])
def test_a_date_without_quotes_is_answered_with_them(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition(text)
    assert caught.value.hint == "a date is written in quotes: start < '2024-03-01'"


def test_a_parameter_named_like_a_word_of_python_is_answered_with_the_way_to_write_it() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition("params.lambda > 1")
    assert caught.value.hint is not None
    assert 'params["lambda"]' in caught.value.hint
    assert parse_condition('params["lambda"] > 1') == Comparison(dotted("params.lambda"), ">", Value(1))


def test_names_are_gathered_once_each_from_everywhere() -> None:
    condition = parse_condition("a < b and (not c or d is None) and x in params.y and a in [1] and 2 < 3")
    assert [name.path for name in names_of(condition)] == ["a", "b", "c", "d", "x", "params.y"]


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_a_config_error(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ConfigError:
        return
    assert all(isinstance(name, Name) for name in names_of(condition))


@pytest.mark.parametrize(
    ("text", "end", "normal"),
    [
        ("2024-03-01", False, "2024-03-01T00:00:00.000000Z"),
        ("2024-03-01", True, "2024-03-01T23:59:59.999999Z"),
        ("20240301", True, "2024-03-01T23:59:59.999999Z"),
        ("2024-03-01T12:30", True, "2024-03-01T12:30:00.000000Z"),
        ("2024-03-01T12:30:00Z", False, "2024-03-01T12:30:00.000000Z"),
        ("2024-03-01T00:30:00.25+01:00", False, "2024-02-29T23:30:00.250000Z"),
        ("0999-01-01", False, "0999-01-01T00:00:00.000000Z"),
    ],
)
def test_times_become_texts_that_sort_as_times(text: str, end: bool, normal: str) -> None:
    assert normalise_time(text, end=end) == normal


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "0001-01-01T00:00+01:00", "30d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a time"):
        normalise_time(text)


def test_a_selection_cannot_begin_before_the_first_run() -> None:
    with pytest.raises(ConfigError, match="offset"):
        Selection(offset=-1)
    with pytest.raises(ConfigError, match="limit"):
        Selection(limit=-1)
