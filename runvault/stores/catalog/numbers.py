"""The numbers that stand for runs in every table, and which of them a refresh has touched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable


class Numbers:
    """The numbers of one branch's runs; `empty` says that there are none yet, so none are looked for."""

    def __init__(self, db: sqlite3.Connection, branch: int, *, empty: bool) -> None:
        self._db = db
        self._branch = branch
        self._empty = empty
        self._known: dict[str, int] = {}
        self._new: list[tuple[int, int, str]] = []  # given and not yet written
        self._next = 1 + (db.execute("SELECT max(run) FROM ids").fetchone()[0] or 0)
        db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (run INTEGER PRIMARY KEY)")
        db.execute("DELETE FROM touched")

    def number(self, run: str) -> int:
        """Return the number of a run, a new one where it has none yet."""
        number = self._known.get(run)
        if number is None and not self._empty:
            row = self._db.execute("SELECT run FROM ids WHERE branch = ? AND id = ?", (self._branch, run)).fetchone()
            number = row[0] if row else None
        if number is None:
            number = self._next
            self._next += 1
            self._new.append((number, self._branch, run))
        self._known[run] = number
        return number

    def touch(self, numbers: Iterable[int]) -> None:
        """Remember runs whose revisions are looked at in the end."""
        self._db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", [(number,) for number in numbers])

    def write(self) -> None:
        """Write the numbers that were given since."""
        self._db.executemany("INSERT INTO ids VALUES (?, ?, ?)", self._new)
        self._new.clear()
