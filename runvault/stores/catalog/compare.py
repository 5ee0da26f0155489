"""Whether a catalog still says what a fresh one says; what is compared is a copy, so that nothing is changed."""

# ruff: noqa: S608 - what is pasted into statements are names and constants of this package
from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from runvault.errors import RunvaultError
from runvault.model.source import ArchiveSource
from runvault.stores.catalog.alike import OWN_FACTS, count, said_alike
from runvault.stores.catalog.files import CatalogFile, Damaged, Unwritable, build, translated
from runvault.stores.catalog.refresh import refresh_branch
from runvault.stores.catalog.schema import SHARED, SUMMED, quoted

_VALUES = ", ".join(f"r.{quoted(name)}" for name in (*SUMMED, "revision", "crc"))

# Numbers of rows differ between catalogs that say the same: each is put as what it stands for.
_SAYINGS = {
    "runs": f"SELECT i.id, {_VALUES} FROM {{0}}.runs r JOIN {{0}}.ids i USING (run) WHERE r.branch = {{1}}",
    "documents": (
        "SELECT i.id, d.json, d.crc, e.json, e.crc FROM {0}.documents d JOIN {0}.ids i USING (run)"
        " LEFT JOIN {0}.definitions e USING (definition) WHERE i.branch = {1}"
    ),
    "folders": (
        "SELECT i.id, f.manifest, f.annotations, s.names FROM {0}.folders f JOIN {0}.ids i USING (run)"
        " LEFT JOIN {0}.filesets s USING (fileset) WHERE i.branch = {1}"
    ),
    "labels": (
        "SELECT i.id, l.kind, l.label FROM {0}.labels l JOIN {0}.ids i USING (run)"
        " JOIN {0}.runs r USING (run) WHERE i.branch = {1}"
    ),
    "revisions": (
        'SELECT i.id, v.blob, v."commit", CAST(v.time AS INTEGER), v.created_at, v.crc FROM {0}.revisions v'
        " JOIN {0}.ids i USING (run) WHERE i.branch = {1}"
    ),
    "notes": ("SELECT i.id, n.note FROM {0}.notes n JOIN {0}.ids i ON i.run = n.rowid WHERE i.branch = {1}"),
    "facts of runs": (
        "SELECT i.id, n.path, f.value FROM {0}.facts f JOIN {0}.names n USING (name)"
        f" LEFT JOIN {{0}}.ids i ON i.run = f.owner WHERE n.branch = {{1}} AND ({OWN_FACTS})"
    ),
    "names": "SELECT NULL, path, runs FROM {0}.names WHERE branch = {1} AND runs > 0",
    "number of runs": "SELECT NULL, runs FROM {0}.branches WHERE branch = {1}",
    "damaged runs": "SELECT run, problem FROM {0}.damaged WHERE branch = {1}",
    **{
        f"{name} of runs": (
            f"SELECT i.id, s.digest FROM {{0}}.runs r JOIN {{0}}.ids i USING (run)"
            f" LEFT JOIN {{0}}.sections s ON s.section = r.{name} WHERE r.branch = {{1}}"
        )
        for name in SHARED
    },
    **{
        f"facts of {name}": (
            f"SELECT NULL, s.digest, n.path, f.value FROM {{0}}.sections s JOIN {{0}}.facts f ON f.owner = s.section"
            f" JOIN {{0}}.names n USING (name) WHERE s.branch = {{1}} AND n.path LIKE '{name}.%'"
            f" AND s.section IN (SELECT {name} FROM {{0}}.runs)"
        )
        for name in SHARED
    },
}


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for a few files. It is emptied file by file: a command that looks deletes no tree."""
    folder = Path(tempfile.mkdtemp(prefix="runvault-verify-"))
    try:
        yield folder
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def catalog_problem(path: Path, source: ArchiveSource, ref: str, tip: str, scratch: Path | None = None) -> str | None:
    """Return how the catalog's file differs from one that is made now, None where it does not, or where there is none.

    A catalog that was made from an earlier commit, and one of another version, is no damaged one: it is brought up to
    the tip, or made anew, when it is next asked for. `scratch` is a `scratch_folder` of the caller's.
    """
    if not path.exists():
        return None
    with scratch_folder() if scratch is None else contextlib.nullcontext(scratch) as folder:
        copy, fresh = folder / "copy.db", folder / "fresh.db"
        try:
            if not _copied(path, copy, ref):
                return None
            build(fresh, lambda db: refresh_branch(db, source, ref, tip), lasting=False)
            with translated(copy), contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as db:
                return next(_problems(db, fresh, source, ref, tip), None)
        except Damaged as error:
            return str(error)
        except Unwritable as error:
            raise RunvaultError(
                f"the catalog cannot be compared: {error}", "is there space left on the disk?"
            ) from error


def _copied(path: Path, copy: Path, ref: str) -> bool:
    """Copy the file as it is at one moment; False where it is of another version, or does not know the branch yet."""
    try:
        with CatalogFile(path).opened(untouched=True) as db, contextlib.closing(sqlite3.connect(copy)) as target:
            db.backup(target)
            known = db.execute("SELECT tip FROM branches WHERE ref = ?", (ref,)).fetchone()
            others = db.execute("SELECT count(*) FROM branches").fetchone()[0]
            if known is None and others:
                return False
            if known is None:
                raise Damaged("it knows no branch")
            return known[0] is not None
    except Damaged as error:
        if str(error).startswith("version "):
            return False
        raise


def _problems(db: sqlite3.Connection, fresh: Path, source: ArchiveSource, ref: str, tip: str) -> Iterator[str]:
    for (said,) in db.execute("PRAGMA integrity_check(1)"):
        if said != "ok":
            yield said.splitlines()[-1]
    db.execute("INSERT INTO notes (notes, rank) VALUES ('integrity-check', 1)")
    if db.execute("SELECT tip FROM branches WHERE ref = ?", (ref,)).fetchone()[0] != tip:
        db.execute("BEGIN")
        refresh_branch(db, source, ref, tip)
        db.execute("COMMIT")
    db.execute("ATTACH ? AS fresh", (str(fresh),))
    asked = {of: db.execute(f"SELECT branch FROM {of}.branches WHERE ref = ?", (ref,)).fetchone()[0] for of in _BOTH}
    sayings = {what: _of_both(saying, asked) for what, saying in _SAYINGS.items()}
    alike = said_alike(db, sayings, *asked.values())
    for what, (mine, theirs) in sayings.items():
        if what in alike:
            continue
        # No row stands twice: where none is one too many and there are as many, they are the same.
        row = _first_of(db, mine, but=theirs)
        if row is None and count(db, mine) != count(db, theirs):
            row = _first_of(db, theirs, but=mine)
        if row is not None:
            yield f"its {what} are not those of the archive" + (f", as for run {row[0]}" if row[0] else "")


def _of_both(saying: str, branches: Mapping[str, int]) -> tuple[str, str]:
    mine, theirs = (saying.format(of, branch) for of, branch in branches.items())
    return mine, theirs


def _first_of(db: sqlite3.Connection, saying: str, *, but: str) -> tuple[object, ...] | None:
    row: tuple[object, ...] | None = db.execute(f"SELECT * FROM ({saying} EXCEPT {but}) LIMIT 1").fetchone()
    return row


_BOTH = ("main", "fresh")
