"""Connections to the catalog outlive a question, and neither a replaced file, nor a fork, nor the catalog itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from catalogs import REF, whole
from forge import forge_run
from memory import MemoryArchive

from runvault.errors import ConfigError
from runvault.model.query import Selection
from runvault.stores.catalog import files
from runvault.stores.catalog.catalog import Catalog
from runvault.stores.catalog.compare import catalog_problem

posix = pytest.mark.skipif(sys.platform == "win32", reason="no connection is kept there")
pytestmark = posix


class Counted(sqlite3.Connection):
    """A connection that tells when it is opened and closed."""

    opened = closed = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        Counted.opened += 1
        super().__init__(*args, **options)

    def close(self) -> None:
        Counted.closed += 1
        super().close()


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Counted, **options))
    Counted.opened = Counted.closed = 0
    return Counted


@pytest.fixture
def source() -> MemoryArchive:
    return MemoryArchive()


@pytest.fixture
def tip(source: MemoryArchive) -> str:
    return source.commit(tree_of(1, 2, 3))


@pytest.fixture
def path(tmp_path: Path, source: MemoryArchive, tip: str) -> Path:
    """Return where a catalog lies that nobody has open."""
    path = tmp_path / "catalog.db"
    Catalog(path).refresh(source, REF, tip)
    Counted.opened = Counted.closed = 0
    return path


def tree_of(*numbers: int) -> dict[str, bytes | None]:
    runs = map(forge_run, numbers)
    return {f"{run.path}/{name}": data for run in runs for name, data in run.files().items()}


def test_questions_share_one_connection(path: Path, source: MemoryArchive, tip: str) -> None:
    catalog = Catalog(path)
    for _ in range(3):
        catalog.refresh(source, REF, tip)
        assert len(list(catalog.select(REF, Selection()))) == 3
        assert catalog.count(REF, Selection()) == 3
    assert (Counted.opened, Counted.closed) == (1, 0)
    del catalog
    assert (Counted.opened, Counted.closed) == (1, 1)


def test_a_question_within_a_listing_has_a_connection_of_its_own(path: Path) -> None:
    catalog = Catalog(path)
    for _ in range(2):
        seen = [catalog.run(REF, run["id"]) for run in catalog.select(REF, Selection())]
        assert len(seen) == 3
    assert (Counted.opened, Counted.closed) == (2, 0)


def test_a_listing_that_is_left_holds_nothing(path: Path, source: MemoryArchive, tip: str) -> None:
    catalog = Catalog(path)
    listing = catalog.select(REF, Selection())
    next(listing)
    listing.close()
    assert Counted.opened == Counted.closed
    source.commit(tree_of(4), (tip,))
    assert catalog.count(REF, Selection()) == 3


def test_a_question_that_fails_leaves_no_connection(path: Path) -> None:
    catalog = Catalog(path)
    with pytest.raises(ConfigError):
        list(catalog.select(REF, Selection(where="no_such_name > 1")))
    assert Counted.opened == Counted.closed == 1
    assert catalog.count(REF, Selection()) == 3


def test_what_another_catalog_writes_is_seen(path: Path, source: MemoryArchive, tip: str) -> None:
    catalog, other = Catalog(path), Catalog(path)
    assert catalog.count(REF, Selection()) == 3
    other.refresh(source, REF, source.commit(tree_of(4), (tip,)))
    assert catalog.count(REF, Selection()) == 4
    assert Counted.opened == 2


def test_a_kept_connection_learns_what_the_planner_knows(path: Path, source: MemoryArchive, tip: str) -> None:
    """Statistics from when there were three runs make a listing of 2,000 go through all of them."""
    catalog = Catalog(path)
    catalog.refresh(source, REF, tip)
    Catalog(path).refresh(source, REF, source.commit(tree_of(*range(4, 2000)), (tip,)))
    assert steps_of(catalog) <= 1.1 * steps_of(Catalog(path))


def steps_of(catalog: Catalog) -> int:
    """Return how many steps SQLite makes for a listing, in hundreds."""
    taken: list[None] = []
    with catalog._file.opened() as db:
        db.set_progress_handler(lambda: taken.append(None), 100)
    assert len(list(catalog.select(REF, Selection(limit=20)))) == 20
    return len(taken)


def test_a_file_that_was_replaced_is_read_and_its_log_is_left_alone(
    path: Path, source: MemoryArchive, tip: str
) -> None:
    """Closing the connection to the old file must not tidy up what by now is the log of the new one."""
    old, other = Catalog(path), Catalog(path)
    newer = source.commit(tree_of(4), (tip,))
    old.refresh(source, REF, newer)  # so that there is a log to tidy up
    other.rebuild(source, REF, newer)
    last = source.commit(tree_of(5), (newer,))
    other.refresh(source, REF, last)
    log = path.with_name("catalog.db-wal")
    written = log.stat()
    assert written.st_size > 0
    assert old.count(REF, Selection()) == 5
    assert Counted.closed > 0
    assert (log.stat().st_ino, log.stat().st_size) == (written.st_ino, written.st_size)
    expected = whole(other)
    del old
    assert log.stat().st_ino == written.st_ino
    del other
    assert not log.exists()
    assert whole(Catalog(path)) == expected


def test_a_file_that_was_removed_is_made_anew(path: Path, source: MemoryArchive, tip: str) -> None:
    catalog = Catalog(path)
    catalog.refresh(source, REF, tip)
    for left in path.parent.iterdir():
        left.unlink()
    assert catalog.count(REF, Selection()) == 3
    assert path.exists()


def test_a_comparison_leaves_what_a_killed_process_left(path: Path, source: MemoryArchive, tip: str) -> None:
    catalog = Catalog(path)
    newer = source.commit(tree_of(4), (tip,))
    catalog.refresh(source, REF, newer)
    left = path.parent / "left"
    left.mkdir()
    for name in ("catalog.db", "catalog.db-wal"):
        shutil.copy(path.with_name(name), left)
    before = {each.name: each.read_bytes() for each in left.iterdir()}
    assert before["catalog.db-wal"]
    assert catalog_problem(left / "catalog.db", source, REF, newer) is None
    assert {name: (left / name).read_bytes() for name in before} == before


def test_a_forked_process_opens_its_own(path: Path, source: MemoryArchive, tip: str) -> None:
    catalog = Catalog(path)
    catalog.refresh(source, REF, tip)
    newer = source.commit(tree_of(4), (tip,))
    opened = Counted.opened
    child = os.fork()
    if not child:
        try:
            catalog.refresh(source, REF, newer)
            right = catalog.count(REF, Selection()) == 4 and Counted.opened == opened + 1
            right = right and len(files._of_parents) == 1 and Counted.closed == 0
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert catalog.count(REF, Selection()) == 4
    assert (Counted.opened, Counted.closed) == (opened, 0)
