"""A catalog is compared by looking rows up; what differs is named as by subtracting all rows of one from the other."""

# ruff: noqa: S608 - what is pasted into statements are names of tables and columns
from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from forge import forge_run
from memory import MemoryArchive

from runvault.stores.catalog import Catalog, compare
from runvault.stores.catalog.compare import catalog_problem
from runvault.stores.catalog.files import CatalogFile, build
from runvault.stores.catalog.refresh import refresh_branch

REF = "refs/heads/runvault"
RUNS = 130  # the hundredth has a note
TABLES = ("branches", "ids", "filesets", "folders", "definitions", "sections", "runs", "documents", "names", "facts")
TABLES += ("labels", "revisions", "damaged", "notes")


class Grown:
    """A catalog that was brought up to date again and again, so that its numbers are not those of a fresh one."""

    def __init__(self, folder: Path) -> None:
        self.source, self.path = MemoryArchive(), folder / "catalog.db"
        catalog, parents = Catalog(self.path), tuple[str, ...]()
        for part in (range(90, RUNS), range(40), range(40, 90)):
            runs = [forge_run(n) for n in part]
            files = {f"{run.path}/{name}": data for run in runs for name, data in run.files().items()}
            self.tip = self.source.commit(files, parents)
            catalog.refresh(self.source, REF, self.tip)
            parents = (self.tip,)
        self.tip = self.source.commit({"runs/stray": b"?", f"{forge_run(3).path}/manifest.json": b"{}"}, parents)
        catalog.refresh(self.source, REF, self.tip)
        with closing(sqlite3.connect(self.path)) as db:  # the file alone is copied, and an open catalog has a log
            assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0

    def problem(self, path: Path) -> str | None:
        return catalog_problem(path, self.source, REF, self.tip)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return Grown(tmp_path_factory.mktemp("grown"))


@pytest.fixture(scope="module")
def columns(grown: Grown) -> dict[str, list[str]]:
    with closing(sqlite3.connect(grown.path)) as db:
        found = {table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in TABLES}
        assert all(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
    return found


def _asked(monkeypatch: pytest.MonkeyPatch, look: Callable[[], str | None]) -> tuple[str | None, list[str]]:
    """Return what is found, and the statements that subtracted rows."""
    subtracted: list[str] = []
    first_of = compare._first_of

    def watched(db: sqlite3.Connection, saying: str, *, but: str) -> tuple[object, ...] | None:
        subtracted.append(saying)
        return first_of(db, saying, but=but)

    with monkeypatch.context() as patch:
        patch.setattr(compare, "_first_of", watched)
        return look(), subtracted


def test_rows_of_runs_that_are_the_same_are_not_subtracted(grown: Grown, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, subtracted = _asked(monkeypatch, lambda: grown.problem(grown.path))
    assert problem is None
    wide = ("documents", "folders", "labels", "revisions", "notes", "runs r JOIN main.ids i")
    assert [saying for saying in subtracted if any(f"FROM main.{table}" in saying for table in wide)] == []
    assert len(subtracted) == 7  # names, numbers, damaged runs, and what is in sections


@pytest.mark.parametrize("table", TABLES)
def test_a_change_of_any_value_is_named_as_by_subtraction(
    grown: Grown, columns: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str
) -> None:
    fresh, path = tmp_path / "fresh.db", tmp_path / "catalog.db"
    build(fresh, lambda db: refresh_branch(db, grown.source, REF, grown.tip), lasting=False)
    monkeypatch.setattr(compare, "build", lambda made, *_, **__: shutil.copy(fresh, made))
    found: dict[str, str | None] = {}
    lies = [
        f'UPDATE OR IGNORE {table} SET "{column}" = {value} WHERE rowid_of'
        for column in columns[table]
        for value in ("NULL", f'CAST("{column}" || 1 AS BLOB)', f'"{column}" + 1')
    ]
    for lie in [*lies, f"DELETE FROM {table} WHERE rowid_of"]:
        shutil.copy(grown.path, path)
        key = "rowid" if table not in ("facts", "labels", "revisions", "damaged") else columns[table][1]
        where = f"{key} = (SELECT {key} FROM {table} ORDER BY 1 LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table}))"
        with CatalogFile(path).opened() as db:
            try:
                db.execute(lie.replace("rowid_of", where))
            except sqlite3.IntegrityError:
                continue
        found[lie] = grown.problem(path)
        with monkeypatch.context() as patch:
            patch.setattr(compare, "said_alike", lambda *_: set[str]())
            assert grown.problem(path) == found[lie], lie
        for left in tmp_path.glob("catalog.db*"):
            left.unlink()
    assert any(found.values()), found
