"""What a worker of a sweep does: prepare once, then call the entry for one combination after the other.

A worker needs no archive: the inputs come with the job, and what it computed goes back as plain values and bytes.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from runvault.engines import extract_sweep
from runvault.engines.result import Result, Sweep
from runvault.errors import ConfigError, ReplayError, RunvaultError
from runvault.execution.calls import Call, as_result, bind
from runvault.execution.code import imported_files, same_files
from runvault.execution.declared import as_declared
from runvault.execution.entries import forget_modules, load_entry
from runvault.execution.grids import Combination
from runvault.execution.in_force import engine_settings, seeded
from runvault.execution.shapes import name_of

Json: TypeAlias = Any

IN_ORDER = "a vectorized entry returns a portfolio of one column a combination, in order"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all calls of a sweep have in common.

    Attributes
    ----------
    key : str
        Names the job: a worker prepares once for each.
    root : str
        The root of the repository, where the code is if the worker shares a disk with the caller.
    files, sources : mapping
        The repository's files that the entry imported: their blob ids, and their bytes for workers elsewhere.
    paths : sequence of str
        The folders below `root` that modules are looked for in, beside `root` itself.
    params, settings, inputs, seed
        What every call is given.
    vectorized : mapping of str to str
        The arguments that take arrays, with NumPy's name of their type; empty where each call is for one combination.
    dump : bool
        Whether to bring the engine's own dump.
    """

    key: str
    entry: str
    root: str
    files: Mapping[str, str]
    sources: Mapping[str, bytes]
    paths: Sequence[str]
    params: Mapping[str, Any]
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    seed: int
    vectorized: Mapping[str, str]
    dump: bool


@dataclass(frozen=True)
class Answer:
    """What came of a call: a result for one combination, a sweep for an array of them, or why there is neither.

    `files` are those that the worker has imported by now, where there are more than the job knew.
    """

    result: Result | None = None
    sweep: Sweep | None = None
    error: str | None = None
    duration_s: float = 0.0
    files: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Kept:
    """Bytes that are there already, where something that makes them is asked for."""

    content: bytes

    def __call__(self) -> bytes:
        """Return them."""
        return self.content


