"""The rows of runs at the tip: written from their files, forgotten again before they are written anew."""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import hashlib
import itertools
import sqlite3
import zlib
from collections import Counter
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from runvault.errors import RunvaultError
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.model.source import ArchiveSource
from runvault.stores.catalog.files import Damaged
from runvault.stores.catalog.folders import Change, Folder, binary, contents
from runvault.stores.catalog.numbers import Numbers
from runvault.stores.catalog.project import Fact, Projection, column_metrics, leaves, own_facts, project
from runvault.stores.catalog.schema import RUN_COLUMNS, SHARED, SYMBOL, TAG
from runvault.stores.catalog.sums import row_sum

BATCH = 5_000  # runs whose files are asked for at once: a process each time
ROWS = 500  # runs whose rows are in memory at once


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


class Writer:
    """Writes the rows of one branch; `empty` says that there are none yet, so none are looked for."""

    def __init__(self, db: sqlite3.Connection, branch: int, numbers: Numbers, *, empty: bool) -> None:
        self._db = db
        self._branch = branch
        self._empty = empty
        self._numbers = numbers
        self._names: dict[str, int] = {}
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._sections: dict[tuple[str, bytes], tuple[int, tuple[str, ...]]] = {}
        self._alike: dict[bytes, tuple[tuple[int, ...], tuple[str, ...]]] = {}  # all sections of a run at once
        self._filesets: dict[frozenset[str], int] = {}
        self._definitions: dict[bytes, tuple[int, int]] = {}
        self.added = 0  # runs that can be listed, less those that were forgotten

    def apply(self, folders: list[Folder], source: ArchiveSource) -> None:
        """Write the rows of the changed runs."""
        self._numbers.touch(folder.number for folder in folders)
        if not self._empty:
            for folder in folders:
                self._forget(folder)
        present = [folder for folder in folders if folder.files]
        found = contents(source, present)
        while some := list(itertools.islice(found, ROWS)):
            rows = _Rows.none()
            for folder, manifest, notes in some:
                self._gather(rows, folder, manifest, notes)
            self._write(rows)

    def note_stray(self, path: str, present: bool) -> None:
        """Remember a file in ``runs/`` that belongs to no run."""
        name = path.encode("utf-8", "backslashreplace").decode()
        self._damage(name, "does not belong to a run" if present else None)

    def folder(self, change: Change) -> Folder:
        """Return what the folder of a changed run holds now."""
        number, files = self._numbers.number(change.run), change.files
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

    def _gather(self, rows: _Rows, folder: Folder, manifest: bytes | None, annotations: bytes | None) -> None:
        fileset = self._fileset(folder.files)
        rows.folders.append((folder.number, binary(folder.manifest), binary(folder.annotations), fileset))
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
        self._numbers.write()
        run = self._db.executemany
        rows.facts.sort(key=itemgetter(0, 1))  # each page of the table is then visited once
        run("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?)", rows.folders)
        run(f"INSERT INTO runs VALUES ({', '.join('?' * len(RUN_COLUMNS))})", rows.runs)
        run("INSERT INTO documents VALUES (?, ?, ?, ?)", rows.documents)
        run("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows.facts)
        run("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows.labels)
        if rows.notes:  # SQLite opens the index of words for the statement alone
            run("INSERT INTO notes (rowid, note) VALUES (?, ?)", rows.notes)

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
