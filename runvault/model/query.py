"""The filter expression of `list`: text → a checked tree of conditions. Nothing here is executed, and there is no SQL.

::

    sharpe_ratio > 1 and params.fast < 20 and "golden" in tags and symbol == "GOOG"

Python's own parser reads the text; what comes out is made only of the classes below, or the text is refused.
"""

from __future__ import annotations

import ast
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from runvault.errors import ConfigError
from runvault.model.hearing import unheard

Scalar: TypeAlias = bool | int | float | str | None
CompareOp: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]

MAX_LENGTH = 1 << 20
MAX_DEPTH = 64

_COMPARE: dict[type[ast.cmpop], CompareOp] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_BARE_DATE = re.compile(r"(?<!['\"\w-])\d{4}-\d\d-\d\d")
_DATE = "a date is written in quotes: start < '2024-03-01'"
_ALLOWED = "a condition compares names with values: sharpe_ratio > 1 and params.fast < 20 and 'golden' in tags"


@dataclass(frozen=True)
class Name:
    """A metric, parameter, setting or field; a bare name (without a dot) is looked for among all of them."""

    path: str
    bare: bool


@dataclass(frozen=True)
class Value:
    """A number, a text, True, False or None."""

    value: Scalar


@dataclass(frozen=True)
class Values:
    """A list of literals, as in ``seed in [1, 2, 3]``."""

    values: tuple[Scalar, ...]


Operand: TypeAlias = Name | Value


@dataclass(frozen=True)
class Comparison:
    """``left op right``; false where either is undefined."""

    left: Operand
    op: CompareOp
    right: Operand


@dataclass(frozen=True)
class Membership:
    """``item in container``; a name on the right is a list (tags, symbols, a parameter that is one) or a text."""

    item: Operand
    container: Name | Value | Values
    negated: bool


@dataclass(frozen=True)
class Undefined:
    """``name is None``, or ``is not None`` where negated: the one question that null answers."""

    operand: Operand
    negated: bool


@dataclass(frozen=True)
class Truth:
    """A name or literal standing alone: true unless undefined, zero, False or empty."""

    operand: Operand


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    condition: Condition


@dataclass(frozen=True)
class All:
    """``a and b and …``."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """``a or b or …``."""

    conditions: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Membership | Undefined | Truth | Not | All | AnyOf


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which runs to list, and in which order.

    Parameters
    ----------
    tags, any_tags : tuple of str
        Runs that carry all of `tags`, and at least one of `any_tags` where there are any.
    where : str or None
        A condition, as :func:`parse_condition` reads it.
    search : str or None
        Words that the note holds, all of them.
    since, until : str or None
        Bounds of ``created_at``, both included, as :func:`normalise_time` reads them.
    sort : str
        A metric, parameter or field; with ``-`` before it the greatest first. Undefined comes last in both directions.
    periods_per_year : float or None
        Take ``sharpe_ratio`` as the moments of the returns give it with so many periods a year and no risk-free
        return, so that all runs have one definition; None for each run's own.
    """

    strategy: str | None = None
    engine: str | None = None
    symbol: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    where: str | None = None
    search: str | None = None
    since: str | None = None
    until: str | None = None
    config_hash: str | None = None
    seed: int | None = None
    sort: str = "-created_at"
    limit: int | None = None
    offset: int = 0
    periods_per_year: float | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ConfigError(f"limit must not be negative: {self.limit}")
        if self.offset < 0:
            raise ConfigError(f"offset must not be negative: {self.offset}")


