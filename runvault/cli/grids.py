"""Grids as they are written on the command line: ``10,20,30`` and ``start:stop:step``."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import ROUND_CEILING, Decimal
from typing import Any, TypeAlias

import click

from runvault.cli.common import NOT_NUMBERS, named_values, parse_value

Json: TypeAlias = Any

OPTION = "--grid"
MOST_VALUES = 1_000_000

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?:{_NUMBER})?(?::(?:{_NUMBER})?)+")
_SPACES = re.compile(r"\s*")
_INTEGER = re.compile(r"[-+]?\d+")


def parse_grid(given: Sequence[str]) -> dict[str, list[Json]]:
    """Return ``k=SPEC`` options as the values of each parameter.

    Raises
    ------
    click.BadParameter
        As `named_values`, and for a SPEC that is none.
    """
    return named_values(given, OPTION, "SPEC", parse_spec)


def parse_spec(spec: str, option: str = OPTION) -> list[Json]:
    """Return the values that a SPEC names: JSON where it parses, else text; a range without its stop.

    Examples
    --------
    >>> parse_spec("10,20,30"), parse_spec("ema,sma"), parse_spec("5:20:5"), parse_spec("0.1:0.4:0.1")
    ([10, 20, 30], ['ema', 'sma'], [5, 10, 15], [0.1, 0.2, 0.3])
    """
    if _RANGE.fullmatch(spec):
        return _range(spec, option)
    if _is_no_range(spec):
        hint = "write start:stop:step in finite numbers, or JSON text in quotes to mean the text"
        raise click.BadParameter(f"{spec!r} is no range; {hint}", param_hint=option)
    if not spec.strip():
        raise click.BadParameter("there are no values", param_hint=option)
    return [_value(item, option) for item in _items(spec)]


def _items(spec: str) -> Iterator[str]:
    """Yield the items of a SPEC: commas inside of lists and quotes are no separators."""
    decode = json.JSONDecoder().raw_decode
    start = 0
    while start <= len(spec):
        begin = _SPACES.match(spec, start)
        inside = begin.end() if begin else start
        with suppress(ValueError, RecursionError):
            inside = decode(spec, inside)[1]
        comma = spec.find(",", inside)
        end = len(spec) if comma < 0 else comma
        yield spec[start:end]
        start = end + 1


def _is_no_range(spec: str) -> bool:
    """Return whether a SPEC of one item was meant as a range: three parts, or numbers of which one is not finite."""
    parts = [part.strip() for part in spec.split(":")]
    if len(parts) == 1 or any(mark in spec for mark in ',"[]{}'):
        return False
    infinite = [part.lstrip("+-").lower() in NOT_NUMBERS for part in parts]
    numbers = [not part or re.fullmatch(_NUMBER, part) is not None for part in parts]
    return len(parts) == 3 or (any(infinite) and all(map(operator.or_, infinite, numbers)))


def _value(text: str, option: str) -> Json:
    if not text.strip():
        raise click.BadParameter('a value is empty; write "" with quotes to mean that', param_hint=option)
    return parse_value(text.strip(), option)


def _range(spec: str, option: str) -> list[Json]:
    parts = spec.split(":")
    if len(parts) != 3 or not all(parts):
        raise click.BadParameter(f"{spec!r} is no range; write start:stop:step", param_hint=option)
    start, stop, step = map(Decimal, parts)
    if not step:
        raise click.BadParameter(f"{spec!r}: the step is 0", param_hint=option)
    steps = (stop - start) / step
    if steps <= 0:
        raise click.BadParameter(f"{spec!r} has no values: the stop is left out, as in Python", param_hint=option)
    count = int(steps.to_integral_value(ROUND_CEILING))
    if count > MOST_VALUES:
        raise click.BadParameter(f"{spec!r} has {count:,} values, more than {MOST_VALUES:,}", param_hint=option)
    whole = all(map(_INTEGER.fullmatch, parts))
    values = (start + place * step for place in range(count))
    return [int(value) if whole else float(value) for value in values]
