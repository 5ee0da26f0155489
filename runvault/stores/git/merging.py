"""Two commits of an archive side by side: where their trees differ, and what their histories say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import pygit2
from pygit2.enums import FileMode, ObjectType

from runvault.errors import FormatError
from runvault.model.records import MANIFEST
from runvault.stores.git.objects import open_repository, translated
from runvault.stores.git.repository import Repository

# How deep the parts of an archive lie: runs/<hh>/<run> and data/<hh>/<pointer>. What lies elsewhere is compared whole.
_DEPTHS = {"runs": 3, "data": 3, ".dvc": 2}

_MANIFESTS = ":(glob)runs/*/*/manifest.json"
# The runs of a sweep share most of their pointers
_SMALL_BYTES, _SMALL = 4096, 1024

_PLAIN = ("-c", "log.showSignature=false", "-c", "log.follow=false")


class Entry(NamedTuple):
    """A file or folder in a tree."""

    object_id: str
    mode: int

    @property
    def folder(self) -> bool:
        """Whether it is a tree."""
        return self.mode == FileMode.TREE

    @property
    def plain_file(self) -> bool:
        """Whether it is a file as the archive's are: no link, no program, no submodule."""
        return self.mode == FileMode.BLOB


@dataclass(frozen=True)
class Difference:
    """A path that two commits hold differently; None where one of them has nothing there.

    `bases` is what the commits that both stand on have there, one each.
    """

    path: str
    ours: Entry | None
    theirs: Entry | None
    bases: tuple[Entry | None, ...]


@dataclass(frozen=True)
class Change:
    """What one commit did to one run: changed it in some way, or removed it."""

    commit: str
    run: str
    removed: bool


Trees: TypeAlias = "list[pygit2.Tree | None]"


class Sides:
    """Two commits of one archive, and the best common ancestors of both.

    Parameters
    ----------
    repository : Repository
        Where they are.
    ours, theirs : str
        The commits.
    """

    def __init__(self, repository: Repository, ours: str, theirs: str) -> None:
        self._repository = repository
        self._handle = open_repository(repository.common_dir)
        self._objects = self._handle.odb
        self._size = lru_cache(_SMALL)(self._size_of)
        self._read_small = lru_cache(_SMALL)(self._read)
        self.ours = ours
        self.theirs = theirs
        asked = repository.git("merge-base", "--all", "--end-of-options", ours, theirs, ok=(0, 1))
        self.bases = sorted(asked.stdout.decode("ascii").split())

    @property
    def is_shallow(self) -> bool:
        """Whether common ancestors may be missing because the clone has not all of history."""
        return self._repository.is_shallow()

    def differences(self) -> Iterator[Difference]:
        """Yield where the trees differ, run by run and file by file, in no order that means anything."""
        with translated("cannot compare two commits of the archive"):
            roots: Trees = [self._tree(commit) for commit in (self.ours, self.theirs, *self.bases)]
            yield from _differences("", roots)

    def folder(self, entry: Entry | None) -> dict[str, Entry]:
        """Return what a folder holds, by name; nothing where it is a file or None."""
        if entry is None or not entry.folder:
            return {}
        with translated("cannot read a folder of the archive"):
            tree = self._handle[entry.object_id].peel(pygit2.Tree)
            return {str(item.name): Entry(str(item.id), item.filemode) for item in tree}

    def size(self, entry: Entry) -> int:
        """Return the length of a file, without reading it."""
        return self._size(entry.object_id)

    def read(self, entry: Entry) -> bytes:
        """Return the content of a file."""
        return (self._read_small if self.size(entry) <= _SMALL_BYTES else self._read)(entry.object_id)

    def _size_of(self, name: str) -> int:
        with translated("cannot read a file of the archive"):
            return int(self._objects.read_header(name)[1])

    def _read(self, name: str) -> bytes:
        with translated("cannot read a file of the archive"):
            kind, content = self._objects.read(name)
        if kind != ObjectType.BLOB:
            raise FormatError(f"{name} is no file")
        return bytes(content)

    def entry_at(self, commit: str, path: str) -> Entry | None:
        """Return what a commit has at `path`."""
        with translated(f"cannot read {path!r} at {commit}"):
            try:
                found = self._tree(commit)[path]
            except KeyError:
                return None
            return Entry(str(found.id), found.filemode)

    def _tree(self, commit: str) -> pygit2.Tree:
        return self._handle[commit].peel(pygit2.Tree)

    def removals(self, of: str, unlike: str) -> list[Change]:
        """Return which runs were removed by commits of one side that the other does not have, newest first."""
        return self._changes(of, unlike, [_MANIFESTS], "--diff-filter=D")

    def changes(self, of: str, unlike: str, runs: Iterable[str]) -> list[Change]:
        """Return what commits of one side that the other does not have did to these runs' folders, newest first."""
        paths = [f":(literal){run}" for run in runs]
        return self._changes(of, unlike, paths) if paths else []

    def _changes(self, of: str, unlike: str, paths: Sequence[str], *args: str) -> list[Change]:
        # Merges are left out: what they did follows from the commits that they joined.
        how = ["--topo-order", "--full-history", "--no-merges", "--no-renames", "--root", "--name-status", "-z", *args]
        asked = "".join(f"{line}\n" for line in (of, f"^{unlike}", "--", *paths)).encode("utf-8", "surrogateescape")
        done = self._repository.git(*_PLAIN, "log", *how, "--format=%x01%H", "--stdin", stdin=asked)
        return list(dict.fromkeys(_read_changes(done.stdout.decode("utf-8", "surrogateescape"))))

    def parents(self, commit: str) -> list[str]:
        """Return the parents of a commit."""
        with translated(f"cannot read {commit}"):
            return [str(parent) for parent in self._handle[commit].peel(pygit2.Commit).parent_ids]

    def is_behind(self, old: str, new: str) -> bool:
        """Return whether `old` is `new` or reachable from it."""
        with translated(f"cannot compare {old} and {new}"):
            return old == new or self._handle.descendant_of(new, old)


def _differences(path: str, trees: Trees) -> Iterator[Difference]:
    names = {str(item.name) for tree in trees[:2] if tree is not None for item in tree}
    for name in sorted(names):
        below = f"{path}{name}"
        entries = [_entry(tree, name) for tree in trees]
        ours, theirs = entries[:2]
        if ours == theirs:
            continue
        depth = _DEPTHS.get(below.split("/", 1)[0], 1)
        if below.count("/") + 1 < depth and all(entry is None or entry.folder for entry in (ours, theirs)):
            yield from _differences(f"{below}/", [_below(tree, name) for tree in trees])
        else:
            yield Difference(below, ours, theirs, tuple(entries[2:]))


def _entry(tree: pygit2.Tree | None, name: str) -> Entry | None:
    if tree is None or name not in tree:
        return None
    item = tree[name]
    return Entry(str(item.id), item.filemode)


def _below(tree: pygit2.Tree | None, name: str) -> pygit2.Tree | None:
    found = tree[name] if tree is not None and name in tree else None
    return found if isinstance(found, pygit2.Tree) else None


def _read_changes(text: str) -> Iterator[Change]:
    """Read ``git log --name-status -z``; a run is removed by the commit that removes its manifest."""
    commit = ""
    fields = iter(text.split("\0"))
    for field in fields:
        head = field.lstrip("\n")
        if head.startswith("\x01"):
            commit, _, head = head[1:].partition("\n")
            head = head.lstrip("\n")
        if head:
            run, _, file = next(fields).rpartition("/")
            if head != "D" or file == MANIFEST:
                yield Change(commit, run, removed=head == "D")