class _Ready:
    """A worker that is prepared for a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.root = _code_of(job)
        self.function: Callable[..., Any] = load_entry(job.entry, self.root, job.paths)
        import runvault.engines.vectorbt.extract  # noqa: F401 - seconds, before the first call is timed

        self.modules: frozenset[str] = frozenset()
        self.files: Mapping[str, str] | None = None

    def answer(self, combinations: Sequence[Combination]) -> Answer:
        """Call the entry; what it raises is the answer, too."""
        try:
            answer = self._vectorized(combinations) if self.job.vectorized else self._single(combinations[0])
        except ColumnsError:
            raise
        except RunvaultError as error:
            return Answer(error=error.message)
        return replace(answer, files=self._files())

    def _single(self, combination: Combination) -> Answer:
        ran = self._call(combination).run()
        dump = ran.result.dump if self.job.dump else None
        return Answer(replace(ran.result, dump=None if dump is None else Kept(dump())), duration_s=ran.duration_s)

    def _vectorized(self, combinations: Sequence[Combination]) -> Answer:
        arrays = as_arrays(combinations, self.job.vectorized)
        returned, duration_s = self._call(arrays).given()
        with seeded(self.job.seed), engine_settings(self.job.settings):
            answer = self._columns(returned, combinations, arrays)
        return replace(answer, duration_s=duration_s / len(combinations))

    def _columns(self, returned: Any, combinations: Sequence[Combination], given: Mapping[str, Any]) -> Answer:
        name, wrapper = name_of(self.function), getattr(returned, "wrapper", None)
        columns = len(wrapper.columns) if wrapper is not None else 1
        if wrapper is not None and columns != len(combinations):
            message = f"{name} was called with {len(combinations)} combinations and returned {columns} columns"
            raise ColumnsError(message, IN_ORDER)
        if wrapper is None or wrapper.ndim == 1:
            result = as_result(returned, name)
            dump = result.dump if self.job.dump else None
            return Answer(replace(result, dump=None if dump is None else Kept(dump())))
        try:
            sweep = extract_sweep(returned)
        except ConfigError as error:
            raise ReplayError(f"{name} returned no sweep: {error}", hint=error.hint) from error
        _refuse_other_order(name, [column.params for column in sweep.columns], given)
        whole = sweep.dump(range(columns)) if self.job.dump and sweep.dump is not None else None
        own = [replace(column, params=params) for column, params in zip(sweep.columns, combinations, strict=True)]
        return Answer(sweep=replace(sweep, columns=own, dump=None, whole_dump=whole))

    def _call(self, params: Mapping[str, Any]) -> Call:
        return bind(
            self.function,
            params=as_declared(self.function, {**self.job.params, **params}),
            settings=self.job.settings,
            inputs={name: _copy(value) for name, value in self.job.inputs.items()},
            seed=self.job.seed,
        )

    def _files(self) -> Mapping[str, str] | None:
        """Return the files imported by now, where they are more than the job knew; looked up after imports only."""
        modules = frozenset(sys.modules)
        if modules != self.modules:
            self.modules = modules
            files = imported_files(self.root)
            self.files = files if files.keys() - self.job.files.keys() else None
        return self.files


def _refuse_other_order(name: str, labels: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> None:
    """Refuse columns whose labels tell that they are what the entry was given in another order.

    vectorbt names a level by the argument, or by that and what it is of: ``fast``, ``fast_window``. A level of other
    values than the argument's tells nothing: an entry may compute with ten times the argument.
    """
    for param, array in given.items():
        asked = [repr(value) for value in array.tolist()]
        for level in (each for each in labels[0] if each == param or each.startswith(f"{param}_")):
            told = [repr(each[level]) for each in labels]
            if told != asked and sorted(told) == sorted(asked):
                column = next(place for place, (one, other) in enumerate(zip(told, asked, strict=True)) if one != other)
                what = f"{level} {told[column]} in column {column}, where {asked[column]} was asked for"
                raise ColumnsError(f"{name} returned {what}", IN_ORDER)


class ColumnsError(ReplayError):
    """A vectorized entry returned other columns than it was asked for."""


def work(job: Job | str, combinations: Sequence[Combination]) -> Answer:
    """Answer for combinations: one, or as many as a vectorized entry takes at a time.

    Parameters
    ----------
    job : Job or str
        The key of one that `keep` was told.

    Raises
    ------
    ReplayError
        The entry cannot be imported here, or a vectorized one returned other columns than it was asked for.
    """
    with _turn, redirect_stdout(sys.stderr):  # what an entry prints is not what the caller's program prints
        return _ready(job).answer(combinations)


def keep(job: Job) -> None:
    """Keep a job for the calls of `work` to come that name it by its key."""
    _kept[job.key] = job


_turn = threading.Lock()  # seeds and settings belong to the process: a worker of several threads takes turns
_kept: dict[str, Job] = {}
_prepared: list[_Ready] = []


def _ready(job: Job | str) -> _Ready:
    job = _kept[job] if isinstance(job, str) else job
    if not _prepared or _prepared[0].job.key != job.key:
        if _prepared:  # a worker of a cluster lives on, and code may change from one sweep to the next
            forget_modules(_prepared[0].root)
        _prepared[:] = [_Ready(job)]
    return _prepared[0]


def forget(key: str) -> None:
    """Forget a job, and that this process was prepared for it."""
    _kept.pop(key, None)
    _prepared[:] = [ready for ready in _prepared if ready.job.key != key]


def as_arrays(combinations: Sequence[Combination], types: Mapping[str, str]) -> dict[str, Any]:
    """Return combinations as a vectorized entry takes them: for each parameter an array of its values."""
    import numpy as np

    arrays = {}
    for name, kind in types.items():
        arrays[name] = np.empty(len(combinations), dtype=kind)
        for place, combination in enumerate(combinations):  # one by one: a list as a value is no second dimension
            arrays[name][place] = combination[name]
    return arrays


def array_types(grid: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return the type of each parameter's array: the least that holds all its values, ``object`` for text and lists."""
    return {name: _type_of(values) for name, values in grid.items()}


def _type_of(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and all(abs(value) < 2**63 for value in values):
        return "int64"
    return "float64" if kinds <= {int, float} else "object"


def _code_of(job: Job) -> Path:
    """Return where the job's code lies: the caller's own folder, or one that it is unpacked into."""
    root = Path(job.root)
    if root.is_dir() and same_files(root, job.files):
        return root
    folder = tempfile.TemporaryDirectory(prefix="runvault-code-")
    _folders.append(folder)  # until the process ends
    for path, content in job.sources.items():
        file = Path(folder.name) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Path(folder.name).resolve()


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _copy(value: Any) -> Any:
    """Return an input that an entry may change without the next call seeing it."""
    return value.copy() if hasattr(value, "iloc") else value
