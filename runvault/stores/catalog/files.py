"""The catalog's file: opening it, replacing it, and what SQLite's errors mean.

An operation holds a shared lock; a file is only ever replaced under the exclusive one. SQLite's own files (``-wal``,
``-shm``) go by name: a file that is replaced while somebody works with it would be read together with the log of the
other. Between operations connections are kept, with the pages that they have read and without a lock: opening one, and
reading the same pages again, takes as long as most questions. Each operation compares the file that is there with the
one that its connection has; SQLite does the same before it tidies up behind a connection that is closed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from runvault.errors import BusyError
from runvault.stores.catalog.schema import PAGE_SIZE, VERSION, create_indexes, create_tables
from runvault.stores.disk import sync_file, sync_folder

BUSY_S = 60.0
REPLACE_S = 2.0
_CACHE_KB = 32_000
_PAUSE_S = 0.01
_PRAGMAS = (
    f"cache_size = -{_CACHE_KB}",
    "cell_size_check = ON",  # damage is noticed page by page
    "secure_delete = OFF",  # some systems overwrite what is deleted: there is nothing secret here
    "synchronous = NORMAL",
    "analysis_limit = 1000",  # statistics from samples: milliseconds for any number of runs
)


class Damaged(Exception):  # noqa: N818 - a state of the file, never shown to anybody
    """The file is missing, from another version or corrupt: it is to be made anew."""


class Unwritable(Exception):  # noqa: N818 - the same
    """There is no place for the file here."""


_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's exceptions into what is to be done about them."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            raise BusyError(f"another process holds the catalog {str(path)!r}", "try again in a moment") from error
        if code in _UNWRITABLE:
            raise Unwritable(str(error)) from error
        raise Damaged(str(error)) from error


class _Kept(NamedTuple):
    """A connection between two operations: of which file, and opened in which process."""

    db: sqlite3.Connection
    inode: int
    process: int


_KEEPS = sys.platform != "win32"  # an open file cannot be replaced there
_of_parents: list[_Kept] = []
"""Connections that were open when this process was forked: here they must not even be closed."""


class CatalogFile:
    """One SQLite file that several processes read, bring up to date, and replace where it is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: int | None = None  # the inode that was opened last
        self._kept: list[_Kept] = []  # idle ones: as many as were ever in use at once
        weakref.finalize(self, _let_go, self._kept, self._beside("lock"))

    @contextlib.contextmanager
    def opened(self, *, untouched: bool = False) -> Iterator[sqlite3.Connection]:
        """Open the file as it is; `untouched` leaves it so, where SQLite else tidies up what a killed process left.

        Raises
        ------
        Damaged, Unwritable
            See there; raised by whatever is done with the connection, too.
        """
        with _locked(self._beside("lock"), exclusive=False), translated(self.path):
            inode = self._seen = self._inode()
            if inode is None:
                raise Damaged("missing")
            db, keep = self._connect("ro") if untouched else self._take(inode) or self._connect("rw")
            try:
                yield db
            except BaseException:  # whatever state it is in
                db.close()
                raise
            if keep:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                self._kept.append(_Kept(db, inode, os.getpid()))
            else:
                db.close()

    def _take(self, inode: int) -> tuple[sqlite3.Connection, bool] | None:
        """Return a kept connection to the file that is there now."""
        with contextlib.suppress(IndexError):  # there is none, or another thread took it
            while True:
                kept = self._kept.pop()
                if kept.process != os.getpid():
                    _of_parents.append(kept)
                elif kept.inode == inode:
                    return kept.db, True
                else:
                    kept.db.close()
        return None

    def _connect(self, mode: str) -> tuple[sqlite3.Connection, bool]:
        """Open a connection; tell whether it can be kept."""
        keep = _KEEPS and mode == "rw"
        db = _connect(f"{_uri(self.path)}?mode={mode}")
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF not in _UNWRITABLE or self._beside("wal").exists():
                raise
            # A folder that we may only read: nobody writes there now, or there would be a log.
            db, keep = _connect(f"{_uri(self.path)}?immutable=1"), False
            version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            db.close()
            raise Damaged(f"version {version}")
        return db, keep

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except OSError:
            return None

    def replace(self, fill: Callable[[sqlite3.Connection], None], *, always: bool = False) -> Path:
        """Make the file anew; return where it is.

        Parameters
        ----------
        fill : callable
            Writes the rows; called in a transaction of an empty catalog.
        always : bool
            Also where another process has put a new file in place since we opened ours.

        Returns
        -------
        Path
            The file. Where readers do not let go of the old one, a file in a folder beside it, which nobody else knows.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unwritable(str(error)) from error
        with _locked(self._beside("build"), exclusive=True, required=True):
            if not always and self._inode() not in (None, self._seen):
                return self.path
            new = self._beside("new")
            for stale in (new, self._beside("new-wal"), self._beside("new-shm"), self._beside("new-journal")):
                stale.unlink(missing_ok=True)
            with translated(new):
                build(new, fill)
            return self._put(new)

    def _put(self, new: Path) -> Path:
        try:
            with _locked(self._beside("lock"), exclusive=True, limit_s=REPLACE_S):
                for name in ("wal", "shm"):
                    self._beside(name).unlink(missing_ok=True)
                new.replace(self.path)
                sync_folder(self.path.parent)
                return self.path
        except (BusyError, PermissionError):  # the latter on Windows, where an open file cannot be replaced
            folder = Path(tempfile.mkdtemp(prefix=f"{self.path.name}-private-", dir=self.path.parent))
            return new.replace(folder / self.path.name)

    def _beside(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}-{name}")


def _let_go(kept: list[_Kept], lock: Path) -> None:
    """Close connections that nobody will ask for any more, while nobody replaces their file."""
    while kept:
        last = kept.pop()
        if last.process != os.getpid():
            _of_parents.append(last)
            continue
        with contextlib.suppress(sqlite3.Error, BusyError), _locked(lock, exclusive=False, limit_s=REPLACE_S):
            last.db.close()


class CatalogImage:
    """A catalog in the memory of one process, for where no file can be written; every connection has its own copy."""

    path = Path(":memory:")

    def __init__(self) -> None:
        self._image = b""

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Open a copy; what was written to it is there for the next one, unless an exception ended it."""
        with self._connected() as db:
            db.deserialize(self._image)
            yield db
            if db.total_changes:
                self._image = db.serialize()

    def replace(self, fill: Callable[[sqlite3.Connection], None], *, always: bool = False) -> Path:  # noqa: ARG002
        """Make it anew, as `CatalogFile.replace` does."""
        with self._connected() as db:
            _populate(db, fill)
            self._image = db.serialize()
        return self.path

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with translated(self.path), contextlib.closing(_connect(":memory:")) as db:
            db.execute("PRAGMA temp_store = MEMORY")
            yield db


