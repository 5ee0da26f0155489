"""Catalog: what the archive asks of the projection, with damage healed on the way."""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import orjson

from runvault.errors import IntegrityError, RunvaultError
from runvault.model.query import Selection
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.model.source import ArchiveSource
from runvault.stores.catalog.documents import ROW, documents, require_sum, sum_of
from runvault.stores.catalog.files import BUSY_S, CatalogFile, CatalogImage, Damaged, Unwritable, build, translated
from runvault.stores.catalog.names import FIELD_NAMES, Names, encodable
from runvault.stores.catalog.refresh import refresh_branch, tip_of
from runvault.stores.catalog.schema import METRIC_COLUMNS, MOMENTS, SYMBOL, TAG, analyze, create_index, quoted
from runvault.stores.catalog.select import Query

Json: TypeAlias = Any
T = TypeVar("T")

MANY = 2_000  # runs from which on a column that is sorted by is worth an index
ATTEMPTS = 3
RECORDS = (MANIFEST, ANNOTATIONS)
_CHUNK = 256  # documents read at once


class Revision(NamedTuple):
    """One recorded outcome of a run: its place from 1, the manifest's blob, the commit that brought it, its time."""

    revision: int
    blob: str
    commit: str
    created_at: str


class Columns(NamedTuple):
    """What the catalog has of a run in columns: no document is read for it.

    `data` is a number that runs on equal data share (`Catalog.data_of` tells which), `definitions` is JSON, `numbers`
    are the metrics asked for, then the moments.
    """

    id: str
    created_at: str
    strategy: str
    alias: str | None
    data: int
    definitions: bytes
    numbers: tuple[float | None, ...]