def parse_condition(text: str) -> Condition:
    """Read a condition; whatever is no condition is refused with what it is and where.

    Raises
    ------
    ConfigError
        The text is not an expression, or holds what a condition has no use for (a call, arithmetic, …).

    Examples
    --------
    >>> parse_condition("sharpe_ratio > 1")
    Comparison(left=Name(path='sharpe_ratio', bare=True), op='>', right=Value(value=1))
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"filter is longer than {MAX_LENGTH} characters")
    source = text.strip()
    try:
        with unheard():  # "\d" in a text is the user's affair, not a warning on their terminal
            tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_a_condition(source, error) from None
    return _Reader(source).condition(tree.body, 0)


def names_of(condition: Condition) -> list[Name]:
    """Return the names that a condition asks about, each once, in the order of the text.

    Examples
    --------
    >>> [name.path for name in names_of(parse_condition("params.a < 1 or not (b > params.a)"))]
    ['params.a', 'b']
    """
    return list(dict.fromkeys(_iter_names(condition)))


def normalise_time(text: str, *, end: bool = False) -> str:
    """Return an ISO date or time as the archive writes times: UTC, six digits, ``Z``, so that text order is time order.

    A date alone means its first microsecond, or its last with `end`; a time without a zone is UTC.

    Examples
    --------
    >>> normalise_time("2024-03-01T12:00:00+02:00")
    '2024-03-01T10:00:00.000000Z'
    >>> normalise_time("2024-03-01", end=True)
    '2024-03-01T23:59:59.999999Z'
    """
    try:
        time = dt.datetime.fromisoformat(text)
        if end and re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
            time = time.replace(hour=23, minute=59, second=59, microsecond=999_999)
        zoned = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"not a time: {text!r}", "write a date or a time in ISO 8601: 2024-03-01") from None
    return f"{zoned.year:04d}{zoned:-%m-%dT%H:%M:%S.%f}Z"


def _iter_names(condition: Condition) -> Iterator[Name]:
    match condition:
        case Not(inner):
            yield from _iter_names(inner)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from _iter_names(part)
        case Comparison(left, _, right) | Membership(left, right, _):
            yield from (operand for operand in (left, right) if isinstance(operand, Name))
        case Undefined(operand, _) | Truth(operand):
            if isinstance(operand, Name):
                yield operand


def _not_a_condition(source: str, error: Exception) -> ConfigError:
    if not source:
        return ConfigError("filter is empty", _ALLOWED)
    problem = "it is nested too deeply"
    hint = _ALLOWED
    if isinstance(error, SyntaxError | ValueError):
        problem = (error.msg if isinstance(error, SyntaxError) else str(error)) or "invalid syntax"
        at = error.offset if isinstance(error, SyntaxError) else None
        problem += f" (character {at})" if at else ""
    if re.search(r"[^=<>!]=[^=]", source):
        hint = "equality is written '=='"
    elif re.search(r"\.(lambda|class|from|is|in|not|and|or|if|for|with|as|def|pass|return|global)\b", source):
        hint = 'a name that is a word of Python is written params["lambda"]'
    elif _BARE_DATE.search(source):
        hint = _DATE
    return ConfigError(f"filter is not a condition: {problem}: {_short(source)!r}", hint)


def _short(text: str) -> str:
    line = text.encode("utf-8", "replace").decode().splitlines()[0] if text else text
    return line if len(line) <= 80 else line[:77] + "…"


class _Reader:
    """Turns Python's syntax tree into ours; `source` is kept for messages."""

    def __init__(self, source: str) -> None:
        self._source = source

    def condition(self, node: ast.expr, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise ConfigError(f"filter is nested more than {MAX_DEPTH} levels deep")
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = tuple(self.condition(value, depth + 1) for value in values)
                return All(parts) if isinstance(op, ast.And) else AnyOf(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.condition(operand, depth + 1))
            case ast.Compare():
                return self._comparisons(node)
        return Truth(self._operand(node))

    def _comparisons(self, node: ast.Compare) -> Condition:
        nodes = [node.left, *node.comparators]
        parts = tuple(self._one(left, op, right) for left, op, right in zip(nodes, node.ops, nodes[1:], strict=False))
        return parts[0] if len(parts) == 1 else All(parts)

    def _one(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Condition:
        if isinstance(op, ast.In | ast.NotIn):
            return Membership(self._operand(left), self._container(right), isinstance(op, ast.NotIn))
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._refuse(right, "'is' asks for None only")
            return Undefined(self._operand(left), isinstance(op, ast.IsNot))
        return Comparison(self._operand(left), _COMPARE[type(op)], self._operand(right))

    def _container(self, node: ast.expr) -> Name | Value | Values:
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return Values(tuple(self._literal(element).value for element in node.elts))
        return self._operand(node)

    def _operand(self, node: ast.expr) -> Operand:
        if isinstance(node, ast.Constant | ast.UnaryOp):
            return self._literal(node)
        parts = self._path(node)
        return Name(".".join(parts), bare=len(parts) == 1)

    def _path(self, node: ast.expr) -> list[str]:
        """Return the parts of ``a.b.c`` or ``a["b"].c``."""
        parts: list[str] = []
        while True:
            match node:
                case ast.Name(id=name):
                    return [self._text(name, node), *reversed(parts)]
                case ast.Attribute(value=inner, attr=name):
                    parts.append(self._text(name, node))
                case ast.Subscript(value=inner, slice=ast.Constant(value=str(name))):
                    parts.append(self._text(name, node))
                case _:
                    raise self._refuse(node, f"{_WORDS.get(type(node), 'this')} is not allowed")
            node = inner

    def _literal(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() | None as value):
                return Value(value)
            case ast.Constant(value=str(value)):
                return Value(self._text(value, node))
            case ast.Constant(value=int(number) | float(number)):
                return Value(number)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=ast.Constant(value=int(number) | float(number))):
                if not isinstance(number, bool):
                    return Value(-number if isinstance(op, ast.USub) else number)
        raise self._refuse(node, f"{_WORDS.get(type(node), 'this')} is not allowed")

    def _text(self, text: str, node: ast.expr) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._refuse(node, "a text that is not Unicode is not allowed") from None
        return text

    def _refuse(self, node: ast.expr, problem: str) -> ConfigError:
        segment = ast.get_source_segment(self._source, node) or self._source
        hint = _DATE if _BARE_DATE.match(segment) else _ALLOWED
        return ConfigError(f"filter is not a condition: {problem}: {_short(segment)!r}", hint)


_WORDS: dict[type[ast.expr], str] = {
    ast.BinOp: "arithmetic",
    ast.Call: "a call",
    ast.Compare: "a comparison as a value",
    ast.BoolOp: "a condition as a value",
    ast.Constant: "such a literal",
    ast.Dict: "a dictionary",
    ast.IfExp: "if … else",
    ast.JoinedStr: "a formatted text",
    ast.Lambda: "a function",
    ast.List: "a list that does not follow 'in'",
    ast.ListComp: "a comprehension",
    ast.Name: "a name in a list",
    ast.NamedExpr: "an assignment",
    ast.Subscript: "an index that is not a text",
    ast.UnaryOp: "such an operator",
}
