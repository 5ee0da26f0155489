"""The revisions of runs: which commit brought which manifest, and when it says that it was made."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator

import orjson

from runvault.model.records import MANIFEST
from runvault.model.source import ArchiveSource
from runvault.stores.catalog.folders import run_of
from runvault.stores.catalog.numbers import Numbers
from runvault.stores.catalog.sums import revision_sum

BATCH = 5_000  # revisions whose rows are in memory at once

_WITHIN_A_SECOND = (
    'SELECT a.run, a.blob, a."commit", b."commit" FROM (SELECT run, blob FROM revisions'
    " WHERE run IN (SELECT run FROM touched) GROUP BY run, blob HAVING count(*) > 1)"
    " JOIN revisions a USING (run, blob) JOIN revisions b USING (run, blob)"
    ' WHERE a."commit" <> b."commit" AND CAST(a.time AS INTEGER) = CAST(b.time AS INTEGER)'
)


class Revisions:
    """Writes the revisions of one branch's runs."""

    def __init__(self, db: sqlite3.Connection, numbers: Numbers) -> None:
        self._db = db
        self._numbers = numbers

    def add(self, source: ArchiveSource, old: str | None, tip: str) -> dict[bytes, int]:
        """Add the manifests that the commits in ``old..tip`` brought; return the place of each in their order."""
        places: dict[bytes, int] = {}
        coming = itertools.count()
        rows = self._brought(source, old, tip)
        while batch := list(itertools.islice(rows, BATCH)):
            self._numbers.touch(row[0] for row in batch)
            rated = [(*row, revision_sum(row[1], row[2])) for row in batch]
            self._db.executemany("INSERT OR IGNORE INTO revisions VALUES (?, ?, ?, ?, NULL, ?)", rated)
            self._numbers.write()
            places.update(zip([blob for _, blob, _, _ in batch], coming, strict=False))
        self._order(source)
        return places

    def _order(self, source: ArchiveSource) -> None:
        """Put commits that brought the same within a second in the order of ancestry, whichever arrived first.

        Git counts in seconds, and a run can be saved, removed and put back within one. Two people's saves within one
        have no order; the ids decide then.
        """
        before: Counter[tuple[int, bytes, bytes]] = Counter()
        for run, blob, commit, other in self._db.execute(_WITHIN_A_SECOND).fetchall():
            before[run, blob, commit] += source.is_ancestor(other.hex(), commit.hex())
        self._db.executemany(
            'UPDATE revisions SET time = CAST(time AS INTEGER) + 1e-6 * ? WHERE run = ? AND blob = ? AND "commit" = ?',
            [(count, *revision) for revision, count in before.items()],
        )

    def forget(self, source: ArchiveSource, tip: str, old: str | None) -> None:
        """Remove what the commits in ``tip..old`` had brought: the branch was moved back."""
        rows = list(self._brought(source, tip, old or tip))
        self._numbers.touch(row[0] for row in rows)
        self._db.executemany(
            'DELETE FROM revisions WHERE run = ? AND blob = ? AND "commit" = ?', [row[:3] for row in rows]
        )
        self._numbers.write()

    def _brought(self, source: ArchiveSource, old: str | None, new: str) -> Iterator[tuple[int, bytes, bytes, int]]:
        for commit, path, blob, time in source.introduced(old, new):
            run = run_of(path)
            if run is not None and path.endswith(f"{run}/{MANIFEST}"):
                yield self._numbers.number(run), bytes.fromhex(blob), bytes.fromhex(commit), time

    def date(self, source: ArchiveSource) -> None:
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

    def rank(self) -> None:
        """Find the place of each touched run's tip among its revisions."""
        self._db.execute(
            "UPDATE runs SET (revision, crc) = (SELECT count(DISTINCT v.blob),"
            " runs.crc - runs.revision + count(DISTINCT v.blob) FROM revisions v, folders f"
            " WHERE f.run = runs.run AND v.run = runs.run AND (v.created_at, v.blob) <= (runs.created_at, f.manifest))"
            " WHERE run IN (SELECT run FROM revisions WHERE run IN (SELECT run FROM touched)"
            " GROUP BY run HAVING min(blob) < max(blob))"
        )


def _created_at(manifest: bytes) -> str:
    """Return the time a manifest states, an empty text where it cannot be read: such a revision comes first."""
    try:
        time = orjson.loads(manifest)["created_at"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return ""
    return time if isinstance(time, str) else ""
