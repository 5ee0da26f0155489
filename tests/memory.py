"""An archive's history in memory: the `ArchiveSource` that needs no Git, for tests of what is projected from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runvault.model.source import FileChange, Introduced


@dataclass(frozen=True)
class MemoryCommit:
    """Parents, the whole tree, and the committer's time."""

    parents: tuple[str, ...]
    tree: Mapping[str, str]
    time: int


class MemoryArchive:
    """Commits and blobs, with counts of what was read."""

    def __init__(self) -> None:
        self.commits: dict[str, MemoryCommit] = {}
        self.blobs: dict[str, bytes] = {}
        self.read: list[str] = []

    def commit(
        self,
        files: Mapping[str, bytes | None],
        parents: tuple[str, ...] = (),
        *,
        time: int = 0,
    ) -> str:
        """Make a commit on top of the first parent's tree; None removes a path or all below it."""
        tree = dict(self.commits[parents[0]].tree) if parents else {}
        for path, data in files.items():
            if data is None:
                for known in [known for known in tree if known == path or known.startswith(f"{path}/")]:
                    del tree[known]
            else:
                tree[path] = self._blob(data)
        name = hashlib.sha1(repr((len(self.commits), parents, sorted(tree.items()))).encode()).hexdigest()  # noqa: S324
        self.commits[name] = MemoryCommit(parents, tree, time)
        return name

    def _blob(self, data: bytes) -> str:
        name = hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()  # noqa: S324 - as git names blobs
        self.blobs[name] = data
        return name

    def changed_files(self, old: str | None, new: str) -> Iterator[FileChange]:
        before = self.commits[old].tree if old is not None else {}
        after = self.commits[new].tree
        for path in sorted({*before, *after}):
            if before.get(path) != after.get(path):
                yield path, after.get(path)

    def introduced(self, old: str | None, new: str) -> Iterator[Introduced]:
        known = self._history(old) if old is not None else set()
        for name in self.commits:  # made after their parents
            if name in self._history(new) - known:
                commit = self.commits[name]
                for path, blob in sorted(commit.tree.items()):
                    if not path.startswith("runs/") or not path.endswith("/manifest.json"):
                        continue
                    if all(self.commits[parent].tree.get(path) != blob for parent in commit.parents):
                        yield Introduced(name, path, blob, commit.time)

    def read_blobs(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for blob in blobs:
            self.read.append(blob)
            if blob in self.blobs:
                yield blob, self.blobs[blob]

    def is_ancestor(self, old: str, new: str) -> bool:
        return old in self._history(new)

    def _history(self, name: str) -> set[str]:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            commit = waiting.pop()
            if commit not in seen and commit in self.commits:
                seen.add(commit)
                waiting.extend(self.commits[commit].parents)
        return seen
