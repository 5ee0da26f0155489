"""The condition tree → SQL. Values and names are bound, never pasted; what is pasted are constants of this package.

Every leaf is 1, 0 or NULL (something is undefined), and NULL counts as false: `not` turns it into 1.
"""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from runvault.errors import ConfigError
from runvault.model.query import (
    All,
    AnyOf,
    CompareOp,
    Comparison,
    Condition,
    Membership,
    Name,
    Not,
    Operand,
    Scalar,
    Truth,
    Undefined,
    Value,
    Values,
    names_of,
)
from runvault.stores.catalog.names import Column, Either, Fact, Labels, Names, Place, Shown, case
from runvault.stores.catalog.schema import quoted

Bound: TypeAlias = int | float | str | bytes | None

FALSE, TRUE = "0", "1"
_SQL = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_PYTHON: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED: dict[CompareOp, CompareOp] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INT64 = 1 << 63
# SQLite sorts numbers before texts before bytes: a bound on one side keeps a comparison within a kind.
_ONLY = {"number": " AND value < ''", "text": " AND value >= '' AND value < x''"}


class Binder:
    """Names the values of statements: ``:v1`` and so on."""

    def __init__(self) -> None:
        self.values: dict[str, Bound] = {}

    def __call__(self, value: Scalar | bytes) -> str:
        """Return the placeholder of a value."""
        if isinstance(value, int) and not -_INT64 <= value < _INT64:
            value = float("inf") if value > 0 else float("-inf")  # no stored number is beyond it
        name = f"v{len(self.values) + 1}"
        self.values[name] = value
        return f":{name}"


class Driver(NamedTuple):
    """A condition that an index answers: a query for the numbers of the runs that fulfil it."""

    sql: str
    values: tuple[Bound, ...]


def any_of(parts: Sequence[str]) -> str:
    """Join conditions by OR, balanced: SQLite refuses expressions nested more than 1,000 deep."""
    return _joined(parts, " OR ") if parts else FALSE


def all_of(parts: Sequence[str]) -> str:
    """Join conditions by AND, balanced."""
    return _joined(parts, " AND ") if parts else TRUE


def _joined(parts: Sequence[str], word: str) -> str:
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_joined(parts[:half], word)}{word}{_joined(parts[half:], word)})"


