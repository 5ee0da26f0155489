"""Bring the rows of one branch from the commit they were made from to another, inside the caller's transaction.

A rebuild is the same work from nothing; so what is caught up equals what is built anew.
"""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import itertools
import sqlite3

from runvault.model.source import ArchiveSource
from runvault.stores.catalog.folders import as_they_came, by_folder
from runvault.stores.catalog.numbers import Numbers
from runvault.stores.catalog.revisions import Revisions
from runvault.stores.catalog.rows import BATCH, Writer


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
    numbers = Numbers(db, branch, empty=old is None)
    writer, revisions = Writer(db, branch, numbers, empty=old is None), Revisions(db, numbers)
    changes = by_folder(source.changed_files(old, tip), writer.note_stray)
    places: dict[bytes, int] = {}
    if back:
        revisions.forget(source, tip, old)
    else:
        places = revisions.add(source, old, tip)
    folders = map(writer.folder, changes) if old is not None else as_they_came(changes, numbers.number, places)
    while batch := list(itertools.islice(folders, BATCH)):
        writer.apply(batch, source)
    writer.flush_names()
    revisions.date(source)
    revisions.rank()
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
