"""What a caller asks to be archived, beside the result itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = Any


@dataclass(frozen=True)
class Provenance:
    """Who saves, when, and in which code and environment: gathered by the floors above, which may ask the machine.

    `now` is an aware time in UTC. `code` and `environment` are the manifest's members of those names; `code` is empty
    where no result is saved.
    """

    now: datetime
    author_name: str
    author_email: str
    environment: Mapping[str, Json]
    code: Mapping[str, Json] = field(default_factory=dict)

    @property
    def author(self) -> str:
        """Return the author as git writes it."""
        return f"{self.author_name} <{self.author_email}>"


@dataclass(frozen=True, kw_only=True)
class SaveRequest:
    """The caller's words about a run.

    Parameters
    ----------
    strategy : str
        Name of the strategy, at most 4 KB, no control characters.
    params, settings : mapping
        What was asked for, exactly as given; values that have a canonical form (docs/format.md).
    data : mapping of name to path
        Input files and folders by name; empty where the result's own prices are to be fingerprinted.
    seed : int
        0 to 2^63-1; 0 where nothing is random.
    pickles : str
        ``auto``, ``all`` or ``none``: which engine dumps are archived.
    allow : collection of str
        Names that look like credentials and may be archived all the same.
    recipe : mapping or None
        The manifest's member of that name: how to run it again; None where that is not known.
    windows : mapping of name to mapping
        What inputs were cut to before they were used: ``start``, ``end``, ``interval``, as far as asked for.
    lineage : mapping
        The manifest's member of that name.
    kind : str
        What the commit is for: ``save``, or ``replay`` where an archived run was run again.
    """

    strategy: str
    params: Mapping[str, Json] = field(default_factory=dict)
    settings: Mapping[str, Json] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    tags: Collection[str] = ()
    note: str = ""
    pickles: str = "auto"
    allow: Collection[str] = ()
    duration_s: float | None = None
    recipe: Mapping[str, Json] | None = None
    windows: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    lineage: Mapping[str, Json] = field(default_factory=dict)
    kind: str = "save"


@dataclass(frozen=True)
class SaveOutcome:
    """What became of one save.

    `commit` is the archive commit that holds the run now. `created` is true where a run or a revision was written.
    `drift` describes a new revision (docs/format.md, Saving and revisions), else None.
    """

    id: str
    commit: str
    created: bool
    drift: Mapping[str, Json] | None = None
