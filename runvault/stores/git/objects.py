"""Objects through libgit2: reading at a tip, and building the trees on the path of an edit, nothing besides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType, Option, RepositoryOpenFlag

from runvault.errors import RunvaultError
from runvault.model.records import MAX_FILE_BYTES
from runvault.stores.git.edits import Content, Known
from runvault.stores.git.failures import failure
from runvault.stores.git.summed import refuse_damaged_indexes

# Neither objects nor refs reach the disk by default. What is read is compared with its name.
pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
pygit2.option(Option.ENABLE_STRICT_HASH_VERIFICATION, True)
# Trees of more than 4 KB are read anew at every look otherwise; those of 100,000 runs have 37 KB.
pygit2.option(Option.SET_CACHE_OBJECT_LIMIT, ObjectType.TREE, 128 << 10)

# pygit2 raises by libgit2's error code: GitError, others for some of them, MemoryError for a size that no object has.
LIBRARY_ERRORS = (pygit2.GitError, OSError, ValueError, KeyError, MemoryError)

# Empty parts, dots, git's own folder in any case, control characters and what the git programs would take for quotes.
_NO_PATH = re.compile(r"^$|(^|/)(\.{0,2}|\.git|git~1)(/|$)|[\x00-\x1f\x7f\\\ud800-\udfff]|^\"", re.IGNORECASE)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn libgit2's exceptions into ours; the message begins with what was being done."""
    try:
        yield
    except RunvaultError:
        raise
    except LIBRARY_ERRORS as error:
        said = getattr(error, "strerror", None) or (str(error.args[0]) if error.args else type(error).__name__)
        said = said.strip().splitlines()[0]
        raise failure(doing, said) from error


def open_repository(common_dir: Path) -> pygit2.Repository:
    """Open a repository afresh: nothing that another handle has cached is believed.

    Raises
    ------
    IntegrityError
        An index of packs is damaged; libgit2 would believe it.
    """
    with translated(f"libgit2 cannot open the repository at {str(common_dir)!r}"):
        refuse_damaged_indexes(common_dir)
        return pygit2.Repository(str(common_dir), RepositoryOpenFlag.NO_SEARCH)


def object_reader(
    common_dir: Path, limit: int | None = None
) -> Callable[[Iterable[str]], dict[str, tuple[str, bytes]]]:
    """Return what reads objects by id: ``(type, content)`` of each that is there and sound.

    Of a file of more than `limit` bytes come zeros, one more than that.
    """
    handle = open_repository(common_dir)

    def read(names: Iterable[str]) -> dict[str, tuple[str, bytes]]:
        found = {}
        for name in names:
            with suppress(*LIBRARY_ERRORS):
                stored, size = handle.odb.read_header(name)
                if limit is not None and stored == ObjectType.BLOB and size > limit:
                    found[name] = ("blob", bytes(limit + 1))
                    continue
                kind, content = handle.read(name)
                found[name] = (ObjectType(kind).name.lower(), content)
        return found

    return read


class Tip:
    """The archive at one commit, as a plan sees it.

    Of a file of more than `MAX_FILE_BYTES` it gives zeros, one more than that: no record, and never held in memory.

    Parameters
    ----------
    handle : pygit2.Repository
        Where to read.
    commit : str or None
        The commit; None stands for an archive that does not exist yet.
    """

    def __init__(self, handle: pygit2.Repository, commit: str | None) -> None:
        self._handle = handle
        self.commit = commit
        with translated(f"cannot read the archive at {commit}"):
            found = handle[commit].peel(pygit2.Commit) if commit else None
            self.tree: pygit2.Tree | None = found.tree if found else None
            self.time: int = found.commit_time if found else 0

    def _entry(self, path: str) -> pygit2.Object | None:
        if self.tree is None:
            return None
        with translated(f"cannot read {path!r} at {self.commit}"):
            try:
                entry: pygit2.Object = self.tree[path]
            except KeyError:
                return None
            return entry

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder at `path`."""
        return self._entry(path) is not None

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at `path`, None where there is none."""
        entry = self._entry(path)
        with translated(f"cannot read {path!r} at {self.commit}"):
            return self._content(entry) if isinstance(entry, pygit2.Blob) else None

    def files(self, folder: str) -> dict[str, bytes]:
        """Return the contents of the files in `folder` by name; folders in it are left out."""
        entry = self._entry(folder)
        with translated(f"cannot read {folder!r} at {self.commit}"):
            if not isinstance(entry, pygit2.Tree):
                return {}
            return {item.name: self._content(item) for item in entry if isinstance(item, pygit2.Blob) and item.name}

    def _content(self, blob: pygit2.Blob) -> bytes:
        _, size = self._handle.odb.read_header(blob.id)
        return blob.data if size <= MAX_FILE_BYTES else bytes(MAX_FILE_BYTES + 1)