class Compiler:
    """Compiles conditions on a row ``r`` of `runs`."""

    def __init__(self, names: Names, binder: Binder) -> None:
        self._names = names
        self._bind = binder
        self._chosen: dict[str, Place] = {}  # of names that mean one thing of some runs and another of others

    def condition(self, condition: Condition) -> str:
        """Return the SQL of a condition."""
        match condition:
            case All(parts):
                return all_of([self.condition(part) for part in parts])
            case AnyOf(parts):
                return any_of([self.condition(part) for part in parts])
            case Not(inner):
                return f"(NOT IFNULL({self.condition(inner)}, 0))"
            case _:
                return self._leaf(condition)

    def _leaf(self, condition: Comparison | Membership | Undefined | Truth) -> str:
        """Return the SQL of a condition without parts; where a name has several meanings, that of the run counts."""
        for name in names_of(condition):
            meant = self._meaning(name, condition)
            if isinstance(meant, Either) and name.path not in self._chosen:
                sql = [self._choosing(name, place, condition) for place in meant.places]
                return case(meant.places, sql)
        match condition:
            case Comparison():
                return self._comparison(condition)
            case Membership():
                return self._membership(condition)
            case Undefined(operand, negated):
                return self._undefined(operand, negated)
            case Truth(operand):
                return self._truth(operand)

    def _meaning(self, name: Name, condition: Comparison | Membership | Undefined | Truth) -> Place | Either:
        try:
            return self._names.resolve(name.path)
        except ConfigError as error:
            match condition:
                case Comparison(_, _, other) | Membership(other, _, _) if name == other and name.bare:
                    error.hint = f"a text is written in quotes, '{name.path}'; as a name: {error.hint}"
            raise

    def _choosing(self, name: Name, place: Place, condition: Comparison | Membership | Undefined | Truth) -> str:
        """Return the SQL of a condition with one of the meanings of a name."""
        self._chosen[name.path] = place
        sql = self._leaf(condition)
        del self._chosen[name.path]
        return sql

    # Comparisons

    def _comparison(self, comparison: Comparison) -> str:
        left, op, right = comparison.left, comparison.op, comparison.right
        if isinstance(left, Value) and isinstance(right, Value):
            return TRUE if _compare(left.value, op, right.value) else FALSE
        if isinstance(left, Value):
            left, op, right = right, _MIRRORED[op], left
        place = self._place(left)
        if isinstance(right, Value):
            return self._with_value(place, op, right.value)
        return self._with_place(place, op, self._place(right))

    def _with_value(self, place: Place, op: CompareOp, value: Scalar) -> str:
        if value is None:
            return FALSE
        if isinstance(place, Labels):
            return self._with_label(place, op, self._bind(value) if isinstance(value, str) else None)
        kind = _kind(value)
        if op == "!=":  # what is of another kind is different
            return f"({self._sql(place)} <> {self._bind(value)})"
        if isinstance(place, Column | Shown) and _column_kind(place) != kind:
            return FALSE
        return f"({self._sql(place, kind)} {_SQL[op]} {self._bind(value)})"

    def _with_place(self, left: Place, op: CompareOp, right: Place) -> str:
        if isinstance(left, Labels) and isinstance(right, Labels):
            raise ConfigError("a filter cannot compare two lists")
        if isinstance(right, Labels):
            left, op, right = right, _MIRRORED[op], left
        if isinstance(left, Labels):
            other = self._sql(right)
            compared = self._with_label(left, op, other)
            if op == "!=":  # what is of another kind is different
                some = self._labelled(left)
                return f"({other} IS NOT NULL AND CASE typeof({other}) WHEN 'text' THEN {compared} ELSE {some} END)"
            return f"(typeof({other}) = 'text' AND {compared})"
        a, b = self._sql(left), self._sql(right)
        if op == "!=":
            return f"({a} <> {b})"
        same = f"(({a}) < '') = (({b}) < '') AND (({a}) >= x'') = (({b}) >= x'')"
        return f"({same} AND {a} {_SQL[op]} {b})"

    def _with_label(self, labels: Labels, op: CompareOp, other: str | None) -> str:
        """Compare ``symbol``: any of the run's symbols; ``!=`` is none of them."""
        if not labels.single:
            raise ConfigError("a list cannot be compared in a filter", "ask for a member: 'golden' in tags")
        some = self._labelled(labels)
        if op == "!=":
            return some if other is None else f"({some} AND NOT {self._labelled(labels, f'l.label = {other}')})"
        return FALSE if other is None else self._labelled(labels, f"l.label {_SQL[op]} {other}")

    @staticmethod
    def _labelled(labels: Labels, condition: str = TRUE) -> str:
        return f"EXISTS (SELECT 1 FROM labels l WHERE l.run = r.run AND l.kind = {labels.kind} AND {condition})"

    # Membership

    def _membership(self, membership: Membership) -> str:
        item, container, negated = membership.item, membership.container, membership.negated
        if isinstance(container, Values):
            return self._among(item, container, negated)
        if isinstance(container, Value):
            if not isinstance(container.value, str):
                raise ConfigError("'in' needs a list or a text on its right side")
            return self._within(item, self._bind(container.value), negated)
        place = self._place(container)
        if isinstance(place, Labels):
            return self._labelled_as(item, place, negated)
        return self._within(item, self._sql(place), negated)

    def _among(self, item: Operand, values: Values, negated: bool) -> str:
        wanted = [value for value in values.values if value is not None]
        if isinstance(item, Value):
            if item.value is None:
                return FALSE
            found = any(_compare(item.value, "==", value) for value in wanted)
            return TRUE if found != negated else FALSE
        place = self._place(item)
        if isinstance(place, Labels):
            if not place.single:
                raise ConfigError("a list cannot be a member of a list", "ask for a member: 'golden' in tags")
            found_sql = self._labelled(place, f"l.label IN ({', '.join(map(self._bind, wanted))})")
            return f"({self._labelled(place)} AND NOT {found_sql})" if negated else found_sql
        word = "NOT IN" if negated else "IN"
        sql = self._sql(place)
        # An empty list is decided without looking at the left side, where SQL would ignore that it is undefined.
        return f"({sql} IS NOT NULL AND {sql} {word} ({', '.join(map(self._bind, wanted))}))"

    def _within(self, item: Operand, container: str, negated: bool) -> str:
        """Look for a text in a text, or for a member in a list."""
        needle = self._operand(item)
        found = (
            f"(CASE typeof({container})"
            f" WHEN 'text' THEN CASE typeof({needle}) WHEN 'text' THEN instr({container}, {needle}) > 0 ELSE 0 END"
            f" WHEN 'blob' THEN EXISTS (SELECT 1 FROM json_each(CAST({container} AS TEXT)) j WHERE j.value = {needle})"
            " ELSE NULL END)"
        )
        return f"({needle} IS NOT NULL AND NOT {found})" if negated else found

    def _labelled_as(self, item: Operand, labels: Labels, negated: bool) -> str:
        needle = self._operand(item)
        found = self._labelled(labels, f"l.label = {needle}")
        return f"({needle} IS NOT NULL AND NOT {found})" if negated else found

    # The rest

    def _undefined(self, operand: Operand, negated: bool) -> str:
        if isinstance(operand, Value):
            return TRUE if (operand.value is None) != negated else FALSE
        place = self._place(operand)
        if isinstance(place, Labels):
            some = self._labelled(place)
            return some if negated else f"(NOT {some})"
        return f"({self._sql(place)} IS {'NOT ' if negated else ''}NULL)"

    def _truth(self, operand: Operand) -> str:
        if isinstance(operand, Value):
            return TRUE if operand.value else FALSE
        place = self._place(operand)
        if isinstance(place, Labels):
            return self._labelled(place)
        sql = self._sql(place)
        return f"({sql} <> 0 AND {sql} <> '' AND {sql} <> x'5b5d')"  # x'5b5d' is []

    def _place(self, operand: Operand) -> Place:
        if isinstance(operand, Value):
            raise TypeError(operand)
        meant = self._names.resolve(operand.path)
        return self._chosen[operand.path] if isinstance(meant, Either) else meant

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, Value):
            return self._bind(operand.value)
        place = self._place(operand)
        if isinstance(place, Labels):
            raise ConfigError("a list cannot be a member of a list", "ask for a member: 'golden' in tags")
        return self._sql(place)

    def _sql(self, place: Place, kind: str = "") -> str:
        """Return the value of a place; of a fact only where it is of the `kind`, if one is named."""
        match place:
            case Column(column):
                return f"r.{quoted(column)}"
            case Fact(name, owner):
                only = _ONLY.get(kind, "")
                return f"(SELECT value FROM facts WHERE name = {self._bind(name)} AND owner = r.{owner}{only})"
            case Shown(sql):
                return sql
        return "NULL"


