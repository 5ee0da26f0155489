"""The runs of an answer as JSON, each compared with what was written: its document, its row, and why it is listed.

What a listing leaves out is not looked at: that costs as much as reading the whole file (`compare`).
"""

# ruff: noqa: S608 - values are bound; what is pasted into statements are names and constants of this package
from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import orjson

from runvault.stores.catalog.files import Damaged
from runvault.stores.catalog.project import leaves
from runvault.stores.catalog.schema import SUMMED, quoted
from runvault.stores.catalog.select import Again
from runvault.stores.catalog.sums import revision_sum, row_sum

Json: TypeAlias = Any

ROW = ", ".join(f"r.{quoted(name)}" for name in SUMMED)
"""The columns that a row's checksum is of."""
_COMMIT = (
    """(SELECT hex(v."commit") || ' ' || v.crc FROM revisions v WHERE v.run = d.run AND v.blob = f.manifest"""
    ' ORDER BY v.time, v."commit" LIMIT 1)'
)
_LISTS = ("tags", "symbols")


def documents(
    db: sqlite3.Connection, numbers: Sequence[int], again: Again | None = None, *, dated: bool = True
) -> Iterator[dict[str, Json]]:
    """Yield runs as JSON in the order of `numbers`.

    Parameters
    ----------
    again : Again, optional
        What selected them, and in which order: asked of their rows once more. Without it they come by number.
    dated : bool
        A run whose commit is not known is damage; False just after the file was made anew, which would help no more.

    Raises
    ------
    Damaged
        A document or a row is not what was written, or the rows select other runs than the indexes did.
    """
    asked = again or Again()
    seen = "".join(f", {sql}" for sql in asked.columns.values())
    rows = db.execute(
        f"SELECT d.run, d.json, d.crc, e.crc, r.crc, r.revision, f.manifest, {_COMMIT}, {ROW}{seen}"
        " FROM runs r NOT INDEXED JOIN documents d USING (run) JOIN folders f USING (run)"
        " LEFT JOIN definitions e USING (definition)"
        f" WHERE r.run IN (SELECT value FROM json_each(:numbers)) AND {asked.where} ORDER BY {asked.order}",
        {**asked.values, "numbers": orjson.dumps(numbers).decode()},
    ).fetchall()
    if [row[0] for row in rows] != list(numbers):
        raise Damaged("an index does not say what its table says")
    # All before the first one is given: a row that lies may stand in a wrong place.
    for number, json, crc, definitions_sum, sum_of_row, revision, _, _, *values in rows:
        if sum_of(json) != crc:
            raise Damaged(f"document {number}")
        require_sum(values[: len(SUMMED)], definitions_sum, revision, sum_of_row)
    for _, json, _, _, _, revision, manifest, commit, *values in rows:
        members = orjson.loads(json)
        if asked.columns:
            _compare(members, dict(zip(asked.columns, values[len(SUMMED) :], strict=True)))
        members["revision"] = revision
        if dated and commit is None:
            raise Damaged("no commit brought a run")
        members["commit"] = commit and _commit(manifest, commit)
        yield members


def sum_of(json: Any) -> int | None:
    """Return the checksum of a stored JSON text, None where it is no longer one."""
    return zlib.crc32(json) if isinstance(json, bytes) else None


def require_sum(row: Sequence[Any], definitions_sum: Any, revision: Any, crc: Any) -> None:
    """Raise Damaged where a row of `runs` does not match its checksum."""
    try:
        same = row_sum(row, definitions_sum, revision) == crc
    except (TypeError, OverflowError):  # a flipped bit can make bytes of a text, and a text of a number
        same = False
    if not same:
        raise Damaged("a row does not match its checksum")


def _commit(manifest: Any, said: str) -> str:
    commit, _, crc = said.partition(" ")
    if not isinstance(manifest, bytes) or str(revision_sum(manifest, bytes.fromhex(commit))) != crc:
        raise Damaged("a revision")
    return commit.lower()


def _compare(members: dict[str, Json], seen: dict[str, Any]) -> None:
    """Compare open-ended values with those in the document."""
    sections = {path.partition(".")[0] for path in seen if "." in path}
    facts = {section: dict(leaves(section, members[section])) for section in sections}
    for path, value in seen.items():
        if path in _LISTS:
            found, wanted = set((value or "").split(",")), {each.encode().hex().upper() for each in members[path]}
            same = found == (wanted or {""})
        elif path == "note":
            same = value == (members[path] or None)
        else:
            same = value == facts[path.partition(".")[0]].get(path)
        if not same:
            raise Damaged(f"{path} of a run")
