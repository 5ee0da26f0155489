"""Which runs a selection lists, and in which order: the statement and the way through the indexes.

SQLite keeps no histograms here, so that it cannot tell `sharpe_ratio > 1` (half of the runs) from
`sharpe_ratio > 5` (three of them). We ask first: where an index finds few runs for one of the conditions, these are
looked at. Where it does not, a walk in the order of the listing begins, and mostly ends soon: where many runs fulfil
each condition, the first ones of the listing mostly fulfil all. Where these were not enough, some runs more are still
looked at by number, and else the walk goes on to its end.
"""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from runvault.errors import ConfigError
from runvault.model.query import All, Condition, Selection, normalise_time, parse_condition
from runvault.stores.catalog.conditions import (
    FALSE,
    Binder,
    Bound,
    Compiler,
    Driver,
    all_of,
    any_of,
    driver_of,
    label_driver,
)
from runvault.stores.catalog.files import Damaged
from runvault.stores.catalog.names import Column, Either, Fact, Labels, Names, Nothing, Place, Shown, case, encodable
from runvault.stores.catalog.schema import NEVER_NULL, SYMBOL, TAG, index_of, quoted

FEW = 1_000  # as many rows by number cost about as much as finding 50 of them in order
SOME = 5 * FEW  # what is still worth it where other conditions thin them out: nobody knows how long a walk would be

_MANY = 2**63 - 1  # SQLite knows no larger limit

_BY_TIME = "r.created_at DESC, r.id"
_INDEXED = {"created_at": "runs_created", "strategy": "runs_strategy"}


class Order(NamedTuple):
    """The field a listing is sorted by."""

    place: Place
    descending: bool

    @property
    def column(self) -> str | None:
        """Return the column of `runs`, None where it is another place."""
        return self.place.column if isinstance(self.place, Column) else None


class Again(NamedTuple):
    """The same selection and order over runs that are known by number.

    `columns` are the open-ended values that these depend on, by the member or dotted name that has them.
    """

    where: str = "1"
    order: str = "r.run"
    columns: Mapping[str, str] = {}
    values: Mapping[str, Bound] = {}


