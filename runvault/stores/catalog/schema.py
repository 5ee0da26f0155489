"""The tables of the catalog, and which name of a run lives in which column.

``runs`` is narrow and has a column for every number worth sorting by, so that a scan of 100,000 runs stays within
milliseconds. What is open-ended (parameters, settings, other metrics) is a row in ``facts``; the settings, data,
code and lineage of a run are a section that it shares with all runs where they are equal, a sweep's mostly. What is
shown lies in ``documents`` as the finished JSON, so that a listing parses no manifest.

Columns of values declare no type: SQLite would convert text to numbers in comparisons ("1" = 1) where one does. Keys
declare theirs: an index on an untyped column cannot be searched by a typed one.
"""

from __future__ import annotations

import sqlite3
import zlib

from runvault.model.metrics import METRICS

PROJECTION = 3
"""Raised when rows mean something else while the tables look the same."""

FIELDS: tuple[str, ...] = (
    "id",
    "created_at",
    "seed",
    "strategy",
    "engine",
    "symbol",
    "interval",
    "start",
    "end",
    "author",
    "alias",
)
NEVER_NULL = frozenset({"id", "created_at", "seed", "strategy", "engine", "author", "revision"})
METRIC_COLUMNS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.unit != "timestamp")
MOMENTS: tuple[str, ...] = ("n_periods", "mean", "std", "skew", "kurtosis", "autocorrelation")
NUMBERS: tuple[str, ...] = (*(f"metrics.{name}" for name in METRIC_COLUMNS), *(f"moments.{name}" for name in MOMENTS))

TAG, SYMBOL = 0, 1  # kinds of `labels`
SHARED: tuple[str, ...] = ("settings", "data", "code", "lineage")
"""Members of a run whose values are kept once for all runs where they are equal; `runs` has the section's number."""


def quoted(column: str) -> str:
    """Return a column's name for SQL; only names of this module may be given."""
    return f'"{column}"'


SUMMED: tuple[str, ...] = (*FIELDS, *NUMBERS)
"""The columns of `runs` that its checksum is of (`sums.row_sum`)."""
RUN_COLUMNS: tuple[str, ...] = ("run", "branch", *SHARED, *SUMMED, "revision", "crc")

_SECTIONS = ", ".join(f"{name} INTEGER" for name in SHARED)
_VALUES = ", ".join(map(quoted, RUN_COLUMNS[2 + len(SHARED) :]))

_TABLES = f"""
CREATE TABLE branches (branch INTEGER PRIMARY KEY, ref UNIQUE NOT NULL, tip, runs NOT NULL DEFAULT 0);
CREATE TABLE ids (run INTEGER PRIMARY KEY, branch INTEGER NOT NULL, id NOT NULL, UNIQUE (branch, id));
CREATE TABLE filesets (fileset INTEGER PRIMARY KEY, names UNIQUE NOT NULL);
CREATE TABLE folders (run INTEGER PRIMARY KEY, manifest, annotations, fileset INTEGER NOT NULL);
CREATE TABLE definitions (definition INTEGER PRIMARY KEY, crc NOT NULL, json UNIQUE NOT NULL);
CREATE TABLE sections (section INTEGER PRIMARY KEY, branch INTEGER NOT NULL, digest NOT NULL, UNIQUE (branch, digest));
CREATE TABLE runs (run INTEGER PRIMARY KEY, branch INTEGER NOT NULL, {_SECTIONS}, {_VALUES});
CREATE TABLE documents (run INTEGER PRIMARY KEY, json NOT NULL, crc NOT NULL, definition INTEGER NOT NULL);
CREATE TABLE names (name INTEGER PRIMARY KEY, branch INTEGER NOT NULL, path NOT NULL, runs NOT NULL,
    UNIQUE (branch, path));
CREATE TABLE facts (name INTEGER, owner INTEGER, value, PRIMARY KEY (name, owner)) WITHOUT ROWID;
CREATE TABLE labels (run INTEGER, kind INTEGER, label, PRIMARY KEY (run, kind, label)) WITHOUT ROWID;
CREATE TABLE revisions (run INTEGER, blob, "commit", time, created_at, crc, PRIMARY KEY (run, blob, "commit"))
    WITHOUT ROWID;
CREATE TABLE damaged (branch INTEGER, run, problem, PRIMARY KEY (branch, run)) WITHOUT ROWID;
CREATE VIRTUAL TABLE notes USING fts5 (note, tokenize = 'unicode61 remove_diacritics 2');
"""

# Made after the rows of a rebuild: one sort is cheaper than 100,000 insertions.
_INDEXES = """
CREATE INDEX IF NOT EXISTS runs_created ON runs (branch, created_at DESC, id);
CREATE INDEX IF NOT EXISTS runs_strategy ON runs (branch, strategy, created_at DESC, id);
CREATE INDEX IF NOT EXISTS runs_alias ON runs (branch, alias) WHERE alias IS NOT NULL;
CREATE INDEX IF NOT EXISTS "by metrics.sharpe_ratio" ON runs (branch, "metrics.sharpe_ratio");
CREATE INDEX IF NOT EXISTS facts_value ON facts (name, value, owner);
CREATE INDEX IF NOT EXISTS labels_label ON labels (kind, label, run);
"""

_INDEXES += "".join(f"CREATE INDEX IF NOT EXISTS runs_{name} ON runs ({name});\n" for name in SHARED)

VERSION = zlib.crc32(f"{PROJECTION}{_TABLES}{_INDEXES}".encode()) & 0x7FFFFFFF
"""Kept in the file's ``user_version``: any other tables are another version, older or newer."""

PAGE_SIZE = 8192  # two or three documents a page; with 4,096 bytes half of each page stays empty


def create_tables(db: sqlite3.Connection) -> None:
    """Make an empty catalog, inside the caller's transaction where there is one."""
    for statement in _TABLES.strip().split(";\n"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")


def create_indexes(db: sqlite3.Connection) -> None:
    """Make the indexes that every catalog has."""
    for statement in _INDEXES.strip().split(";\n"):
        db.execute(statement)


def index_of(column: str) -> str:
    """Return the name of the index made when a column of `runs` is first sorted by."""
    return f"by {column}"


def create_index(db: sqlite3.Connection, column: str) -> None:
    """Index a column of `runs`; `column` is one of RUN_COLUMNS."""
    if column not in RUN_COLUMNS:
        raise ValueError(column)
    db.execute(f"CREATE INDEX IF NOT EXISTS {quoted(index_of(column))} ON runs (branch, {quoted(column)})")


def analyze(db: sqlite3.Connection) -> None:
    """Make the planner's statistics anew, also for connections that are open: they read them with the schema."""
    db.execute("ANALYZE")
    version = db.execute("PRAGMA schema_version").fetchone()[0]
    db.execute(f"PRAGMA schema_version = {version + 1:d}")
