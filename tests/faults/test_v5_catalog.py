"""V5: whatever happens to the catalog's file, the next question is answered as by a fresh one, with nothing to do."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from catalogs import REF, whole
from forge import forge_archive
from machine import full_counts, git

from runvault.model.query import Selection
from runvault.stores.catalog import Catalog
from runvault.stores.catalog.schema import VERSION
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository

pytestmark = pytest.mark.faults

RUNS = 200
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


class Forged:
    """An archive of a few hundred runs in as many commits, and what a fresh catalog says of it."""

    def __init__(self, path: Path) -> None:
        git(path, "init", "--quiet")
        self.path = path
        self.tip = forge_archive(path, RUNS, runs_per_commit=1)
        self.repository = Repository.find(path, "runvault")
        self.source = Reader(self.repository)
        self.database = path / "fresh" / "catalog.db"
        self.expected = self.answers(Catalog(self.database))

    def answers(self, catalog: Catalog) -> dict[str, Any]:
        catalog.refresh(self.source, REF, self.tip)
        return whole(catalog)


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Forged:
    made = Forged(tmp_path_factory.mktemp("forged"))
    assert len(made.expected["runs"]) == RUNS
    return made


def copied(forged: Forged, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(forged.database, folder / "catalog.db"))


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(9)
        os._exit(0)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@posix
def test_kill_9_during_a_rebuild_or_while_catching_up(forged: Forged, tmp_path: Path) -> None:
    chance = random.Random(5)
    middle = git(forged.path, "rev-parse", f"{forged.tip}~{RUNS // 2}").strip()
    killed = 0
    begun = time.monotonic()
    Catalog(tmp_path / "measured.db").refresh(forged.source, REF, forged.tip)
    whole_s = time.monotonic() - begun
    for point in range(full_counts(8, 100)):
        path = tmp_path / f"{point}" / "catalog.db"
        if point % 3 == 0:  # catching up with half of the history
            Catalog(path).refresh(forged.source, REF, middle)
        pid = in_child(lambda path=path: Catalog(path).refresh(forged.source, REF, forged.tip))
        time.sleep(chance.uniform(0, whole_s))
        os.kill(pid, signal.SIGKILL)
        killed += status_of(pid) == -signal.SIGKILL
        assert forged.answers(Catalog(path)) == forged.expected
        assert not [left for left in path.parent.iterdir() if "new" in left.name or "private" in left.name]
    assert killed >= full_counts(3, 50)


@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_damaged_pages(forged: Forged, tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    page = 8192
    pages = forged.database.stat().st_size // page
    noticed = 0
    for number in range(full_counts(6, 100)):
        path = copied(forged, tmp_path / f"{number}")
        before = path.stat().st_ino
        with path.open("r+b") as file:
            file.seek(chance.randrange(pages) * page)
            file.write(chance.randbytes(page) if kind == "noise" else bytes(page))
        assert forged.answers(Catalog(path)) == forged.expected
        noticed += path.stat().st_ino != before
    assert noticed > 0


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def write_a_text(path: Path) -> None:
    path.write_text("not a database\n" * 1000)


def change(sql: str) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        with sqlite3.connect(path) as db:
            db.execute(sql)
        db.close()

    return work


def leave_a_foreign_log(path: Path) -> None:
    path.with_name("catalog.db-wal").write_bytes(random.Random(1).randbytes(40_000))
    path.unlink()


SPOILT: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "deleted but for its log": leave_a_foreign_log,
    "empty": lambda path: os.truncate(path, 0),
    "cut in half": truncate,
    "a text": write_a_text,
    "a newer version": change(f"PRAGMA user_version = {VERSION + 1}"),
    "an older version": change("PRAGMA user_version = 1"),
    "a table is missing": change("DROP TABLE facts"),
    "a column is missing": change("ALTER TABLE runs DROP COLUMN author"),
    "a document was edited": change("UPDATE documents SET json = replace(json, 'dual_sma', 'dual_smb')"),
    "a document is missing": change("DELETE FROM documents WHERE run = 17"),
    "the notes lost their index": change("DELETE FROM notes_data WHERE id > 10"),
    "a bad encoding": change("UPDATE runs SET id = CAST(x'ff' AS TEXT) WHERE run = 17"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_spoilt_files(forged: Forged, tmp_path: Path, kind: str) -> None:
    path = copied(forged, tmp_path)
    SPOILT[kind](path)
    catalog = Catalog(path)
    assert forged.answers(catalog) == forged.expected
    assert forged.answers(catalog) == forged.expected  # and stays so
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_file_spoilt_while_it_is_in_use(forged: Forged, tmp_path: Path) -> None:
    path = copied(forged, tmp_path)
    catalog = Catalog(path)
    catalog.refresh(forged.source, REF, forged.tip)
    rows = catalog.select(REF, Selection())
    first = [next(rows) for _ in range(3)]
    path.unlink()
    assert catalog.count(REF, Selection()) == RUNS
    assert [*first, *rows] == forged.expected["runs"]
    assert whole(catalog) == forged.expected


def test_stale_by_any_number_of_commits(forged: Forged, tmp_path: Path) -> None:
    behind = [1, 2, 37, RUNS - 1] if full_counts(0, 1) == 0 else list(range(1, RUNS, 3))
    for number in behind:
        path = tmp_path / f"{number}.db"
        catalog = Catalog(path)
        catalog.refresh(forged.source, REF, git(forged.path, "rev-parse", f"{forged.tip}~{number}").strip())
        assert catalog.count(REF, Selection()) == RUNS - number
        assert forged.answers(catalog) == forged.expected


def test_a_branch_that_was_forced_elsewhere(forged: Forged, tmp_path: Path) -> None:
    tree = f"{forged.tip}^{{tree}}"
    orphan = git(forged.path, "commit-tree", "-m", "all at once", tree).strip()
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(forged.source, REF, orphan)
    assert {run["commit"] for run in catalog.select(REF, Selection())} == {orphan}
    assert forged.answers(catalog) == forged.expected


@posix
def test_readers_beside_rebuilds(forged: Forged, tmp_path: Path) -> None:
    path = copied(forged, tmp_path)
    wanted = [run["id"] for run in forged.expected["runs"]]
    deadline = time.monotonic() + full_counts(3, 30)

    def read() -> None:
        questions = 0
        while time.monotonic() < deadline:
            catalog = Catalog(path)
            catalog.refresh(forged.source, REF, forged.tip)
            assert [run["id"] for run in catalog.select(REF, Selection())] == wanted
            assert catalog.count(REF, Selection(where="sharpe_ratio > -100 or sharpe_ratio is None")) == RUNS
            questions += 1
        assert questions > 3

    def rebuild() -> None:
        while time.monotonic() < deadline:
            Catalog(path).rebuild(forged.source, REF, forged.tip)

    children = [in_child(read) for _ in range(3)] + [in_child(rebuild)]
    assert [status_of(pid) for pid in children] == [0, 0, 0, 0]
    assert forged.answers(Catalog(path)) == forged.expected
    assert {left.name for left in tmp_path.iterdir()} <= {"catalog.db", "catalog.db-lock", "catalog.db-build"}


@posix
def test_many_who_find_no_catalog_build_one(forged: Forged, tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    built = tmp_path / "built"

    def work() -> None:
        catalog = Catalog(path)
        fill = catalog._fill

        def told(db: sqlite3.Connection) -> None:
            with built.open("a") as log:
                log.write("x")
            fill(db)

        catalog._fill = told  # type: ignore[method-assign]
        assert forged.answers(catalog) == forged.expected

    assert [status_of(pid) for pid in [in_child(work) for _ in range(4)]] == [0, 0, 0, 0]
    assert built.read_text() == "x"


@posix
def test_two_who_catch_up_at_once(forged: Forged, tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    commits = git(forged.path, "rev-list", "--reverse", "--first-parent", forged.tip).split()[:: RUNS // 12]
    Catalog(path).refresh(forged.source, REF, commits[0])

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for commit in commits[1:]:
            time.sleep(chance.uniform(0, 0.02))
            catalog = Catalog(path)
            catalog.refresh(forged.source, REF, commit)
            assert list(catalog.select(REF, Selection()))

    children = [in_child(lambda seed=seed: work(seed)) for seed in range(3)]
    assert [status_of(pid) for pid in children] == [0, 0, 0]
    assert forged.answers(Catalog(path)) == forged.expected


@posix
@pytest.mark.parametrize("existing", [True, False])
def test_a_folder_that_may_only_be_read(forged: Forged, tmp_path: Path, existing: bool) -> None:
    if os.getuid() == 0:
        # Root may write everywhere: the question is asked by a process that gave its rights away.
        for folder in [forged.path, *forged.path.parents]:
            if folder.stat().st_uid == 0 and folder != Path("/") and not folder.stat().st_mode & 0o005:
                folder.chmod(folder.stat().st_mode | 0o055)
    folder = tmp_path / "closed"
    folder.mkdir()
    path = folder / "catalog.db"
    if existing:
        copied(forged, folder)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o005:
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    folder.chmod(0o555)
    before = sorted(left.name for left in folder.iterdir())

    def work() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        assert not os.access(folder, os.W_OK)
        os.environ["GIT_CONFIG_COUNT"] = "1"
        os.environ["GIT_CONFIG_KEY_0"] = "safe.directory"
        os.environ["GIT_CONFIG_VALUE_0"] = "*"
        catalog = Catalog(path)
        assert forged.answers(catalog) == forged.expected
        assert forged.answers(catalog) == forged.expected

    status = status_of(in_child(work))
    folder.chmod(0o755)
    assert status == 0
    assert sorted(left.name for left in folder.iterdir()) == before


def test_a_place_that_cannot_be_a_folder(forged: Forged, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert forged.answers(Catalog(tmp_path / "file" / "catalog.db")) == forged.expected


def test_a_listing_needs_no_process_but_the_one_that_runs(forged: Forged, tmp_path: Path) -> None:
    """The listing path imports SQLite and orjson, none of the heavy libraries, and starts no git when up to date."""
    path = copied(forged, tmp_path)
    code = (
        "import sys, subprocess, pathlib\n"
        "from runvault.stores.catalog import Catalog\n"
        "from runvault.model.query import Selection\n"
        f"catalog = Catalog(pathlib.Path({str(path)!r}))\n"
        f"catalog.refresh(None, {REF!r}, {forged.tip!r})\n"
        f"rows = list(catalog.select({REF!r}, Selection(where='sharpe_ratio > 0', sort='-sharpe_ratio', limit=5)))\n"
        "heavy = {'pandas', 'numpy', 'pydantic', 'pygit2', 'pyarrow', 'vectorbt', 'dvc', 'rfc8785', 'difflib'}\n"
        "print(len(rows), *sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5"]
