"""The usual way of an archive from one tip to the next: a few commits in a row, which one process tells all about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runvault.model.source import FileChange, Introduced

MOST_COMMITS = 200  # a longer way is told by processes of its own, a line at a time

# One field a commit, then two a changed file. Merges show no files here; a way with a merge is none of these.
LOG = ("log", "-z", "-O/dev/null", "--topo-order", "--reverse", "--no-renames", "--no-abbrev", "--raw", "-r")
FORMAT = "--format=%x01%H %ct %P"


@dataclass(frozen=True)
class Step:
    """One commit of the way, and the files it changed: path → blobs before and after, None where there is no file."""

    commit: str
    seconds: int
    files: dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Advance:
    """All commits from one tip to a later one, each the only child of the one before."""

    steps: tuple[Step, ...]

    def changed_files(self) -> Iterator[FileChange]:
        """Yield what differs in the end, in the order of paths."""
        net: dict[str, tuple[str | None, str | None]] = {}
        for step in self.steps:
            for path, (before, after) in step.files.items():
                net[path] = (net[path][0] if path in net else before, after)
        return (FileChange(path, net[path][1]) for path in sorted(net) if net[path][0] != net[path][1])

    def introduced(self) -> Iterator[Introduced]:
        """Yield the manifests of runs that came, oldest first."""
        for step in self.steps:
            for path, (_, blob) in step.files.items():
                parts = path.split("/")
                if blob is not None and len(parts) == 4 and (parts[0], parts[3]) == ("runs", "manifest.json"):
                    yield Introduced(step.commit, path, blob, step.seconds)


def parse_advance(fields: Iterator[str], old: str, new: str) -> Advance | None:
    r"""Return the way from `old` to `new` that ``git log`` printed; None where it is not one commit after the other.

    Examples
    --------
    >>> raw = ["\x01c1 60 c0\n", ":000000 100644 0000 1a2b A", "runs/3f/x/manifest.json"]
    >>> way = parse_advance(iter(raw), "c0", "c1")
    >>> list(way.changed_files())
    [FileChange(path='runs/3f/x/manifest.json', blob='1a2b')]
    >>> parse_advance(iter(raw), "another", "c1") is None
    True
    """
    steps: list[Step] = []
    last = old
    for text in fields:
        head = text.lstrip("\n")
        if head.startswith("\x01"):
            mark, _, head = head[1:].partition("\n")
            commit, seconds, *parents = mark.split(" ")
            if parents != [last] or len(steps) == MOST_COMMITS:
                return None
            steps.append(Step(commit, int(seconds), {}))
            last = commit
        if head.startswith(":"):
            before, after, status = head.split(" ")[2:5]
            steps[-1].files[next(fields)] = (None if status == "A" else before, None if status == "D" else after)
    return Advance(tuple(steps)) if last == new else None
