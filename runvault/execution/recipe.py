"""How a run is run again: the manifest's `recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Self, TypeAlias

from runvault.errors import ReplayError
from runvault.execution.series import WHOLE, Declared, Span
from runvault.model.ids import RunId

Json: TypeAlias = Any

FILE, FRAME, SERIES = "file", "frame", "series"
FUNCTION = "function"
COMMAND = "command"

RECORD = "record one: 'runvault run FILE.py:function', or @runvault.record above a function that has its name in a file"


@dataclass(frozen=True)
class Input:
    """One input: where the recipe expects it, from the root of the repository, and what it held.

    `path` is empty for what was passed in memory; `name` is the object's file name below ``data/``; `kind` is ``file``,
    or ``frame`` or ``series`` for what was passed in memory.
    """

    path: str
    md5: str
    name: str
    kind: str = FILE


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe; parameters, settings and seed stand in the config.

    Attributes
    ----------
    kind : str
        ``function`` or ``command``.
    entry : str
        ``FILE.py:function`` or ``module:function``; empty for a command.
    inputs : mapping of str to Input
        By the name of the argument.
    seed_name : str or None
        The argument that takes the seed, if there is one.
    files : mapping of str to str
        The repository's files that the entry imported, with the blob ids they had.
    paths : sequence of str
        The folders of the repository, from its root, that modules were looked for in beside the root itself.
    command, result : sequence of str, str
        The program with its arguments as given, and the path at which it leaves its result, from the root of the
        repository.
    folder : str
        The folder that the program starts in, from the root of the repository.
    span : Span
        The window of time that the inputs were cut to.
    series : mapping of str to str, or None
        The inputs that were declared to be time series, each with its column of times, empty where that shows by
        itself. None where nobody declared any: then those are cut that show to be.
    stage : mapping or None
        The DVC stage that the run was part of: ``name`` and ``file``.
    vectorized : mapping of str to str
        The arguments that the entry takes as arrays, one element a combination, with NumPy's name of their type.
    """

    kind: str
    entry: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    seed_name: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    result: str = ""
    folder: str = ""
    span: Span = WHOLE
    series: Declared | None = None
    stage: Mapping[str, str] | None = None
    vectorized: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """Return the recipe as it stands in a manifest."""
        members = asdict(self)
        members["command"] = list(self.command)
        members["paths"] = list(self.paths)
        members["span"] = asdict(self.span) if self.span else None
        return members

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Json]) -> Self:
        """Return the recipe of an archived run.

        Raises
        ------
        ReplayError
            It was saved without one, or with one that this version cannot follow.
        """
        members = manifest.get("recipe")
        short = f"run {RunId.parse(manifest['id']).short}"
        if not members:
            raise ReplayError(f"{short} was saved without a recipe: nobody knows which function made it", hint=RECORD)
        try:
            return cls(
                kind=_known(members["kind"]),
                entry=str(members["entry"]),
                inputs={name: Input(**each) for name, each in members["inputs"].items()},
                seed_name=members.get("seed_name"),
                files=dict(members.get("files") or {}),
                paths=tuple(map(_within, members.get("paths") or ())),
                command=tuple(map(str, members.get("command") or ())),
                result=_within(members.get("result") or ""),
                folder=_within(members.get("folder") or ""),
                span=Span(**(members.get("span") or {})),
                series=_declared(members.get("series")),
                stage=members.get("stage"),
                vectorized=dict(members.get("vectorized") or {}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReplayError(f"the recipe of {short} cannot be followed: {error}") from error


def _declared(series: Json) -> Declared | None:
    return None if series is None else {str(name): str(column) for name, column in series.items()}


def _within(path: Json) -> str:
    """Return a path that stays below the folder it is joined to; ValueError for any other."""
    text = str(path)
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive or ".." in PureWindowsPath(text).parts:
        raise ValueError(f"it names {text!a}, which is not in the repository")
    return text


def _known(kind: Json) -> str:
    if kind not in (FUNCTION, COMMAND):
        raise ValueError(f"its kind is {kind!r}")
    return str(kind)
