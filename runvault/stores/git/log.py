"""Commits of the archive as values: a subject that a person reads, trailers that a program does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runvault.model.times import LAST_SECOND

# One commit is seven fields, NUL after each.
FORMAT = "%H%x00%P%x00%an%x00%ae%x00%ct%x00%s%x00%(trailers:only,unfold)"


@dataclass(frozen=True)
class LogEntry:
    """One commit of the archive.

    Parameters
    ----------
    commit : str
        Its id.
    parents : tuple of str
        The ids it stands on.
    author, email : str
        Who made it.
    time : datetime
        When, in UTC.
    subject : str
        The first paragraph of the message.
    trailers : tuple of (name, value)
        As written, in order.
    """

    commit: str
    parents: tuple[str, ...]
    author: str
    email: str
    time: datetime
    subject: str
    trailers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return the values of a trailer."""
        return [value for key, value in self.trailers if key == name]

    @property
    def kind(self) -> str | None:
        """What the commit did: save, sweep, annotate, …; None for the first commit and those made by hand."""
        return next(iter(self.values("Kind")), None)

    @property
    def runs(self) -> list[str]:
        """The ids of the runs it is about."""
        return self.values("Run")

    def to_dict(self) -> dict[str, Any]:
        """Return the commit as docs/cli.md shows it."""
        return {
            "commit": self.commit,
            "kind": self.kind,
            "subject": self.subject,
            "author": self.author,
            "time": f"{self.time:%Y-%m-%dT%H:%M:%SZ}",
            "runs": self.runs,
        }


def parse_log(fields: Iterator[str]) -> Iterator[LogEntry]:
    r"""Yield the commits that ``git log -z`` printed with `FORMAT`.

    Examples
    --------
    >>> [entry] = parse_log(iter(["9f", "", "Ada", "ada@example.org", "60", "save: x", "Run: x\nKind: save\n"]))
    >>> entry.kind, entry.runs, entry.to_dict()["time"]
    ('save', ['x'], '1970-01-01T00:01:00Z')
    """
    for commit, parents, author, email, seconds, subject, trailers in zip(*[fields] * 7, strict=True):
        pairs = [line.partition(": ")[::2] for line in trailers.splitlines() if ": " in line]
        time = datetime.fromtimestamp(min(int(seconds or 0), LAST_SECOND), UTC)
        yield LogEntry(commit, tuple(parents.split()), author, email, time, subject, tuple(pairs))