class Catalog:
    """The runs of archive branches, in one SQLite file.

    Parameters
    ----------
    path : Path
        The file. It need not exist; what is damaged there is made anew, and where there is no place for it a temporary
        one answers instead, in memory if need be.
    """

    def __init__(self, path: Path) -> None:
        self._file: CatalogFile | CatalogImage = CatalogFile(path)
        self._sources: dict[str, tuple[ArchiveSource, str]] = {}
        self._made = False  # anew, by us: what is still odd then is not the file's

    # Keeping up

    def refresh(self, source: ArchiveSource, ref: str, tip: str) -> None:
        """Bring the rows of the branch `ref` to the commit `tip`; nothing but one look where they are there already."""
        self._sources[ref] = (source, tip)
        self._healing(lambda: self._bring(source, ref, tip))

    def rebuild(self, source: ArchiveSource, ref: str, tip: str) -> None:
        """Make the file anew from the archive, whatever state it is in; other branches follow when asked for."""
        self._sources = {ref: (source, tip)}
        self._replace(always=True)

    def _bring(self, source: ArchiveSource, ref: str, tip: str) -> None:
        with self._file.opened() as db:
            if tip_of(db, ref) == tip:
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                before = _magnitude(db)
                refresh_branch(db, source, ref, tip)
                if _magnitude(db) > before:
                    analyze(db)  # at every doubling: asking for what is due costs every catch-up a tenth
            except BaseException:
                if db.in_transaction:  # a full disk ends it by itself
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _healing(self, work: Callable[[], T]) -> T:
        """Do the work; where the file is damaged make it anew, where there is no place for it go on elsewhere."""
        for _ in range(ATTEMPTS):
            try:
                return work()
            except Damaged as error:
                problem: Exception = error
                self._replace()
            except Unwritable as error:
                problem = error
                self._move()
        raise _hopeless(problem)

    def _replace(self, *, always: bool = False) -> None:
        try:
            path = self._file.replace(self._fill, always=always)
        except (Damaged, Unwritable, OSError):  # nor can a new file be written here
            self._move()
            return
        if path != self._file.path:
            self._use(path)

    def _fill(self, db: sqlite3.Connection) -> None:
        self._made = True
        for ref, (source, tip) in self._sources.items():
            refresh_branch(db, source, ref, tip)

    def _move(self) -> None:
        """Go on with a file in the system's temporary folder; in memory where none can be written there either."""
        try:
            path = Path(tempfile.mkdtemp(prefix="runvault-catalog-")) / "catalog.db"
            self._use(path)
            with translated(path):
                build(path, self._fill)
        except (Damaged, Unwritable, OSError):
            self._go_on_in_memory()

    def _go_on_in_memory(self) -> None:
        self._file = CatalogImage()
        try:
            self._file.replace(self._fill)
        except (Damaged, Unwritable) as error:
            raise _hopeless(error) from error

    def _use(self, path: Path) -> None:
        """Go on with a file of our own, in a folder of its own, for as long as this object lives."""
        self._file = CatalogFile(path)
        weakref.finalize(self, shutil.rmtree, path.parent, ignore_errors=True)

    # Listing

    def select(self, ref: str, selection: Selection) -> Iterator[dict[str, Json]]:
        """Yield the selected runs as JSON, in order; documents are read as they are asked for.

        Raises
        ------
        ConfigError
            `selection.where` is no condition, or asks for a name that no run has.
        IntegrityError
            The file turned out to be damaged when some runs had been given, and they were not the first ones.
        """
        given: list[str] = []
        for _ in range(ATTEMPTS):
            try:
                selected = self._selected(ref, selection)
                if given and [members["id"] for members in islice(selected, len(given))] != given:
                    raise _given_wrongly()
                for members in selected:
                    given.append(members["id"])
                    yield members
            except Damaged as error:
                problem: Exception = error
                self._replace()
            except Unwritable as error:
                problem = error
                self._move()
            else:
                return
        raise _hopeless(problem)

    def _selected(self, ref: str, selection: Selection) -> Iterator[dict[str, Json]]:
        with self._file.opened() as db:
            branch = _branch(db, ref)
            query = Query(db, branch, selection)
            _index(db, branch, query)
            db.execute("BEGIN")  # one state of the catalog for numbers and documents
            numbers, again = iter(query.runs()), query.again()
            while chunk := list(islice(numbers, _CHUNK)):
                yield from documents(db, chunk, again, dated=not self._made)

    def count(self, ref: str, selection: Selection) -> int:
        """Return how many runs are selected, whatever the limit."""
        return self._ask(lambda db: Query(db, _branch(db, ref), selection).count())

    def manifests(self, ref: str, selection: Selection) -> list[tuple[str, str]]:
        """Return id and manifest's blob of the selected runs, in order: what a reader of many manifests needs.

        Raises
        ------
        ConfigError
            As for `select`.
        """
        # Not joined: what SQLite knows of a catalog that has grown may be old, and it would then walk one table for
        # every row of the other.
        ids = "SELECT run, id FROM runs WHERE run IN (SELECT value FROM json_each(?))"
        blobs = "SELECT run, lower(hex(manifest)) FROM folders WHERE run IN (SELECT value FROM json_each(?))"

        def find(db: sqlite3.Connection) -> list[tuple[str, str]]:
            db.execute("BEGIN")  # one state of the catalog for the three questions
            numbers = Query(db, _branch(db, ref), selection).runs()
            asked = (orjson.dumps(numbers).decode(),)
            id_of, blob_of = dict(db.execute(ids, asked)), dict(db.execute(blobs, asked))
            return [(id_of[number], blob_of[number]) for number in numbers]

        return self._ask(find)

    def folders(self, ref: str) -> dict[str, dict[str, str]]:
        """Return the files in the folder of each run of the tip, damaged ones too: the blobs of the two records.

        Of the other files there is the name, with an empty text.
        """
        sql = (
            "SELECT i.id, lower(hex(f.manifest)), lower(hex(f.annotations)), s.names FROM ids i"
            " JOIN folders f USING (run) JOIN filesets s USING (fileset) WHERE i.branch = ?"
        )
        rows = self._ask(lambda db: db.execute(sql, (_branch(db, ref),)).fetchall())
        return {
            run: dict.fromkeys(names.split("\0"), "")
            | {name: blob for name, blob in zip(RECORDS, blobs, strict=True) if blob}
            for run, *blobs, names in rows
            if names
        }

    def columns(self, ref: str, metrics: Sequence[str]) -> list[Columns]:
        """Return all runs of the tip that can be listed, a row of columns each; `metrics` are names of any metrics."""
        named, joins, asked = [], [], list[str | None]()
        for name in metrics:
            if name in METRIC_COLUMNS:
                named.append(f"r.{quoted(f'metrics.{name}')}")
                continue
            asked.append(_asked(f"metrics.{name}"))
            place = len(asked)
            named.append(f"m{place:d}.value")
            name_of = f"(SELECT name FROM names WHERE branch = ?1 AND path = ?{place + 1:d})"
            joins.append(f" LEFT JOIN facts m{place:d} ON m{place:d}.name = {name_of} AND m{place:d}.owner = r.run")
        moments = [f"r.{quoted(f'moments.{name}')}" for name in MOMENTS]
        sql = (
            f"SELECT r.id, r.created_at, r.strategy, r.alias, r.data, e.json, {', '.join([*named, *moments])}"
            f" FROM runs r JOIN documents d USING (run) JOIN definitions e USING (definition){''.join(joins)}"
            " WHERE r.branch = ?1"
        )
        rows = self._ask(lambda db: db.execute(sql, (_branch(db, ref), *asked)).fetchall())
        return [
            Columns(run, at, strategy, alias, data, definitions, tuple(numbers))
            for run, at, strategy, alias, data, definitions, *numbers in rows
        ]

    def data_of(self, ref: str) -> dict[int, Json]:
        """Return the member `data` of runs by the number that `columns` gives for it."""
        sql = "SELECT data, min(run) FROM runs WHERE branch = ? GROUP BY data ORDER BY min(run)"

        def find(db: sqlite3.Connection) -> dict[int, Json]:
            rows = db.execute(sql, (_branch(db, ref),)).fetchall()
            found = documents(db, [run for _, run in rows], dated=not self._made)
            return {number: members["data"] for (number, _), members in zip(rows, found, strict=True)}

        return self._ask(find)

    def run(self, ref: str, run: str) -> dict[str, Json] | None:
        """Return one run of the tip as JSON; None where it is not there or damaged."""
        sql = "SELECT i.run FROM ids i JOIN runs USING (run) WHERE i.branch = ? AND i.id = ?"

        def find(db: sqlite3.Connection) -> dict[str, Json] | None:
            row = db.execute(sql, (_branch(db, ref), _asked(run))).fetchone()
            return next(documents(db, [row[0]], dated=not self._made), None) if row else None

        return self._ask(find)

    def definitions(self, ref: str, runs: Sequence[str]) -> dict[str, dict[str, Json]]:
        """Return ``metric_definitions`` and ``moments`` of runs by id, for comparing them on one definition."""
        sql = (
            f"SELECT r.id, e.json, r.revision, r.crc, {ROW} FROM ids i JOIN runs r USING (run)"
            " JOIN documents d USING (run) JOIN definitions e USING (definition)"
            " WHERE i.branch = ? AND i.id IN (SELECT value FROM json_each(?))"
        )

        def find(db: sqlite3.Connection) -> dict[str, dict[str, Json]]:
            rows = db.execute(sql, (_branch(db, ref), orjson.dumps(list(runs)).decode()))
            found = {}
            for run, json, revision, crc, *row in rows:
                require_sum(row, sum_of(json), revision, crc)
                moments = dict(zip(MOMENTS, row[-len(MOMENTS) :], strict=True))
                found[run] = {"metric_definitions": orjson.loads(json), "moments": moments}
            return found

        return self._ask(find)

    # References

    def ids(self, ref: str, prefix: str, seed: int | None = None, limit: int | None = None) -> list[str]:
        """Return the ids of runs at the tip that begin so, sorted; with that seed, if one is given."""
        return self._ids(ref, prefix, seed, limit, "EXISTS")

    def past_ids(self, ref: str, prefix: str, seed: int | None = None, limit: int | None = None) -> list[str]:
        """Return the ids that begin so of runs that are no longer at the tip."""
        return self._ids(ref, prefix, seed, limit, "NOT EXISTS")

    def _ids(self, ref: str, prefix: str, seed: int | None, limit: int | None, exists: str) -> list[str]:
        sql = (
            "SELECT i.id FROM ids i WHERE i.branch = ?1 AND i.id >= ?2 AND i.id < ?2 || 'g'"
            f" AND {exists} (SELECT 1 FROM runs r WHERE r.run = i.run) AND (?3 IS NULL OR substr(i.id, 66) = ?3)"
            " ORDER BY i.id LIMIT ?4"
        )
        values = (_asked(prefix), None if seed is None else str(seed), -1 if limit is None else limit)
        return self._ask(lambda db: _firsts(db, sql, (_branch(db, ref), *values)))

    def by_alias(self, ref: str, name: str) -> str | None:
        """Return the id of the run that is called so; of the newest, should there be several."""
        sql = "SELECT id FROM runs WHERE branch = ? AND alias = ? ORDER BY created_at DESC, id LIMIT 1"
        found = self._ask(lambda db: _firsts(db, sql, (_branch(db, ref), _asked(name))))
        return found[0] if found else None

    def complete(self, ref: str, beginning: str, limit: int = 100) -> list[str]:
        """Return aliases and short ids that begin so, for a shell; full ids behind more than the short id's digits."""
        aliases = [alias for alias in self.values(ref, "alias") if alias.startswith(beginning)]
        digits = beginning.partition("-")[0]
        if digits.strip("0123456789abcdef"):
            return aliases
        found = self.ids(ref, digits, limit=limit)
        shown = [run[:8] + run[64:] if len(digits) <= 8 else run for run in found]
        return aliases + [run for run in shown if run.startswith(beginning)]

    def revisions(self, ref: str, run: str) -> list[Revision]:
        """Return the revisions that a run has had in history, also where it is no longer at the tip."""
        sql = (
            'SELECT lower(hex(v.blob)), lower(hex(v."commit")), v.created_at FROM ids i JOIN revisions v USING (run)'
            ' WHERE i.branch = ? AND i.id = ? ORDER BY v.created_at, v.blob, v.time, v."commit"'
        )
        rows = self._ask(lambda db: db.execute(sql, (_branch(db, ref), _asked(run))).fetchall())
        first = {blob: (commit, time) for blob, commit, time in reversed(rows)}
        order = dict.fromkeys(blob for blob, _, _ in rows)
        return [Revision(place, blob, *first[blob]) for place, blob in enumerate(order, 1)]

    # What there is

    def names(self, ref: str) -> list[str]:
        """Return the dotted names of the metrics, parameters, settings and other values that runs have, sorted."""
        return self._ask(lambda db: Names(db, _branch(db, ref)).paths())

    def require_name(self, ref: str, name: str) -> None:
        """Raise ConfigError, with near names, where no run has anything of this name."""

        def find(db: sqlite3.Connection) -> None:
            names = Names(db, _branch(db, ref))
            if not names.is_setting(name):
                names.resolve(name)

        self._ask(find)

    def values(self, ref: str, kind: str) -> list[str]:
        """Return the distinct values of `kind`: strategy, engine, alias, tag, symbol or metric, sorted.

        Of ``name`` they are what a listing can be sorted by: fields, metrics, dotted parameters and settings.
        """
        if kind == "name":
            return sorted({*FIELD_NAMES, *(name.removeprefix("metrics.") for name in self.names(ref))})
        if kind == "metric":
            return [name.removeprefix("metrics.") for name in self.names(ref) if name.startswith("metrics.")]
        if kind in ("tag", "symbol"):
            sql = (
                "SELECT DISTINCT label FROM labels l WHERE kind = ?2"
                " AND (SELECT branch FROM runs r WHERE r.run = l.run) = ?1 ORDER BY label"
            )
            label = TAG if kind == "tag" else SYMBOL
            return self._ask(lambda db: _firsts(db, sql, (_branch(db, ref), label)))
        if kind not in ("strategy", "engine", "alias"):
            raise ValueError(kind)
        sql = f"SELECT DISTINCT {kind} FROM runs WHERE branch = ? AND {kind} IS NOT NULL ORDER BY {kind}"
        return self._ask(lambda db: _firsts(db, sql, (_branch(db, ref),)))

    def damaged(self, ref: str) -> list[tuple[str, str]]:
        """Return the runs at the tip that cannot be listed, each with its problem; stray files in ``runs/`` by path."""
        sql = "SELECT run, problem FROM damaged WHERE branch = ? ORDER BY run"
        return self._ask(lambda db: db.execute(sql, (_branch(db, ref),)).fetchall())

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        def work() -> T:
            with self._file.opened() as db:
                return question(db)

        return self._healing(work)


