"""Bring the rows of one branch from the commit they were made from to another, inside the caller's transaction.

A rebuild is the same work from nothing; so what is caught up equals what is built anew.
"""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import hashlib
import itertools
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from runvault.errors import RunvaultError
from runvault.model.ids import MAX_SEED
from runvault.model.source import ArchiveSource, FileChange
from runvault.stores.catalog.files import Damaged
from runvault.stores.catalog.project import Fact, Projection, column_metrics, leaves, own_facts, project
from runvault.stores.catalog.schema import RUN_COLUMNS, SHARED, SYMBOL, TAG
from runvault.stores.catalog.sums import revision_sum, row_sum

MANIFEST, ANNOTATIONS = "manifest.json", "annotations.json"
BATCH = 5_000  # runs whose files are asked for at once: a process each time
ROWS = 500  # runs whose rows are in memory at once

_FOLDER = re.compile(r"runs/([0-9a-f]{2})/(\1[0-9a-f]{62}-(0|[1-9][0-9]{0,18}))/")


class Change(NamedTuple):
    """The changed files of one run's folder: name → blob, None where the file is gone."""

    run: str
    files: dict[str, str | None]


class Folder(NamedTuple):
    """What a run's folder holds at the tip."""

    number: int
    run: str
    manifest: str | None
    annotations: str | None
    files: frozenset[str]


# Git counts in seconds, and a run can be saved, removed and put back within one: the order of the walk decides then.
_ADD_REVISION = (
    "INSERT OR IGNORE INTO revisions VALUES (?1, ?2, ?3, ?4 + 1e-6 *"
    " (SELECT count(*) FROM revisions WHERE run = ?1 AND CAST(time AS INTEGER) = ?4), NULL, ?5)"
)