def driver_of(condition: Condition, names: Names, branch: int, indexed: Callable[[str], bool]) -> Driver | None:
    """Return a query for the runs that fulfil a condition, where an index answers it."""
    match condition:
        case Comparison(Name() as name, op, Value(value)) | Comparison(Value(value), op, Name() as name):
            op = op if isinstance(condition.left, Name) else _MIRRORED[op]
            return _comparison_driver(names.resolve(name.path), op, value, branch, indexed)
        case Membership(Value(str() as label), Name() as name, False):
            place = names.resolve(name.path)
            return label_driver(place.kind, label) if isinstance(place, Labels) else None
        case Membership(Name() as name, Values(values), False):
            place = names.resolve(name.path)
            if isinstance(place, Fact) and values:
                bound = _safe([value for value in values if value is not None])
                return _fact_driver(place, f"IN ({', '.join('?' * len(bound))})", bound)
    return None


def label_driver(kind: int, label: str) -> Driver:
    """Return the runs that carry a label."""
    return Driver("SELECT run FROM labels WHERE kind = ? AND label = ?", (kind, label))


def _fact_driver(place: Fact, condition: str, values: Sequence[Bound]) -> Driver:
    if place.owner == "run":
        return Driver(f"SELECT owner AS run FROM facts WHERE name = ? AND value {condition}", (place.name, *values))
    source = f"facts CROSS JOIN runs ON runs.{place.owner} = facts.owner"
    return Driver(f"SELECT run FROM {source} WHERE name = ? AND value {condition}", (place.name, *values))


def _comparison_driver(
    place: Place | Either, op: str, value: Scalar, branch: int, indexed: Callable[[str], bool]
) -> Driver | None:
    if value is None or op == "!=":
        return None
    kind = _kind(value)
    if isinstance(place, Fact):
        return _fact_driver(place, f"{_SQL[op]} ?{_ONLY[kind]}", _safe([value]))
    if isinstance(place, Labels) and place.single and isinstance(value, str) and op == "==":
        return label_driver(place.kind, value)
    if isinstance(place, Column) and _column_kind(place) == kind and indexed(place.column):
        sql = f"SELECT run FROM runs WHERE branch = ? AND {quoted(place.column)} {_SQL[op]} ?"
        return Driver(sql, (branch, *_safe([value])))
    return None


def _safe(values: Sequence[Scalar]) -> list[Bound]:
    bind = Binder()
    for value in values:
        bind(value)
    return list(bind.values.values())


def _kind(value: Scalar) -> str:
    return "text" if isinstance(value, str) else "number"


def _column_kind(place: Column | Shown) -> str:
    return "number" if place.is_number else "text"


def _compare(left: Scalar, op: str, right: Scalar) -> bool:
    if left is None or right is None:
        return False
    if _kind(left) != _kind(right):
        return op == "!="
    return _PYTHON[op](left, right)