class Query:
    """A selection on one branch, with names resolved and conditions compiled."""

    def __init__(self, db: sqlite3.Connection, branch: int, selection: Selection) -> None:
        self._db = db
        self._branch = branch
        self._selection = selection
        self._names = Names(db, branch, selection.periods_per_year)
        self._bind = Binder()
        self._branch_mark = self._bind(branch)
        self._tree = parse_condition(selection.where) if selection.where is not None else None
        self._drivers: list[Driver] = []
        self._is_single = False
        self._is_plain = False
        self._where = self._conditions()
        self.order = self._order(selection.sort)

    def count(self) -> int:
        """Return how many runs there are, whatever the limit.

        Raises
        ------
        Damaged
            Nothing is left out, and it is another number than was written.
        """
        driver = self._driver(SOME)
        source = "runs r" if driver is None else self._driven(driver)
        sql = f"SELECT count(*) FROM {source} WHERE {self._where}"
        found = int(self._db.execute(sql, self._bind.values).fetchone()[0])
        self._compare_number(found)
        return found

    def _compare_number(self, found: int) -> None:
        """Compare the number of all runs with the one that was noted when they were written."""
        if self._is_plain and self._branch:
            sql = "SELECT runs FROM branches WHERE branch = ?"
            noted = self._db.execute(sql, (self._branch,)).fetchone()[0]
            if noted != found:
                raise Damaged(f"{found} runs where {noted} were written")

    def runs(self) -> list[int]:
        """Return the numbers of the runs, in order: those with a value first, then those without."""
        selection = self._selection
        if selection.limit == 0:
            return []
        wanted = -1 if selection.limit is None else min(selection.offset + selection.limit, _MANY)
        driver = self._driver(FEW)
        if driver is None and self._drivers and not self._is_single:
            found = self._among_first(wanted) if FEW >= wanted > 0 else []
            if len(found) == wanted:
                return found[selection.offset :]
            driver = self._driver(SOME)
        found = self._defined(driver, wanted)
        if self.order.column not in NEVER_NULL and (wanted < 0 or len(found) < wanted):
            found += self._undefined(driver, -1 if wanted < 0 else wanted - len(found))
        if wanted < 0 or len(found) < wanted:
            self._compare_number(len(found))
        return found[selection.offset :]

    def _among_first(self, wanted: int) -> list[int]:
        """Return the runs that are selected of the first `FEW` in order, which are no others than of all."""
        index = self._index()
        if index is None:
            return []
        value = self._value(self.order.place)
        direction, before = ("DESC", ">") if self.order.descending else ("ASC", "<")
        bound = (
            f"SELECT {value} FROM runs r INDEXED BY {quoted(index)} WHERE r.branch = {self._branch_mark}"
            f" AND {value} IS NOT NULL ORDER BY {value} {direction} LIMIT 1 OFFSET {FEW:d}"
        )
        return self._defined(None, wanted, f" AND {value} {before} ({bound})")

    def _defined(self, driver: Driver | None, wanted: int, further: str = "") -> list[int]:
        place, direction = self.order.place, "DESC" if self.order.descending else "ASC"
        ties = "r.id" if self.order.column == "created_at" else _BY_TIME
        if isinstance(place, Fact) and driver is None:
            source = f"facts f CROSS JOIN runs r ON r.{place.owner} = f.owner AND f.name = {self._bind(place.name)}"
            return self._run(
                f"{source} WHERE {self._where} AND f.value IS NOT NULL", f"f.value {direction}, {ties}", wanted
            )
        value = self._value(place)
        condition = self._where if self.order.column in NEVER_NULL else f"{self._where} AND {value} IS NOT NULL"
        return self._run(f"{self._from(driver)} WHERE {condition}{further}", f"{value} {direction}, {ties}", wanted)

    def _undefined(self, driver: Driver | None, wanted: int) -> list[int]:
        value = self._value(self.order.place)
        return self._run(f"{self._from(driver)} WHERE {self._where} AND {value} IS NULL", _BY_TIME, wanted)

    def _run(self, source: str, order: str, wanted: int) -> list[int]:
        sql = f"SELECT r.run FROM {source} ORDER BY {order} LIMIT {wanted:d}"
        return [run for (run,) in self._db.execute(sql, self._bind.values)]

    def _value(self, place: Place) -> str:
        match place:
            case Column(column):
                return f"r.{quoted(column)}"
            case Fact(name, owner):
                return f"(SELECT value FROM facts WHERE name = {self._bind(name)} AND owner = r.{owner})"
            case Shown(sql):
                return sql
        return "NULL"

    def _order(self, sort: str) -> Order:
        field = sort.removeprefix("-")
        if not encodable(field):
            raise ConfigError(f"no run has {field!a}")
        meant = self._names.resolve(field)
        places = meant.places if isinstance(meant, Either) else (meant,)
        if all(isinstance(place, Labels) and not place.single for place in places):
            raise ConfigError(f"runs cannot be sorted by {field}, a list")
        sortable = [_sortable(place) for place in places]
        several = Shown(case(places, [self._value(place) for place in sortable])) if len(places) > 1 else None
        return Order(several or sortable[0], sort.startswith("-"))

    # Looking again

    def again(self) -> Again:
        """Return how found runs are looked at once more, by number: without the indexes that they were found by."""
        value = self._value(self.order.place)
        direction = "DESC" if self.order.descending else "ASC"
        columns = {
            path: f"(SELECT value FROM facts WHERE name = {self._bind(fact.name)} AND owner = r.{fact.owner})"
            for path, fact in self._names.facts.items()
        }
        columns |= {
            name: f"(SELECT group_concat(hex(label)) FROM labels WHERE run = r.run AND kind = {kind:d})"
            for kind, name in ((TAG, "tags"), (SYMBOL, "symbols"))
            if kind in self._names.labels
        }
        if self._selection.search is not None:
            columns["note"] = "(SELECT note FROM notes WHERE rowid = r.run)"
        order = f"{value} IS NULL, {value} {direction}, {_BY_TIME}"
        return Again(self._where, order, columns, self._bind.values)

    # Where

    def _conditions(self) -> str:
        parts = [f"r.branch = {self._branch_mark}", *self._options(), *self._labels(), *self._times()]
        if self._tree is not None:
            parts += self._compiled(self._tree)
        self._is_plain, self._is_single = len(parts) == 1, len(parts) == 2  # the branch alone; and one more
        return all_of(parts)

    def _compiled(self, tree: Condition) -> list[str]:
        compiler = Compiler(self._names, self._bind)
        parts = tree.conditions if isinstance(tree, All) else (tree,)
        sql = [compiler.condition(part) for part in parts]
        for part in parts:
            driver = driver_of(part, self._names, self._branch, self.is_indexed)
            if driver is not None:
                self._drivers.append(driver)
        return sql

    def _options(self) -> list[str]:
        selection = self._selection
        parts = []
        for column, text in (("strategy", selection.strategy), ("engine", selection.engine)):
            if text is not None:
                parts.append(f"r.{quoted(column)} = {self._bind(text)}" if encodable(text) else FALSE)
        if selection.strategy is not None and encodable(selection.strategy):
            self._drivers.append(
                Driver("SELECT run FROM runs WHERE branch = ? AND strategy = ?", (self._branch, selection.strategy))
            )
        if selection.seed is not None:
            parts.append(f"r.seed = {self._bind(selection.seed)}")
        if selection.config_hash is not None:
            parts.append(self._with_hash(selection.config_hash))
        if selection.search is not None:
            parts.append(self._found(selection.search))
        return parts

    def _with_hash(self, config_hash: str) -> str:
        """Select by a config hash or its beginning; ids begin with it."""
        digits = config_hash.lower()
        if not digits or digits.strip("0123456789abcdef"):
            return FALSE
        bounds = (digits, digits + "g")
        self._drivers.append(
            Driver("SELECT run FROM ids WHERE branch = ? AND id >= ? AND id < ?", (self._branch, *bounds))
        )
        return f"(r.id >= {self._bind(bounds[0])} AND r.id < {self._bind(bounds[1])})"

    def _found(self, words: str) -> str:
        question = match_of(words)
        if question is None:
            return FALSE
        self._drivers.append(Driver("SELECT rowid AS run FROM notes WHERE notes MATCH ?", (question,)))
        return f"r.run IN (SELECT rowid FROM notes WHERE notes MATCH {self._bind(question)})"

    def _labels(self) -> list[str]:
        selection = self._selection
        parts = [self._label(TAG, tag, drives=True) for tag in selection.tags]
        if selection.any_tags:
            parts.append(any_of([self._label(TAG, tag) for tag in selection.any_tags]))
        if selection.symbol is not None:
            parts.append(self._label(SYMBOL, selection.symbol, drives=True))
        return parts

    def _label(self, kind: int, label: str, *, drives: bool = False) -> str:
        if not encodable(label):
            return FALSE
        if drives:
            self._drivers.append(label_driver(kind, label))
        self._names.labels.add(kind)
        match = f"l.kind = {kind:d} AND l.label = {self._bind(label)}"
        return f"EXISTS (SELECT 1 FROM labels l WHERE l.run = r.run AND {match})"

    def _times(self) -> list[str]:
        parts = []
        if self._selection.since is not None:
            parts.append(f"r.created_at >= {self._bind(normalise_time(self._selection.since))}")
        if self._selection.until is not None:
            parts.append(f"r.created_at <= {self._bind(normalise_time(self._selection.until, end=True))}")
        return parts

    # The way through the indexes

    def is_indexed(self, column: str) -> bool:
        """Return whether the runs can be walked in the order of a column."""
        if column in _INDEXED:
            return True
        found = self._db.execute("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", (index_of(column),))
        return found.fetchone() is not None

    def _driver(self, limit: int) -> Driver | None:
        """Return the condition that the fewest runs fulfil, where they are fewer than `limit`."""
        best: Driver | None = None
        for driver in self._drivers:
            sql = f"SELECT count(*) FROM ({driver.sql} LIMIT {limit:d})"
            found = int(self._db.execute(sql, driver.values).fetchone()[0])
            if found < limit:
                best, limit = driver, found
        return best

    def _from(self, driver: Driver | None) -> str:
        if driver is not None:
            return self._driven(driver)
        index = self._index()
        return f"runs r INDEXED BY {quoted(index)}" if index else "runs r"

    def _driven(self, driver: Driver) -> str:
        first, *rest = driver.sql.split("?")
        sql = first + "".join(self._bind(value) + text for value, text in zip(driver.values, rest, strict=True))
        # CROSS JOIN: SQLite takes the left side first, as told.
        return f"({sql}) d CROSS JOIN runs r ON r.run = d.run"

    def _index(self) -> str | None:
        """Return the index that has the order of the listing."""
        column = self.order.column
        if column is None:
            return None
        if column in _INDEXED:
            return _INDEXED[column]
        return index_of(column) if self.is_indexed(column) else None


def _sortable(place: Place) -> Place:
    """Return what stands for a place in an order: the first of a run's symbols, and nothing for a list."""
    if isinstance(place, Labels):
        return Column("symbol", is_number=False) if place.single else Nothing()
    return place


def match_of(words: str) -> str | None:
    """Return words as a question to FTS5, each in quotes, so that its syntax means nothing; None without a word.

    Examples
    --------
    >>> match_of('first "try" OR*')
    '"first" "try" "OR"'
    """
    text = "".join(char if char.isalnum() else " " for char in words)
    return " ".join(f'"{word}"' for word in text.split()) or None