def refresh_branch(db: sqlite3.Connection, source: ArchiveSource, ref: str, tip: str) -> None:
    """Make the rows of the branch `ref` those of the commit `tip`."""
    branch, old = _branch(db, ref)
    if old == tip:
        return
    back = False
    if old is not None and not source.is_ancestor(old, tip):
        back = source.is_ancestor(tip, old)
        if not back:  # another history: what is known of this one cannot be told apart
            clear_branch(db, branch)
            old = None
    db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (run INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM touched")
    writer = _Writer(db, branch, empty=old is None)
    changes = _by_folder(source.changed_files(old, tip), writer)
    places: dict[bytes, int] = {}
    if back:
        writer.forget_history(source, tip, old)
    else:
        places = writer.add_history(source, old, tip)
    folders = map(writer.folder, changes) if old is not None else _as_they_came(changes, writer, places)
    while batch := list(itertools.islice(folders, BATCH)):
        writer.apply(batch, source)
    writer.flush_names()
    writer.date_history(source)
    writer.rank_revisions()
    db.execute("UPDATE branches SET tip = ?, runs = runs + ? WHERE branch = ?", (tip, writer.added, branch))


def clear_branch(db: sqlite3.Connection, branch: int) -> None:
    """Forget all rows of a branch but its name."""
    runs = "(SELECT run FROM ids WHERE branch = ?1)"
    db.execute(f"DELETE FROM notes WHERE rowid IN {runs}", (branch,))
    for table in ("folders", "documents", "labels", "revisions", "runs"):
        db.execute(f"DELETE FROM {table} WHERE run IN {runs}", (branch,))
    db.execute("DELETE FROM facts WHERE name IN (SELECT name FROM names WHERE branch = ?)", (branch,))
    for table in ("names", "sections", "damaged", "ids"):
        db.execute(f"DELETE FROM {table} WHERE branch = ?", (branch,))
    db.execute("UPDATE branches SET tip = NULL, runs = 0 WHERE branch = ?", (branch,))


def tip_of(db: sqlite3.Connection, ref: str) -> str | None:
    """Return the commit that the rows of a branch were made from."""
    row = db.execute("SELECT tip FROM branches WHERE ref = ?", (ref,)).fetchone()
    return row[0] if row else None


def _branch(db: sqlite3.Connection, ref: str) -> tuple[int, str | None]:
    db.execute("INSERT OR IGNORE INTO branches (ref) VALUES (?)", (ref,))
    branch, tip = db.execute("SELECT branch, tip FROM branches WHERE ref = ?", (ref,)).fetchone()
    return branch, tip


def _by_folder(changes: Iterable[FileChange], writer: _Writer) -> Iterator[Change]:
    """Gather the changes of each run; what lies in ``runs/`` and belongs to no run is told to the writer."""
    folder, files = "\0", dict[str, str | None]()
    for path, blob in changes:
        if path.startswith(folder):
            files[path[len(folder) :]] = blob
            continue
        if files:
            yield Change(folder[8:-1], files)
        run = _run_of(path)
        if run is None:
            folder, files = "\0", {}
            if path.startswith("runs/"):
                writer.note_stray(path, present=blob is not None)
        else:
            folder = f"runs/{run[:2]}/{run}/"
            files = {path[len(folder) :]: blob}
    if files:
        yield Change(folder[8:-1], files)


class _Kept(NamedTuple):
    """A run's folder in a fresh tree, in as few bytes as can be: there may be a million of them."""

    place: int
    number: int
    run: str
    manifest: bytes | None
    annotations: bytes | None
    files: frozenset[str]

    def folder(self) -> Folder:
        """Return the folder with ids as git gives them."""
        return Folder(self.number, self.run, _text(self.manifest), _text(self.annotations), self.files)


def _as_they_came(changes: Iterable[Change], writer: _Writer, places: dict[bytes, int]) -> Iterator[Folder]:
    """Yield the folders of a fresh tree in the order in which history brought their manifests.

    Git packs a manifest as a difference from those that came just before it. In the order of ids it builds each from
    the beginning of its chain: that took ten times as long for 100,000 runs.
    """
    shared: dict[Any, Any] = {}
    kept = []
    for run, blobs in changes:
        manifest, annotations, files = _binary(blobs.get(MANIFEST)), _binary(blobs.get(ANNOTATIONS)), frozenset(blobs)
        kept.append(
            _Kept(
                places.get(manifest or b"", -1),
                writer.number(run),
                run,
                manifest,
                shared.setdefault(annotations, annotations),
                shared.setdefault(files, files),
            )
        )
    del shared
    places.clear()
    kept.sort(key=lambda each: each[:2], reverse=True)
    while kept:
        yield kept.pop().folder()


def _run_of(path: str) -> str | None:
    match = _FOLDER.match(path)
    if match is None or (len(match[3]) == 19 and int(match[3]) > MAX_SEED):
        return None
    return match[2]


class _Rows(NamedTuple):
    """Rows on their way into the tables, a batch of runs at a time."""

    folders: list[tuple[int, bytes | None, bytes | None, int]]
    runs: list[tuple[Any, ...]]
    documents: list[tuple[int, bytes, int, int]]
    facts: list[tuple[int, int, Any]]
    labels: list[tuple[int, int, str]]
    notes: list[tuple[int, str]]

    @classmethod
    def none(cls) -> _Rows:
        return cls([], [], [], [], [], [])


class _Writer:
    """Writes the rows of one branch; `empty` says that there are none yet, so none are looked for."""

    def __init__(self, db: sqlite3.Connection, branch: int, *, empty: bool) -> None:
        self._db = db
        self._branch = branch
        self._empty = empty
        self._numbers: dict[str, int] = {}
        self._new: list[tuple[int, int, str]] = []  # numbers given and not yet written
        self._next = 1 + (db.execute("SELECT max(run) FROM ids").fetchone()[0] or 0)
        self._names: dict[str, int] = {}
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._sections: dict[tuple[str, bytes], tuple[int, tuple[str, ...]]] = {}
        self._alike: dict[bytes, tuple[tuple[int, ...], tuple[str, ...]]] = {}  # all sections of a run at once
        self._filesets: dict[frozenset[str], int] = {}
        self._definitions: dict[bytes, tuple[int, int]] = {}
        self.added = 0  # runs that can be listed, less those that were forgotten

    # The tree at the tip

    def apply(self, folders: list[Folder], source: ArchiveSource) -> None:
        """Write the rows of the changed runs."""
        self._db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", [(folder.number,) for folder in folders])
        if not self._empty:
            for folder in folders:
                self._forget(folder)
        present = [folder for folder in folders if folder.files]
        contents = _contents(source, present)
        while some := list(itertools.islice(contents, ROWS)):
            rows = _Rows.none()
            for folder, manifest, notes in some:
                self._gather(rows, folder, manifest, notes)
            self._write(rows)

    def note_stray(self, path: str, *, present: bool) -> None:
        """Remember a file in ``runs/`` that belongs to no run."""
        name = path.encode("utf-8", "backslashreplace").decode()
        self._damage(name, "does not belong to a run" if present else None)

    def folder(self, change: Change) -> Folder:
        """Return what the folder of a changed run holds now."""
        number, files = self.number(change.run), change.files
        manifest, annotations, names = self._known(number)
        gone = {name for name, blob in files.items() if blob is None}
        return Folder(
            number,
            change.run,
            files.get(MANIFEST, manifest),
            files.get(ANNOTATIONS, annotations),
            names.union(files) - gone,
        )

    def _known(self, number: int) -> tuple[str | None, str | None, frozenset[str]]:
        row = self._db.execute(
            "SELECT manifest, annotations, names FROM folders JOIN filesets USING (fileset) WHERE run = ?", (number,)
        ).fetchone()
        if row is None:
            return None, None, frozenset()
        return row[0] and row[0].hex(), row[1] and row[1].hex(), frozenset(row[2].split("\0"))

    def number(self, run: str) -> int:
        """Return the number of a run, a new one where it has none yet."""
        number = self._numbers.get(run)
        if number is None and not self._empty:
            row = self._db.execute("SELECT run FROM ids WHERE branch = ? AND id = ?", (self._branch, run)).fetchone()
            number = row[0] if row else None
        if number is None:
            number = self._next
            self._next += 1
            self._new.append((number, self._branch, run))
        self._numbers[run] = number
        return number

    def _gather(self, rows: _Rows, folder: Folder, manifest: bytes | None, annotations: bytes | None) -> None:
        fileset = self._fileset(folder.files)
        rows.folders.append((folder.number, _binary(folder.manifest), _binary(folder.annotations), fileset))
        try:
            if folder.manifest is None:
                raise RunvaultError(f"{MANIFEST} is missing")
            if manifest is None or (folder.annotations is not None and annotations is None):
                raise RunvaultError(f"{MANIFEST if manifest is None else ANNOTATIONS} is not in the repository")
            projection = project(folder.run, manifest, annotations, folder.files)
        except RunvaultError as error:
            self._damage(folder.run, str(error))
            return
        self._add(rows, folder.number, projection)

    def _add(self, rows: _Rows, number: int, run: Projection) -> None:
        definition, definitions_sum = self._definition(run.definitions)
        sections, crc = self._count(run.members, run.facts, 1), row_sum(run.row, definitions_sum, 1)
        rows.runs.append((number, self._branch, *sections, *run.row, 1, crc))  # revision: the history is read later
        self.added += 1
        rows.documents.append((number, run.document, zlib.crc32(run.document), definition))
        rows.facts.extend([(self._name(path), number, value) for path, value in run.facts])
        rows.labels.extend([(number, TAG, tag) for tag in run.tags])
        rows.labels.extend([(number, SYMBOL, symbol) for symbol in run.symbols])
        if run.note:
            rows.notes.append((number, run.note))

    def _count(self, members: dict[str, Any], facts: list[Fact], change: int) -> tuple[int, ...]:
        """Count the names that a run has, in groups that many runs share; return the numbers of its sections."""
        sections, paths = self._shared([members[name] for name in SHARED])
        counts = self._counts
        counts["metrics.", column_metrics(members)] += change
        counts["", tuple([path for path, _ in facts])] += change
        counts["", paths] += change
        return sections

    def _shared(self, values: list[Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the numbers of a run's sections and the names in all of them."""
        key = orjson.dumps(values)
        known = self._alike.get(key)
        if known is None:
            if len(self._alike) >= BATCH:
                self._alike.clear()
            sections = [self._section(name, value) for name, value in zip(SHARED, values, strict=True)]
            paths = tuple(path for _, paths in sections for path in paths)
            known = self._alike[key] = tuple(number for number, _ in sections), paths
        return known

    def _section(self, name: str, value: Any) -> tuple[int, tuple[str, ...]]:
        """Return a section's number and the names in it."""
        key = (name, orjson.dumps(value))
        known = self._sections.get(key)
        if known is None:
            if len(self._sections) >= BATCH:  # where no two runs are alike, remembering them all helps nobody
                self._sections.clear()
            known = self._sections[key] = self._find_section(name, value, key[1])
        return known

    def _find_section(self, name: str, value: Any, content: bytes) -> tuple[int, tuple[str, ...]]:
        facts = leaves(name, value)
        key = (self._branch, hashlib.sha256(name.encode() + content).digest())
        new = self._db.execute("INSERT OR IGNORE INTO sections (branch, digest) VALUES (?, ?)", key).rowcount
        row = self._db.execute("SELECT section FROM sections WHERE branch = ? AND digest = ?", key).fetchone()
        number = int(row[0])
        if new:
            rows = [(self._name(path), number, leaf) for path, leaf in facts]
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)
        return number, tuple(path for path, _ in facts)

    def _write(self, rows: _Rows) -> None:
        self._write_numbers()
        run = self._db.executemany
        rows.facts.sort(key=itemgetter(0, 1))  # each page of the table is then visited once
        run("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?)", rows.folders)
        run(f"INSERT INTO runs VALUES ({', '.join('?' * len(RUN_COLUMNS))})", rows.runs)
        run("INSERT INTO documents VALUES (?, ?, ?, ?)", rows.documents)
        run("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows.facts)
        run("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows.labels)
        if rows.notes:  # SQLite opens the index of words for the statement alone
            run("INSERT INTO notes (rowid, note) VALUES (?, ?)", rows.notes)

    def _write_numbers(self) -> None:
        self._db.executemany("INSERT INTO ids VALUES (?, ?, ?)", self._new)
        self._new.clear()

    def _forget(self, folder: Folder) -> None:
        """Delete the rows of a run as it was."""
        self._damage(folder.run, None)
        row = self._db.execute("SELECT json, crc FROM documents WHERE run = ?", (folder.number,)).fetchone()
        if row is not None:
            if not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[1]:
                raise Damaged(f"document {folder.number}")
            self.added -= 1
            members = orjson.loads(row[0])
            facts = own_facts(members)
            self._count(members, facts, -1)
            keys = [(self._name(path), folder.number) for path, _ in facts]
            self._db.executemany("DELETE FROM facts WHERE name = ? AND owner = ?", keys)
            self._db.execute("DELETE FROM labels WHERE run = ?", (folder.number,))
            self._db.execute("DELETE FROM notes WHERE rowid = ?", (folder.number,))
            self._db.execute("DELETE FROM documents WHERE run = ?", (folder.number,))
            self._db.execute("DELETE FROM runs WHERE run = ?", (folder.number,))
        if not folder.files:
            self._db.execute("DELETE FROM folders WHERE run = ?", (folder.number,))

    def _damage(self, run: str, problem: str | None) -> None:
        if problem is None:
            self._db.execute("DELETE FROM damaged WHERE branch = ? AND run = ?", (self._branch, run))
        else:
            text = problem.encode("utf-8", "backslashreplace").decode()
            self._db.execute("INSERT OR REPLACE INTO damaged VALUES (?, ?, ?)", (self._branch, run, text))

    def _name(self, path: str) -> int:
        known = self._names.get(path)
        if known is None:
            key = (self._branch, path)
            row = self._db.execute("SELECT name FROM names WHERE branch = ? AND path = ?", key).fetchone()
            if row is None:
                added = self._db.execute("INSERT INTO names (branch, path, runs) VALUES (?, ?, 0)", key)
                row = (added.lastrowid,)
            known = self._names[path] = int(row[0])
        return known

    def flush_names(self) -> None:
        """Count in how many runs each name occurs."""
        totals: Counter[str] = Counter()
        for (prefix, names), count in self._counts.items():
            for name in names:
                totals[prefix + name] += count
        rows = [(count, self._name(path)) for path, count in totals.items() if count]
        self._db.executemany("UPDATE names SET runs = runs + ? WHERE name = ?", rows)

    def _fileset(self, files: frozenset[str]) -> int:
        known = self._filesets.get(files)
        if known is None:
            text = "\0".join(sorted(files)).encode("utf-8", "backslashreplace").decode()
            self._db.execute("INSERT OR IGNORE INTO filesets (names) VALUES (?)", (text,))
            found = self._db.execute("SELECT fileset FROM filesets WHERE names = ?", (text,)).fetchone()
            known = self._filesets[files] = int(found[0])
        return known

    def _definition(self, definitions: bytes) -> tuple[int, int]:
        """Return the number of definitions, and their checksum."""
        known = self._definitions.get(definitions)
        if known is None:
            crc = zlib.crc32(definitions)
            self._db.execute("INSERT OR IGNORE INTO definitions (crc, json) VALUES (?, ?)", (crc, definitions))
            found = self._db.execute("SELECT definition FROM definitions WHERE json = ?", (definitions,)).fetchone()
            known = self._definitions[definitions] = int(found[0]), crc
        return known

    # The history

    def add_history(self, source: ArchiveSource, old: str | None, tip: str) -> dict[bytes, int]:
        """Add the manifests that the commits in ``old..tip`` brought; return the place of each in their order."""
        places: dict[bytes, int] = {}
        coming = itertools.count()
        rows = self._history(source, old, tip)
        while batch := list(itertools.islice(rows, BATCH)):
            self._db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", [row[:1] for row in batch])
            self._db.executemany(_ADD_REVISION, [(*row, revision_sum(row[1], row[2])) for row in batch])
            self._write_numbers()
            places.update(zip([blob for _, blob, _, _ in batch], coming, strict=False))
        return places

    def forget_history(self, source: ArchiveSource, tip: str, old: str | None) -> None:
        """Remove what the commits in ``tip..old`` had brought: the branch was moved back."""
        rows = list(self._history(source, tip, old or tip))
        self._db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", [row[:1] for row in rows])
        self._db.executemany(
            'DELETE FROM revisions WHERE run = ? AND blob = ? AND "commit" = ?', [row[:3] for row in rows]
        )
        self._write_numbers()

    def _history(self, source: ArchiveSource, old: str | None, new: str) -> Iterator[tuple[int, bytes, bytes, int]]:
        for commit, path, blob, time in source.introduced(old, new):
            run = _run_of(path)
            if run is not None and path.endswith(f"{run}/{MANIFEST}"):
                yield self.number(run), bytes.fromhex(blob), bytes.fromhex(commit), time

    def date_history(self, source: ArchiveSource) -> None:
        """Find the time of each new revision: of the tip's it is known, others are read."""
        self._db.execute(
            "UPDATE revisions SET created_at = (SELECT r.created_at FROM runs r JOIN folders f USING (run)"
            " WHERE r.run = revisions.run AND f.manifest = revisions.blob)"
            " WHERE run IN (SELECT run FROM touched) AND created_at IS NULL"
        )
        undated = self._db.execute(
            "SELECT DISTINCT lower(hex(blob)) FROM revisions"
            " WHERE run IN (SELECT run FROM touched) AND created_at IS NULL"
        ).fetchall()
        dates = dict.fromkeys((blob for (blob,) in undated), "")
        if not dates:
            return
        dates.update((blob, _created_at(data)) for blob, data in source.read_blobs(list(dates)))
        self._db.executemany(
            "UPDATE revisions SET created_at = ? WHERE blob = ? AND created_at IS NULL"
            " AND run IN (SELECT run FROM touched)",
            [(date, bytes.fromhex(blob)) for blob, date in dates.items()],
        )

    def rank_revisions(self) -> None:
        """Find the place of each touched run's tip among its revisions."""
        self._db.execute(
            "UPDATE runs SET (revision, crc) = (SELECT count(DISTINCT v.blob),"
            " runs.crc - runs.revision + count(DISTINCT v.blob) FROM revisions v, folders f"
            " WHERE f.run = runs.run AND v.run = runs.run AND (v.created_at, v.blob) <= (runs.created_at, f.manifest))"
            " WHERE run IN (SELECT run FROM revisions WHERE run IN (SELECT run FROM touched)"
            " GROUP BY run HAVING min(blob) < max(blob))"
        )


def _contents(source: ArchiveSource, folders: list[Folder]) -> Iterator[tuple[Folder, bytes | None, bytes | None]]:
    """Yield each folder with its manifest and annotations, None for a blob that is not there.

    Annotations come first and are kept, for many runs share them; manifests stream.
    """
    notes = dict.fromkeys(folder.annotations for folder in folders if folder.annotations is not None)
    manifests = [folder.manifest for folder in folders if folder.manifest is not None]
    blobs = source.read_blobs([*notes, *manifests]) if notes or manifests else iter(())
    kept: dict[str, bytes] = {}
    ahead = next(blobs, None)
    while ahead is not None and ahead[0] in notes and len(kept) < len(notes):
        kept[ahead[0]] = ahead[1]
        ahead = next(blobs, None)
    for folder in folders:
        manifest = None
        if folder.manifest is not None and ahead is not None and ahead[0] == folder.manifest:
            manifest = ahead[1]
            ahead = next(blobs, None)
        yield folder, manifest, kept.get(folder.annotations) if folder.annotations is not None else None


def _binary(blob: str | None) -> bytes | None:
    return None if blob is None else bytes.fromhex(blob)


def _text(blob: bytes | None) -> str | None:
    return None if blob is None else blob.hex()


def _created_at(manifest: bytes) -> str:
    """Return the time a manifest states, an empty text where it cannot be read: such a revision comes first."""
    try:
        time = orjson.loads(manifest)["created_at"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return ""
    return time if isinstance(time, str) else ""