def build(path: Path, fill: Callable[[sqlite3.Connection], None], *, lasting: bool = True) -> None:
    """Write a new catalog: without journal and syncs, for it counts only once it is whole, synced and in place.

    One that is not `lasting` is rows alone, never synced, and without what makes questions about a few of them fast.
    """
    with contextlib.closing(_connect(f"{_uri(path)}?mode=rwc")) as db:
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            db.execute(f"PRAGMA {pragma}")
        _populate(db, fill, indexed=lasting)
    if not lasting:
        return
    with contextlib.closing(_connect(f"{_uri(path)}?mode=rw")) as db:
        db.execute("PRAGMA journal_mode = WAL")
    sync_file(path)


def _populate(db: sqlite3.Connection, fill: Callable[[sqlite3.Connection], None], *, indexed: bool = True) -> None:
    db.execute("BEGIN")
    create_tables(db)
    with _uncollected():
        fill(db)
    if indexed:
        create_indexes(db)
        db.execute("ANALYZE")
    db.execute("COMMIT")


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Leave reference cycles alone for a while: rows by the hundred thousand hold none, and looking costs a tenth."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _connect(uri: str) -> sqlite3.Connection:
    # One operation at a time has it; which thread that is in is of no concern.
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
    for pragma in _PRAGMAS:
        db.execute(f"PRAGMA {pragma}")
    return db


def _uri(path: Path) -> str:
    return path.absolute().as_uri()


@contextlib.contextmanager
def _locked(path: Path, *, exclusive: bool, required: bool = False, limit_s: float = BUSY_S) -> Iterator[None]:
    """Hold a lock that the kernel releases when we die.

    In a folder that we may not write there may be no lock file: nor can there be anybody like us who replaces files.
    """
    if sys.platform == "win32":  # an open file cannot be replaced there
        yield
        return
    import fcntl

    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if required:
            raise Unwritable(str(error)) from error
        yield
        return
    try:
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        deadline = time.monotonic() + limit_s
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise BusyError(f"another process holds {str(path)!r}", "try again in a moment") from error
                time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(handle)
