"""The runs of two states of an archive: from the catalog as far as it has them, else straight from Git.

A clone made for one review has no catalog, and gets none: reading 10,000 runs once is cheaper than making it. Whatever
a run's files hold, it is told as damaged and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson

from runvault.errors import RunvaultError
from runvault.model.ids import RunId
from runvault.model.metrics import Number, restated
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.stores.catalog.project import Projection, project
from runvault.stores.catalog.schema import MOMENTS

if TYPE_CHECKING:
    from runvault.archive.stores import Stores
    from runvault.model.source import ArchiveSource, FileChange
    from runvault.stores.git.reading import Reader

Json: TypeAlias = Any
Files: TypeAlias = Mapping[str, str]
"""A run's folder: the blob of each file, by name; empty where there is no such run."""

KEPT = ("sharpe_ratio", "max_drawdown")  # of every run, for a picture of all of them
AT_ONCE = 1_000  # runs in memory, whole


class Ranked(NamedTuple):
    """What is kept of each run of a state: enough for its place, and to say what is usual there.

    `data` and `definitions` are JSON: texts that many runs share.
    """

    created_at: str
    strategy: str
    metrics: dict[str, Number]
    data: bytes
    definitions: bytes
    alias: str | None


@dataclass
class State:
    """One commit of the archive: the files of each run, and what is kept of those that can be read."""

    folders: dict[str, Files]
    runs: dict[str, Ranked] = field(default_factory=dict)


@dataclass
class Changes:
    """What differs between two commits: of each run the files (None where one is gone), and the other paths."""

    runs: dict[str, dict[str, str | None]] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def state_of(stores: Stores, commit: str, metric: str, periods_per_year: float | None) -> State:
    """Return the runs of a commit; those that cannot be read have no place in it."""
    repository = stores.repository
    tip = repository.tip() if (repository.state_dir / "catalog.db").exists() else None
    state = _state_of_tip(stores, metric, periods_per_year) if tip is not None else None
    if state is None or tip is None or tip != repository.tip():
        return read_state(stores.reader, commit, metric, periods_per_year)
    changes = gather(stores.reader.changed_files(tip, commit)) if tip != commit else Changes()
    other = {run: applied(state.folders.get(run, {}), files) for run, files in changes.runs.items()}
    for run in other:
        state.folders.pop(run, None)
        state.runs.pop(run, None)
    there = {run: files for run, files in other.items() if files}
    state.folders.update(there)
    _add(state, stores.reader, there, metric, periods_per_year)
    return state


def _state_of_tip(stores: Stores, metric: str, periods_per_year: float | None) -> State:
    """Return the runs of the archive branch as its catalog has them: of files but the records, the names alone."""
    ref, catalog = stores.repository.ref, stores.catalog()
    names = tuple(dict.fromkeys((metric, *KEPT)))
    data = {number: _sorted(value) for number, value in catalog.data_of(ref).items()}
    state = State(dict(catalog.folders(ref)))
    for row in catalog.columns(ref, names):
        metrics = dict(zip(names, row.numbers, strict=False))
        moments = dict(zip(MOMENTS, row.numbers[len(names) :], strict=True))
        shown = restated(metrics, moments, periods_per_year)
        state.runs[row.id] = Ranked(row.created_at, row.strategy, {**shown}, data[row.data], row.definitions, row.alias)
    return state


def read_state(reader: Reader, commit: str, metric: str, periods_per_year: float | None) -> State:
    """Read all runs of a commit from Git."""
    changes = gather(reader.changed_files(None, commit))
    state = State({run: _present(files) for run, files in changes.runs.items()})
    _add(state, reader, state.folders, metric, periods_per_year)
    return state


def _add(
    state: State, reader: Reader, folders: Mapping[str, Files], metric: str, periods_per_year: float | None
) -> None:
    shared: dict[bytes, bytes] = {}
    for run, found in read_runs(reader, folders):
        if isinstance(found, Projection):
            state.runs[run] = ranked(found, metric, periods_per_year, shared)


def ranked(
    run: Projection, metric: str, periods_per_year: float | None, shared: dict[bytes, bytes] | None = None
) -> Ranked:
    """Return what is kept of a run; equal texts are one object where `shared` is given."""
    shared = {} if shared is None else shared
    members = run.members
    metrics = restated(members["metrics"], _moments(run), periods_per_year)
    data = _sorted(members["data"])
    return Ranked(
        members["created_at"],
        members["strategy"],
        {name: metrics.get(name) for name in (metric, *KEPT)},
        shared.setdefault(data, data),
        shared.setdefault(run.definitions, run.definitions),
        members["alias"],
    )


def _sorted(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _moments(run: Projection) -> dict[str, Number]:
    return dict(zip(MOMENTS, run.row[-len(MOMENTS) :], strict=True))


def read_runs(source: ArchiveSource, folders: Mapping[str, Files]) -> Iterator[tuple[str, Projection | str]]:
    """Yield each run as a listing has it, or the reason why it is damaged."""
    names = iter(folders)
    while some := [run for _, run in zip(range(AT_ONCE), names, strict=False)]:
        contents = read_contents(source, [folders[run] for run in some])
        for run in some:
            yield run, _projected(run, folders[run], contents)


def read_contents(source: ArchiveSource, folders: Iterable[Files]) -> dict[str, bytes]:
    """Return the records of runs by blob."""
    wanted = [files[name] for name in (MANIFEST, ANNOTATIONS) for files in folders if name in files]
    return dict(source.read_blobs(dict.fromkeys(wanted)))


def _projected(run: str, files: Files, contents: Mapping[str, bytes]) -> Projection | str:
    for name in (MANIFEST, ANNOTATIONS):
        if name in files and files[name] not in contents:
            return f"{name} is not in the repository"
    if MANIFEST not in files:
        return f"{MANIFEST} is missing"
    try:
        return project(run, contents[files[MANIFEST]], contents.get(files.get(ANNOTATIONS, "")), files.keys())
    except RunvaultError as error:
        return error.message


def gather(changes: Iterable[FileChange]) -> Changes:
    """Sort changed files by the run that they belong to; git names those of one folder one after the other."""
    found = Changes()
    folder, files = "\0", dict[str, str | None]()
    for path, blob in changes:
        if not path.startswith(folder):
            run = RunId.from_path(path)
            if run is None:
                (found.strays if path.startswith("runs/") else found.others).append(path)
                continue
            folder, files = f"{run.path}/", found.runs.setdefault(str(run), {})
        files[path.removeprefix(folder)] = blob
    return found


def applied(files: Files, changes: Mapping[str, str | None]) -> Files:
    """Return a run's folder after some of its files changed."""
    return _present({**files, **changes})


def _present(files: Mapping[str, str | None]) -> Files:
    return {name: blob for name, blob in files.items() if blob is not None}
