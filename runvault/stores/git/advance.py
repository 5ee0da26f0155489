"""The usual way of an archive from one tip to the next: a few commits in a row, told by their objects alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from runvault.model.records import MANIFEST
from runvault.model.source import FileChange, Introduced

# A longer way, or one that changes more folders of one depth, is told by git a line at a time.
MOST_COMMITS = 200
MOST_FOLDERS = 10_000

Files: TypeAlias = dict[str, tuple[str | None, str | None]]
"""Changed files: path → blobs before and after, None where there is no file."""

Read: TypeAlias = Callable[[Iterable[str]], Mapping[str, tuple[str, bytes]]]
"""Reads objects by id: ``(type, content)`` of each that is there."""

# What git itself writes. Anything else is left to git, which has read stranger objects.
_ID = rb"[0-9a-f]{40}(?:[0-9a-f]{24})?"
_COMMIT = re.compile(
    rb"tree (%b)\n((?:parent %b\n)*)author [^\n]*\ncommitter [^\n]*> ([0-9]{1,10}) [-+][0-9]{4}\n" % (_ID, _ID)
)
_ENTRY = {size: re.compile(rb"([0-7]+) ([^\0/]+)\0(.{%d})" % size, re.DOTALL) for size in (20, 32)}
_FOLDER = b"40000"
_MODES = frozenset({_FOLDER, b"100644", b"100755", b"120000", b"160000"})


@dataclass(frozen=True)
class Step:
    """One commit of the way, and the files it changed."""

    commit: str
    seconds: int
    files: Files


@dataclass(frozen=True)
class Advance:
    """All commits from one tip to a later one, each the only child of the one before."""

    steps: tuple[Step, ...]

    @property
    def size(self) -> int:
        """How many files changed, those of each commit counted."""
        return sum(len(step.files) for step in self.steps)

    def changed_files(self) -> Iterator[FileChange]:
        """Yield what differs in the end, in the order of paths."""
        net: Files = {}
        for step in self.steps:
            for path, (before, after) in step.files.items():
                net[path] = (net[path][0] if path in net else before, after)
        return ((path, net[path][1]) for path in sorted(net) if net[path][0] != net[path][1])

    def introduced(self) -> Iterator[Introduced]:
        """Yield the manifests of runs that came, oldest first."""
        for step in self.steps:
            for path, (_, blob) in step.files.items():
                parts = path.split("/")
                if blob is not None and len(parts) == 4 and (parts[0], parts[3]) == ("runs", MANIFEST):
                    yield Introduced(step.commit, path, blob, step.seconds)


class UnusualError(Exception):
    """The way is long or not one commit after the other, or an object is missing or not as git writes them."""


def read_advance(read: Read, old: str, new: str) -> Advance:
    """Return the way from the commit `old` to the commit `new`.

    Raises
    ------
    UnusualError
        Git has to be asked.
    """
    commits = list(_back(read, old, new))[::-1]
    changes = _changes(read, [(each.tree, after.tree) for each, after in pairwise(commits)])
    return Advance(
        tuple(Step(each.name, each.seconds, files) for each, files in zip(commits[1:], changes, strict=True))
    )


class _Commit(NamedTuple):
    name: str
    tree: str
    parents: list[str]
    seconds: int


def _back(read: Read, old: str, new: str) -> Iterator[_Commit]:
    """Yield `new` and the commits before it as far as `old`."""
    name = new
    for _ in range(MOST_COMMITS + 1):
        commit = _commit(read, name)
        yield commit
        if name == old:
            return
        if len(commit.parents) != 1:
            break
        name = commit.parents[0]
    raise UnusualError


def _commit(read: Read, name: str) -> _Commit:
    match = _COMMIT.match(_content(read([name]), name, "commit"))
    if match is None:
        raise UnusualError
    tree, parents, seconds = match.groups()
    return _Commit(name, tree.decode(), parents.decode().split()[1::2], int(seconds))


class _Pair(NamedTuple):
    """A folder before and after a step, None where there is none."""

    step: int
    path: str
    before: str | None
    after: str | None


def _changes(read: Read, roots: list[tuple[str, str]]) -> list[Files]:
    """Return the files that differ between each two trees; those of one depth are read at once."""
    found: list[Files] = [{} for _ in roots]
    pairs = [_Pair(step, "", before, after) for step, (before, after) in enumerate(roots)]
    while pairs:
        if len(pairs) > MOST_FOLDERS:
            raise UnusualError
        trees = read({name for pair in pairs for name in (pair.before, pair.after) if name is not None})
        deeper: list[_Pair] = []
        for pair in pairs:
            deeper.extend(_compare(pair, trees, found[pair.step]))
        pairs = deeper
    return [dict(sorted(files.items())) for files in found]


def _compare(pair: _Pair, trees: Mapping[str, tuple[str, bytes]], files: Files) -> Iterator[_Pair]:
    """Note the files that differ in a folder, and yield the folders in it that do."""
    old, new = (set() if name is None else _entries(_content(trees, name, "tree"), len(name) // 2) for name in pair[2:])
    before, after = _by_name(old - new), _by_name(new - old)
    for name in before.keys() | after.keys():
        path = pair.path + name.decode("utf-8", "surrogateescape")
        was, now = before.get(name, (b"", None)), after.get(name, (b"", None))
        folders = [blob if mode == _FOLDER else None for mode, blob in (was, now)]
        others = [blob if mode != _FOLDER else None for mode, blob in (was, now)]
        if any(folders):
            yield _Pair(pair.step, f"{path}/", *folders)
        if any(others):
            files[path] = (others[0], others[1])


def _entries(tree: bytes, size: int) -> set[tuple[bytes, bytes, bytes]]:
    """Return the mode, name and id of each entry; nothing lies between them, and no two share a name."""
    found = _ENTRY[size].findall(tree)
    names = {name for _, name, _ in found}
    read_bytes = sum([len(mode) + len(name) + 2 + size for mode, name, _ in found])
    if len(names) != len(found) or read_bytes != len(tree):
        raise UnusualError
    return set(found)


def _by_name(entries: set[tuple[bytes, bytes, bytes]]) -> dict[bytes, tuple[bytes, str]]:
    found = {name: (mode, blob.hex()) for mode, name, blob in entries}
    if not _MODES.issuperset(mode for mode, _ in found.values()):
        raise UnusualError
    return found


def _content(objects: Mapping[str, tuple[str, bytes]], name: str, kind: str) -> bytes:
    found = objects.get(name)
    if found is None or found[0] != kind:
        raise UnusualError
    return found[1]
