"""Objects on their way to the disk: written at once, synced and named together.

Syncing many files one after the other waits for as many journal commits; together they share a few. A folder that gets
many names is synced once, at the end, and an object that is added again and again is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from runvault.stores.disk import start_writing, sync_all, sync_file, sync_folder, sync_open
from runvault.stores.dvc.files import link_or_copy, make_folder, take_name, temporary_beside
from runvault.stores.dvc.unchanged import Stamp, remember, stamp_of

MAX_OPEN = 32  # open files of one batch
OBJECT_MODE = 0o444  # as DVC protects its objects: it hashes any other mode again at every look

_on_disk: dict[Path, Stamp] = {}  # objects that this process has synced, names included


def object_path(root: Path, md5: str) -> Path:
    """Return where DVC keeps an object below ``files/md5``."""
    return root.joinpath(md5[:2], md5[2:])


@dataclass
class _Pending:
    file: BinaryIO
    temporary: Path
    target: Path


@dataclass
class Batch:
    """Objects written to temporary files; `finish` makes them durable under their names, `discard` forgets them.

    Parameters
    ----------
    roots : tuple of Path
        ``files/md5`` folders that shall hold every object: bytes are written below the first, and linked to the others.
    folder_mode : int or None
        Mode of folders made below the first root, for a cache that a group shares.
    note : callable or None
        Told of objects, of each once, before anything looks whether they are there.
    """

    roots: tuple[Path, ...]
    folder_mode: int | None = None
    note: Callable[[Collection[str]], None] | None = None
    _noted: set[str] = field(default_factory=set)
    _added: set[str] = field(default_factory=set)
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _links: list[tuple[Path, Path]] = field(default_factory=list)
    _found: dict[Path, Stamp | None] = field(default_factory=dict)
    _unsynced: dict[tuple[int, int | Path], Path] = field(default_factory=dict)
    _folders: set[Path] = field(default_factory=set)

    def expect(self, md5s: Iterable[str]) -> None:
        """Note objects that are about to be added: together sooner than one by one."""
        new = set(md5s) - self._noted
        if self.note is not None and new:
            self.note(new)
        self._noted |= new

    def add(self, md5: str, write: Callable[[BinaryIO], object], is_good: Callable[[Path], bool]) -> None:
        """Put one object into every root that lacks it or holds it damaged."""
        if md5 in self._added:
            return
        self.expect([md5])
        paths = [object_path(root, md5) for root in self.roots]
        good = [path for path in paths if path.exists() and is_good(path)]
        if good:
            for path in good:
                self._find(path)
        else:
            self._pending[md5] = self._write(paths[0], write)
        source = good[0] if good else paths[0]
        self._links += [(source, path) for path in paths if path not in good and path != source]
        self._added.add(md5)
        if len(self._pending) >= MAX_OPEN:
            self._name()

    def _find(self, path: Path) -> None:
        """Have an object synced that was there: another writer may not have come to it yet, and DVC never does."""
        stamp = stamp_of(path)
        if stamp is not None and _on_disk.get(path) == stamp:
            return
        found = path.stat()
        self._found[path] = stamp
        self._unsynced[found.st_dev, found.st_ino or path] = path  # two names of one file are synced at once
        self._folders.add(path.parent)

    def _write(self, target: Path, write: Callable[[BinaryIO], object]) -> _Pending:
        temporary = temporary_beside(target)
        file = self._create(temporary)
        pending = _Pending(file, temporary, target)
        try:
            write(file)
            file.flush()
            start_writing(file)
            temporary.chmod(OBJECT_MODE)
        except BaseException:
            _drop(pending)
            raise
        return pending

    def _create(self, temporary: Path) -> BinaryIO:
        try:
            return temporary.open("xb")
        except FileNotFoundError:
            self._make_folder(temporary.parent)
            return temporary.open("xb")

    def _make_folder(self, folder: Path) -> None:
        self._folders.update(make_folder(folder, self.folder_mode if folder.is_relative_to(self.roots[0]) else None))

    def finish(self) -> None:
        """Sync, rename and link everything added so far, then sync the folders."""
        try:
            self._name()
            sync_all(sync_folder, self._folders)
            for path, stamp in self._found.items():
                if stamp is not None:
                    remember(_on_disk, path, stamp)
        finally:
            self.discard()

    def _name(self) -> None:
        """Sync, rename and link what is open; the names are durable once their folders are."""
        try:
            sync_all(sync_open, [pending.file for pending in self._pending.values()])
            sync_all(sync_file, self._unsynced.values())
            for md5, pending in list(self._pending.items()):
                pending.file.close()
                take_name(pending.temporary, pending.target)
                self._folders.add(pending.target.parent)
                del self._pending[md5]
            for source, target in self._links:
                self._link(source, target)
        except BaseException:
            self._added.clear()  # some are not there, and may be added again
            raise
        finally:
            self._forget_open()

    def _link(self, source: Path, target: Path) -> None:
        self._make_folder(target.parent)
        self._folders.add(target.parent)
        try:
            link_or_copy(source, target)
        except FileExistsError:  # damaged, or put there by another writer since we looked
            temporary = temporary_beside(target)
            try:
                link_or_copy(source, temporary)
                take_name(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)  # renaming one name of a file onto another leaves both

    def discard(self) -> None:
        """Forget what is not finished, and remove its temporary files."""
        self._forget_open()
        for collection in (self._found, self._folders, self._noted, self._added):
            collection.clear()

    def _forget_open(self) -> None:
        for pending in self._pending.values():
            _drop(pending)
        for collection in (self._pending, self._links, self._unsynced):
            collection.clear()


def _drop(pending: _Pending) -> None:
    pending.file.close()
    with suppress(OSError):
        pending.temporary.unlink(missing_ok=True)
