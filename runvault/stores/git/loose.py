"""The objects of one save as files of their own, written together: on disk before the first of them has its name.

libgit2 writes an object, syncs it, names it and syncs its folder, then begins with the next: each of some twenty syncs
waits for a journal commit of the file system. Objects that wait for each other share a few. Until all are made they are
held in memory, where libgit2 finds them; so what fails before has written nothing.

An object that stands under its name with content that is not on disk would be taken for present by every later save,
and be damage after a power cut. So files are written and synced in a folder of their own, and only then named.
"""

from __future__ import annotations

import os
import secrets
import sys
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pygit2
from pygit2.enums import ObjectType

from runvault.stores.disk import start_writing, sync_all, sync_file, sync_folder, sync_open

# git's own name for such a folder: `git prune` removes what begins with "tmp_", and no git program looks inside.
QUARANTINE = "tmp_objdir-runvault-"

_MAX_OPEN = 64
_MODE = 0o444  # as git and libgit2 have them, less the umask

# Those of a repository are at 1 and 2; libgit2 writes to the highest.
_PRIORITY = 100


class NewObjects(pygit2.OdbBackend):
    """Objects that libgit2 makes, by id: type and content, and not written before `write_loose`.

    What the repository has already does not come here: libgit2 renews the time of its file, so that no prune takes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, tuple[ObjectType, bytes]] = {}
        self.on_disk: set[str] = set()

    @classmethod
    def of(cls, handle: pygit2.Repository) -> NewObjects:
        """Return what keeps the new objects of `handle` from now on."""
        new = cls()
        handle.odb.add_backend(new, _PRIORITY)
        return new

    def write_cb(self, oid: pygit2.Oid, content: bytes, kind: int) -> None:
        """Keep an object."""
        self.objects[str(oid)] = ObjectType(kind), content

    def exists_cb(self, oid: pygit2.Oid) -> bool:
        """Tell whether an object is kept; libgit2 looks further where it is not."""
        return str(oid) in self.objects

    def read_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        """Return an object; a KeyError is what libgit2 understands, and looks further."""
        return self.objects[str(oid)]

    def read_header_cb(self, oid: pygit2.Oid) -> tuple[int, int]:
        """Return type and size of an object."""
        kind, content = self.objects[str(oid)]
        return kind, len(content)

    def read_prefix_cb(self, name: str) -> tuple[int, bytes, pygit2.Oid]:
        """Return an object by its whole id, which pygit2 asks for as a prefix of full length."""
        return (*self.objects[str(name)], pygit2.Oid(hex=str(name)))

    def exists_prefix_cb(self, name: str) -> pygit2.Oid:
        """Return the whole id of an object by its whole id."""
        if str(name) not in self.objects:
            raise KeyError(name)
        return pygit2.Oid(hex=str(name))

    def refresh_cb(self) -> None:
        """Have nothing to look at anew."""


def write_loose(folder: Path, new: NewObjects, needed: Collection[str]) -> None:
    """Bring objects to disk, names included.

    Parameters
    ----------
    folder : Path
        ``objects``; the write lock is held.
    new : NewObjects
        Emptied: from now on they are read from disk.
    needed : collection of str
        Ids of what has to be on disk besides. What was there before is synced as well: another program may have written
        it, and synced nothing.
    """
    known = set(needed) - new.objects.keys() - new.on_disk
    places = [folder / name[:2] / name[2:] for name in known]
    found = [place for place in places if place.exists()]  # the others are packed: git syncs packs
    folders = {place.parent for place in found} | {folder}  # it has the names of the others
    with _quarantine(folder) as quarantine:
        _write_synced(quarantine, new.objects)
        sync_all(sync_file, found)
        for name in new.objects:
            place = folder / name[:2] / name[2:]
            _name(quarantine / name, place)
            folders.add(place.parent)
    sync_all(sync_folder, folders)
    new.on_disk |= known | new.objects.keys()
    new.objects.clear()


@contextmanager
def _quarantine(folder: Path) -> Iterator[Path]:
    """Make a folder for objects that have no name yet, and remove those of writers that died."""
    with os.scandir(folder) as entries:
        left = [Path(entry) for entry in entries if entry.name.startswith(QUARANTINE)]
    for each in left:
        _remove(each)
    quarantine = folder / f"{QUARANTINE}{secrets.token_hex(8)}"
    quarantine.mkdir()
    try:
        yield quarantine
    finally:
        _remove(quarantine)


def _remove(quarantine: Path) -> None:
    # Another user's may be closed to us, and a prune may be quicker: nothing depends on it.
    with suppress(OSError):
        for path in quarantine.iterdir():
            if sys.platform == "win32":
                path.chmod(0o644)  # no read-only file is removed there
            path.unlink()
        quarantine.rmdir()


def _write_synced(folder: Path, objects: Mapping[str, tuple[ObjectType, bytes]]) -> None:
    rest = iter(objects.items())
    while some := list(islice(rest, _MAX_OPEN)):
        with ExitStack() as stack:
            files = []
            for name, (kind, content) in some:
                files.append(stack.enter_context(_create(folder / name)))
                _write(files[-1], kind, content)
            sync_all(sync_open, files)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")


def _write(file: BinaryIO, kind: ObjectType, content: bytes) -> None:
    head = f"{kind.name.lower()} {len(content)}\0".encode("ascii")
    file.write(zlib.compress(head + content, 1))  # libgit2's level
    file.flush()
    start_writing(file)


def _name(temporary: Path, place: Path) -> None:
    try:
        temporary.replace(place)
    except FileNotFoundError:  # the first object there, or gc removed a folder that had become empty
        place.parent.mkdir(exist_ok=True)
        temporary.replace(place)
    except PermissionError:
        # Windows replaces no read-only file: the same object, which another program has written meanwhile.
        if sys.platform != "win32" or not place.exists():
            raise