def _hopeless(error: Exception) -> RunvaultError:
    return RunvaultError(f"the catalog can be kept nowhere: {error}", "is there space left on the disk?")


def _given_wrongly() -> RunvaultError:
    return IntegrityError(
        "the catalog was damaged, and runs were listed before this was seen", "it is mended: ask again"
    )


def _branch(db: sqlite3.Connection, ref: str) -> int:
    """Return a branch's number; 0, which no branch has, for one that is not known."""
    row = db.execute("SELECT branch FROM branches WHERE ref = ?", (ref,)).fetchone()
    return int(row[0]) if row else 0


def _magnitude(db: sqlite3.Connection) -> int:
    """Return how many digits the number of runs has, base two, past ones included."""
    return int(db.execute("SELECT max(run) FROM ids").fetchone()[0] or 0).bit_length()


def _asked(text: str) -> str | None:
    """Return a text to look for; NULL, which equals nothing, for what is no Unicode."""
    return text if encodable(text) else None


def _firsts(db: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[str]:
    return [row[0] for row in db.execute(sql, values)]


def _index(db: sqlite3.Connection, branch: int, query: Query) -> None:
    """Index a column that is sorted by for the first time, if there are many runs and nobody is writing."""
    column = query.order.column
    if column is None or query.is_indexed(column):
        return
    if (
        db.execute("SELECT count(*) FROM (SELECT 1 FROM runs WHERE branch = ? LIMIT ?)", (branch, MANY)).fetchone()[0]
        < MANY
    ):
        return
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute("BEGIN IMMEDIATE")
        create_index(db, column)
        db.execute(f"ANALYZE {quoted(f'by {column}')}")
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL):
            raise
    finally:
        db.execute(f"PRAGMA busy_timeout = {1000 * BUSY_S:.0f}")
