"""What two catalogs say alike, found by looking each row of one up in the other.

To subtract the rows of one from those of the other, as `compare` does to name what differs, sorts all of them, with
every document: most of the time of a comparison, and for most catalogs to say that nothing differs. Here the numbers
that stand for the same in both are paired first; rows are then looked up by number, and counted where they are equal.
No row stands twice: where as many are equal as there are on either side, both sides are the same.
"""

# ruff: noqa: S608 - what is pasted into statements are names and constants of this package
from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from runvault.stores.catalog.schema import SHARED, SUMMED, quoted

OWN_FACTS = "n.path LIKE 'params.%' OR n.path LIKE 'metrics.%'"

# Tables whose numbers differ between catalogs that say the same: number, what it stands for, and what has to be equal
_NUMBERED = {
    "ids": ("run", "id", "a.branch = {mine} AND b.branch = {theirs}"),
    "sections": ("section", "digest", "a.branch = {mine} AND b.branch = {theirs}"),
    "definitions": ("definition", "json", "a.crc IS b.crc"),
    "filesets": ("fileset", "names", "TRUE"),
    "names": ("name", "path", "a.branch = {mine} AND b.branch = {theirs}"),
}
_VALUES = " AND ".join(f"a.{quoted(name)} IS b.{quoted(name)}" for name in (*SUMMED, "revision", "crc"))
_SECTIONS = " ".join(f"JOIN same_sections {n} ON {n}.mine = a.{n} AND {n}.theirs = b.{n}" for n in SHARED)


class _Same(NamedTuple):
    """Which sayings of `compare` are the same where `equal` finds as many pairs as the first of them has rows.

    Each pair is of two rows that those sayings hold, and that say the same there.
    """

    sayings: tuple[str, ...]
    equal: str


# In this order whatever SQLite knows of the tables: the pairs as they come, then a row of each by its number.
_RUNS = "same_ids i CROSS JOIN main.{0} a ON a.run = i.mine CROSS JOIN fresh.{0} b ON b.run = i.theirs"
_SAME = (
    _Same(
        ("runs", *(f"{name} of runs" for name in SHARED)),
        f"{_RUNS.format('runs')} {_SECTIONS} WHERE a.branch = {{mine}} AND b.branch = {{theirs}} AND {_VALUES}",
    ),
    _Same(
        ("documents",),
        f"{_RUNS.format('documents')} JOIN same_definitions d ON d.mine = a.definition AND d.theirs = b.definition"
        " WHERE a.json IS b.json AND a.crc IS b.crc",
    ),
    _Same(
        ("folders",),
        f"{_RUNS.format('folders')} JOIN same_filesets s ON s.mine = a.fileset AND s.theirs = b.fileset"
        " WHERE a.manifest IS b.manifest AND a.annotations IS b.annotations",
    ),
    _Same(
        ("labels",),
        f"{_RUNS.format('labels')} AND b.kind = a.kind AND b.label = a.label"
        " JOIN main.runs c ON c.run = i.mine JOIN fresh.runs d ON d.run = i.theirs",
    ),
    _Same(
        ("revisions",),
        f'{_RUNS.format("revisions")} AND b.blob = a.blob AND b."commit" = a."commit"'
        " WHERE CAST(a.time AS INTEGER) IS CAST(b.time AS INTEGER) AND a.created_at IS b.created_at AND a.crc IS b.crc",
    ),
    _Same(
        ("notes",),
        "main.notes a JOIN same_ids i ON i.mine = a.rowid JOIN fresh.notes b ON b.rowid = i.theirs"
        " WHERE a.note IS b.note",
    ),
    _Same(
        ("facts of runs",),
        "same_names s CROSS JOIN main.names n ON n.name = s.mine CROSS JOIN main.facts a ON a.name = s.mine"
        " JOIN same_ids i ON i.mine = a.owner JOIN fresh.facts b ON b.name = s.theirs AND b.owner = i.theirs"
        f" WHERE a.value IS b.value AND ({OWN_FACTS})",
    ),
)


def said_alike(db: sqlite3.Connection, sayings: Mapping[str, tuple[str, str]], mine: int, theirs: int) -> set[str]:
    """Return which sayings are surely the same in both; of any other nothing is known.

    Parameters
    ----------
    db : sqlite3.Connection
        Of a catalog whose structure is sound, another attached as ``fresh``.
    sayings : mapping of str to (str, str)
        What is compared: the queries whose rows are to be the same, of this catalog and of the other.
    mine, theirs : int
        The number of the branch in each.
    """
    for table, (number, meaning, where) in _NUMBERED.items():
        db.execute(f"CREATE TEMP TABLE same_{table} (mine INTEGER PRIMARY KEY, theirs INTEGER NOT NULL)")
        db.execute(
            f"INSERT INTO same_{table} SELECT a.{number}, b.{number} FROM main.{table} a"
            f" CROSS JOIN fresh.{table} b ON b.{meaning} = a.{meaning} WHERE {where.format(mine=mine, theirs=theirs)}"
        )
    alike = set[str]()
    for same in _SAME:
        equal = count(db, f"SELECT 1 FROM {same.equal.format(mine=mine, theirs=theirs)}")
        if all(count(db, query) == equal for query in sayings[same.sayings[0]]):
            alike.update(same.sayings)
    return alike


def count(db: sqlite3.Connection, query: str) -> int:
    """Return how many rows a query has."""
    return int(db.execute(f"SELECT count(*) FROM ({query})").fetchone()[0])