class Folder(dict[str, "Folder | Content"]):
    """The wanted changes in one folder: contents, objects that are there, removals (None) and folders.

    `replaces` is set where the folder stands in for what was removed before it in the same edit.
    """

    replaces = False

    def place(self, path: str, content: Content) -> None:
        """Add a change at `path`."""
        check_path(path)
        *folders, name = path.split("/")
        node = self
        for folder in folders:
            below = node.setdefault(folder, Folder())
            if not isinstance(below, Folder):
                node[folder] = below = Folder()
                below.replaces = True
            node = below
        node[name] = content


def check_path(path: str) -> None:
    """Raise for a path that is no path in a tree, or that git programs would read as something else."""
    if _NO_PATH.search(path):
        raise RunvaultError(f"cannot write {path!r}: it is no path in an archive")


@dataclass
class Built:
    """What building an edit made: the root tree, and every object that it needs and the tip's need not have.

    `contents` holds the objects, so that they can be written again with nothing to read; of a sweep's none are kept.
    `blobs` are the files by path, and the folders that were taken whole.
    """

    tree: pygit2.Oid | None = None
    contents: dict[str, tuple[ObjectType, bytes]] = field(default_factory=dict)
    blobs: dict[str, pygit2.Oid] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


def build(handle: pygit2.Repository, base: pygit2.Tree | None, files: Iterable[tuple[str, Content]]) -> Built:
    """Write the blobs of an edit and the trees on their paths."""
    built, root = Built(), Folder()
    for path, content in files:
        root.place(path, content)
    with translated("cannot write to the repository"):
        built.tree = _build_folder(handle, base, root, "", built) or handle.odb.write(ObjectType.TREE, b"")
    return built


def _build_folder(
    handle: pygit2.Repository, base: pygit2.Tree | None, wanted: Folder, prefix: str, built: Built
) -> pygit2.Oid | None:
    """Write one folder and what is below it; None where nothing is left in it."""
    builder = handle.TreeBuilder(base) if base is not None else handle.TreeBuilder()
    for name, content in wanted.items():
        path = prefix + name
        old = base[name] if base is not None and name in base else None
        if isinstance(content, bytes):
            builder.insert(name, _write_blob(handle, content, path, built), FileMode.BLOB)
            continue
        if isinstance(content, Known):
            built.blobs[path] = pygit2.Oid(hex=content.object_id)
            builder.insert(name, built.blobs[path], FileMode.TREE if content.folder else FileMode.BLOB)
            continue
        below = None
        if content is None:
            built.removed.append(path)
        else:
            kept = old if isinstance(old, pygit2.Tree) and not content.replaces else None
            below = _build_folder(handle, kept, content, path + "/", built)
        if below is not None:
            builder.insert(name, below, FileMode.TREE)
        elif old is not None:
            builder.remove(name)
    if not len(builder):
        return None
    tree = builder.write()
    built.contents[str(tree)] = (ObjectType.TREE, handle.odb.read(tree)[1])
    return tree


def _write_blob(handle: pygit2.Repository, content: bytes, path: str, built: Built) -> pygit2.Oid:
    blob = pygit2.hash(content)
    handle.odb.write(ObjectType.BLOB, content)  # of a known one the time is renewed, so that no prune takes it
    built.contents[str(blob)] = (ObjectType.BLOB, content)
    built.blobs[path] = blob
    return blob
