"""The objects of one save as one pack, held until the branch names them.

A file for each would be some ten files in some ten folders, each to be synced, where a pack is two files in one folder.
Until it is written the objects are held in memory, where libgit2 finds them; so what fails before has written nothing.

A pack that stands under its name with content that is not on disk would be taken for present by every later save, and
be damage after a power cut. So pack and index are synced before they get their names.

``git repack -a -d`` and ``git gc --prune=now`` drop a pack whose objects nothing refers to, unless a ``.keep`` lies
beside it when they list the packs. So one does, from before the pack has its name until after the branch has moved: who
lists it without finds the branch that refers to it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import pygit2
from pygit2.enums import ObjectType

from runvault.stores.disk import start_writing, sync_all, sync_folder, sync_open
from runvault.stores.git.packs import LEVELS, pack_with_index
from runvault.stores.git.summed import HASH_SIZE

# git's own beginning for what has no name yet: `git prune` removes it, and no git program looks inside.
TEMPORARY = "tmp_runvault-"

_NOTE = b"runvault: held until a branch refers to it\n"
_MODE = 0o444  # as git and libgit2 have them, less the umask

# Those of a repository are at 1 and 2; libgit2 writes to the highest.
_PRIORITY = 100


class NewObjects(pygit2.OdbBackend):
    """Objects that libgit2 makes, by id: type and content, in memory until `write`.

    What the repository has already does not come here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, tuple[ObjectType, bytes]] = {}
        self.held: list[Path] = []

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

    def write(self, folder: Path, objects: Mapping[str, tuple[ObjectType, bytes]]) -> None:
        """Bring objects to disk, names included; from now on they are read from there.

        Also those that are there already: another program may have written one and synced nothing, and a ``git repack``
        that is under way may be about to drop what nothing refers to yet.

        Parameters
        ----------
        folder : Path
            ``objects``; the write lock is held.
        objects : mapping
            All that a commit needs and its parents need not have.
        """
        if not self.held:  # else what is there is of this save, whose signed commit comes after the rest
            _remove_left(folder / "pack")
        if objects:
            self.held.append(_install(folder / "pack", objects))
        self.objects.clear()

    def release(self) -> None:
        """Leave the packs to git: the branch refers to their objects, or nothing will."""
        for keep in self.held:
            _let_go(keep)
        self.held.clear()


def _install(folder: Path, objects: Mapping[str, tuple[ObjectType, bytes]]) -> Path:
    """Write objects as a pack that is on disk when this returns; return what holds it."""
    named = _unlike_any(folder, objects)
    stem = f"{TEMPORARY}{secrets.token_hex(8)}-"  # without a suffix: git takes for an index what ends in ".idx"
    temporary = {place.with_name(stem + place.suffix[1:]): content for place, content in named.items()}
    keep = next(iter(named)).with_suffix(".keep")
    folder.mkdir(exist_ok=True)
    try:
        _write_synced(temporary)
        keep.write_bytes(_NOTE)
        for file, place in zip(temporary, named, strict=True):
            _name(file, place)
        sync_folder(folder)
    except BaseException:
        for file in temporary:
            _remove(file)
        _let_go(keep)
        raise
    return keep


def _unlike_any(folder: Path, objects: Mapping[str, tuple[ObjectType, bytes]]) -> dict[Path, bytes]:
    """Return a pack of objects that no pack is called like, and its index, by their places.

    An attempt before this one may have left the same, free by now: a ``git repack`` that has listed it will drop what
    is called so, and finds the objects held in the meantime, so that it takes them nowhere else.
    """
    named: dict[Path, bytes] = {}
    for level in LEVELS:
        pack, index = pack_with_index(objects, level)
        place = folder / f"pack-{pack[-HASH_SIZE:].hex()}.pack"
        named = {place: pack, place.with_suffix(".idx"): index}  # the index last: git reads no pack without one
        if not place.exists():
            break
    return named


def _write_synced(contents: Mapping[Path, bytes]) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(_create(path)) for path in contents]
        for file, content in zip(files, contents.values(), strict=True):
            file.write(content)
            file.flush()
            start_writing(file)
        sync_all(sync_open, files)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")


def _name(temporary: Path, place: Path) -> None:
    try:
        temporary.replace(place)
    except PermissionError:
        # Windows replaces no read-only file: the same pack, where every other way to deflate it is there as well.
        if sys.platform != "win32" or not place.exists():
            raise


def _remove_left(folder: Path) -> None:
    """Remove what writers left that died: files without a name, and what held a pack."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        left = [Path(entry) for entry in entries if entry.name.startswith(TEMPORARY) or entry.name.endswith(".keep")]
        for path in left:
            if path.suffix != ".keep":
                _remove(path)
            elif _is_ours(path):
                _let_go(path)


def _is_ours(keep: Path) -> bool:
    with suppress(OSError):
        return keep.read_bytes() == _NOTE
    return False


def _let_go(keep: Path) -> None:
    """Remove what holds a pack, and a pack that came to no index."""
    if not keep.with_suffix(".idx").exists():
        _remove(keep.with_suffix(".pack"))
    _remove(keep)


def _remove(path: Path) -> None:
    # Another user's may be closed to us, and a prune may be quicker: nothing depends on it.
    with suppress(OSError):
        if sys.platform == "win32":
            path.chmod(0o644)  # no read-only file is removed there
        path.unlink()
