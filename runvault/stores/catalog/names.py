"""What a name in a filter or a sort means: of each run a metric, a parameter or a field, in this order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from runvault.errors import ConfigError, did_you_mean
from runvault.stores.catalog.schema import MOMENTS, NUMBERS, SHARED, SYMBOL, TAG, quoted


class Column(NamedTuple):
    """A column of `runs`: all numbers or all texts."""

    column: str
    is_number: bool


class Fact(NamedTuple):
    """A row of `facts`: number, text, or a list as bytes. `owner` is the column of `runs` that says whose."""

    name: int
    owner: str


class Labels(NamedTuple):
    """Rows of `labels`: a list of texts, or where `single` one of them, as ``symbol`` is."""

    kind: int
    single: bool


class Shown(NamedTuple):
    """A text or number that is computed, without a column of its own."""

    sql: str
    is_number: bool = False


class Nothing(NamedTuple):
    """A name in an archive without runs: never defined."""


class Either(NamedTuple):
    """A bare name that means one thing of some runs and another of others: the first of `places` that a run has."""

    places: tuple[Column | Fact | Labels | Shown, ...]


Place = Column | Fact | Labels | Shown | Nothing

_TEXTS = ("id", "created_at", "strategy", "engine", "interval", "start", "end", "author", "alias")
_PLACES: dict[str, Column | Labels | Shown] = {
    **{name: Column(name, is_number=False) for name in _TEXTS},
    "seed": Column("seed", is_number=True),
    "revision": Column("revision", is_number=True),
    "symbol": Labels(SYMBOL, single=True),
    "symbols": Labels(SYMBOL, single=False),
    "tags": Labels(TAG, single=False),
    "config_hash": Shown("substr(r.id, 1, 64)"),
    "short_id": Shown("substr(r.id, 1, 8) || substr(r.id, 65)"),
    "note": Shown("(SELECT json_extract(d.json, '$.note') FROM documents d WHERE d.run = r.run)"),
    "commit": Shown(
        '(SELECT lower(hex(v."commit")) FROM folders f JOIN revisions v ON v.run = f.run AND v.blob = f.manifest'
        ' WHERE f.run = r.run ORDER BY v.time, v."commit" LIMIT 1)'
    ),
}
FIELD_NAMES = tuple(_PLACES)
_SECTIONS = ", ".join(SHARED)
_NUMBERS = frozenset(NUMBERS)


class Names:
    """Resolves names against what the runs of one branch have."""

    def __init__(self, db: sqlite3.Connection, branch: int, periods_per_year: float | None = None) -> None:
        self._db = db
        self._branch = branch
        self._periods_per_year = periods_per_year
        self.facts: dict[str, Fact] = {}  # that were asked for, by dotted name
        self.labels: set[int] = set()  # kinds that were asked for

    def resolve(self, path: str) -> Place | Either:
        """Return where a name's values are.

        Raises
        ------
        ConfigError
            No run has it, though there are runs; the hint names near ones.
        """
        path = path.removeprefix("config.")
        if self._periods_per_year is not None and path.removeprefix("metrics.") == "sharpe_ratio":
            return _sharpe_of_moments(self._periods_per_year)
        found = self._bare(path) if "." not in path else [self._dotted(path)]
        places = tuple(place for place in found if place is not None)
        self.labels.update(place.kind for place in places if isinstance(place, Labels))
        if places:
            return places[0] if len(places) == 1 else Either(places)
        if self._db.execute("SELECT 1 FROM runs WHERE branch = ? LIMIT 1", (self._branch,)).fetchone() is None:
            return Nothing()
        raise self._unknown(path)

    def is_setting(self, name: str) -> bool:
        """Return whether a bare name is that of a setting: tables show these, conditions write ``settings.fees``."""
        return self._had(f"settings.{name}") is not None

    def _bare(self, name: str) -> list[Column | Fact | Labels | Shown | None]:
        return [self._had(f"metrics.{name}"), self._had(f"params.{name}"), _PLACES.get(name)]

    def _dotted(self, path: str) -> Column | Fact | None:
        if path.startswith("moments."):
            return Column(path, is_number=True) if path in _NUMBERS else None
        return self._had(path)

    def _had(self, path: str) -> Column | Fact | None:
        query = "SELECT name FROM names WHERE branch = ? AND path = ? AND runs > 0"
        row = self._db.execute(query, (self._branch, path)).fetchone()
        if row is None:
            return None
        if path in _NUMBERS:
            return Column(path, is_number=True)
        section = path.partition(".")[0]
        fact = self.facts[path] = Fact(row[0], section if section in SHARED else "run")
        return fact

    def paths(self) -> list[str]:
        """Return the dotted names that runs have, sorted."""
        rows = self._db.execute("SELECT path FROM names WHERE branch = ? AND runs > 0 ORDER BY path", (self._branch,))
        return [path for (path,) in rows]

    def _unknown(self, path: str) -> ConfigError:
        import difflib  # only when there is something to suggest

        said = {_as_said(known): None for known in self.paths()}
        said.update(dict.fromkeys([*FIELD_NAMES, *(f"moments.{name}" for name in MOMENTS)]))
        leaf = path.rpartition(".")[2]  # 'fees' means 'settings.fees', 'settings.fast' means 'params.fast'
        near = [known for known in said if known.rpartition(".")[2] == leaf]
        near += [known for known in difflib.get_close_matches(path, said, n=3) if known not in near]
        hint = did_you_mean(near[:3], f"names are metrics, params, {_SECTIONS} and fields")
        return ConfigError(f"no run has {_shown(path)}", hint)


def case(places: Sequence[Place], sql: Sequence[str]) -> str:
    """Return the SQL that goes with the first of `places` that a row ``r`` of `runs` has, or else with the last."""
    whens = (f"WHEN {_has(place)} THEN {each}" for place, each in zip(places[:-1], sql, strict=False))
    return f"(CASE {' '.join(whens)} ELSE {sql[-1]} END)"


def _has(place: Place) -> str:
    match place:
        case Column(column):
            return f"r.{quoted(column)} IS NOT NULL"
        case Fact(name, owner):  # also where the value is null
            return f"EXISTS (SELECT 1 FROM facts WHERE name = {name:d} AND owner = r.{owner})"  # noqa: S608 - a number and a column
    return "1"


def _sharpe_of_moments(periods_per_year: float) -> Shown:
    """Return what `runvault.model.metrics.sharpe_from_moments` computes."""
    defined = 'r."moments.n_periods" >= 2 AND r."moments.std" > 0'
    value = f'r."moments.mean" / r."moments.std" * {sqrt(periods_per_year)!r}'
    return Shown(f"(CASE WHEN {defined} THEN {value} END)", is_number=True)


def _as_said(path: str) -> str:
    """Return a metric without its section: that is how people write it."""
    return path.removeprefix("metrics.")


def _shown(path: str) -> str:
    return ascii(path if len(path) <= 80 else path[:77] + "...")


def encodable(text: str) -> bool:
    """Return whether a text is Unicode; what a shell passed in other bytes equals no text of the archive."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
