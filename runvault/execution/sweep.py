"""Running an entry for every combination of a grid and archiving what it returns, a batch at a time.

What equal code has archived already is not computed again, so a sweep that was ended anywhere goes on where it was
when it is started again: at most the batch that was on its way is computed twice.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from runvault.archive.changing import annotate_runs
from runvault.archive.compose import one_line
from runvault.archive.inputs import Inputs, keep_inputs
from runvault.archive.request import SaveOutcome, SaveRequest
from runvault.archive.saving import save_results
from runvault.archive.stores import Stores
from runvault.archive.sweeping import save_sweep
from runvault.engines.result import Result, Sweep
from runvault.errors import ConfigError, ReplayError
from runvault.execution.calls import Call, bind
from runvault.execution.code import (
    code_member,
    forget_snapshots,
    imported_contents,
    refuse_secret_code,
    snapshot,
    warnings_of,
)
from runvault.execution.entries import forget_modules, load_entry
from runvault.execution.executors import Workers, cpus, open_workers
from runvault.execution.grids import Combination, Combinations, check_grid, in_batches
from runvault.execution.known import KnownRuns
from runvault.execution.outside import warn_of_code_outside
from runvault.execution.recipe import Recipe
from runvault.execution.run import (
    Provide,
    RunRequest,
    checked,
    from_root,
    recipe_inputs,
    recipe_of,
    refuse_dirty,
    with_words,
    work_tree_of,
)
from runvault.execution.series import cut_inputs, read_input, series_in
from runvault.execution.shapes import name_of
from runvault.execution.workers import Answer, Job, array_types, as_arrays
from runvault.model.canonical import config_hash, normalise, refuse_credentials
from runvault.model.ids import RunId
from runvault.model.table import Table
from runvault.stores.git.snapshots import Snapshot

Json: TypeAlias = Any

BATCH = 64  # runs a commit …
BATCH_S = 2.0  # … or what is there after this time, where backtests are slow …
BATCH_BYTES = 256 * 2**20  # … or large
CELLS = 2**20  # bars times combinations that a vectorized entry is given at a time: 8 MB an array
TICK_S = 0.5

DEATHS = 5  # so many in a row, and none that lives, are not the fault of combinations
DIED = "the worker process died of it: a crash in compiled code, or too little memory"
MEMORY = "is there enough memory? start it again: it goes on from here; --workers 1 takes less"


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What a caller says of a sweep; `run` is what all its runs have in common.

    `draw` combinations are drawn with the seed; all are run where it is None. A `vectorized` entry is called with
    arrays of values and returns a portfolio of one column a combination. `address` is that of a Dask scheduler.
    """

    run: RunRequest
    grid: Mapping[str, Any]
    draw: int | None = None
    executor: str = "processes"
    workers: int | None = None
    address: str | None = None
    vectorized: bool = False


@dataclass(frozen=True)
class Failure:
    """A combination that gave no result, and why."""

    params: Mapping[str, Json]
    error: str


@dataclass
class SweepOutcome:
    """What has become of a sweep: `skipped` were archived already, `saved` is what was archived by this one."""

    total: int
    sweep: str
    skipped: list[RunId] = field(default_factory=list)
    saved: list[SaveOutcome] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    computed: int = 0
    left_out: Sequence[str] = ()

    @property
    def done(self) -> int:
        """Return how many combinations need not be waited for any more."""
        return len(self.skipped) + self.computed + len(self.failed)


Watch: TypeAlias = Callable[[SweepOutcome], None]
"""Told of every step; it may show it."""


def run_sweep(stores: Stores, entry: str, request: SweepRequest, provide: Provide, watch: Watch) -> SweepOutcome:
    """Import an entry, call it for every combination, and archive what it returns.

    Parameters
    ----------
    entry : str
        ``FILE.py:function``, from the current folder or the repository's root, or ``module:function``.
    provide : callable
        Says who saves, when and in which environment; asked once a commit.
    watch : callable
        Told of the outcome as it is so far.

    Raises
    ------
    ReplayError
        The entry cannot be imported, workers die whatever they are given, or a vectorized entry returned other columns
        than it was given combinations. What was finished by then is archived.
    ConfigError
        The grid or the executor is none, the entry does not take what was said, or the code has uncommitted changes
        and that was refused.
    KeyboardInterrupt
        Once what was finished by then is archived.
    """
    root = work_tree_of(stores)
    forget_modules(root)
    forget_snapshots()
    plan = _Plan(stores, from_root(entry, root), request, root)
    outcome = SweepOutcome(len(plan.combinations), plan.sweep)
    todo = _missing(plan, outcome)
    _annotate_known(plan, outcome, provide)
    watch(outcome)
    if todo:
        taken = snapshot(stores, plan.recipe.files, every_untracked=request.run.snapshot_all)
        refuse_dirty(taken, required=request.run.require_clean)
        refuse_secret_code(taken, plan.recipe.files, request.run.allow)
        outcome.left_out = taken.told()
        _compute(plan, todo, _Archive(plan, outcome, taken, provide), watch)
    return outcome


class _Plan:
    """What is to be done: the entry and all that it is called with."""

    def __init__(self, stores: Stores, entry: str, request: SweepRequest, root: Path) -> None:
        run = request.run
        self.stores = stores
        self.entry = entry
        self.request = request
        self.root = root
        self.grid = _own_grid(request)
        self.combinations = Combinations(self.grid, request.draw, run.seed)
        self.function = load_entry(entry, root)
        self.warnings = warn_of_code_outside(self.function, root)
        whole = {name: read_input(path) for name, path in run.data.items()}
        series = series_in(whole, run.series)
        self.inputs = cut_inputs(whole, run.span, series)
        self.types = array_types(self.grid) if request.vectorized else {}
        self.call = self._first_call()
        params, self.settings = checked(replace(self.call, params=self._shared(self.call.params)), run)
        self.kept: Inputs = keep_inputs(stores, run.data)
        self.recipe: Recipe = recipe_of(entry, self.call, recipe_inputs(run.data, self.kept, root), run, root)
        self.recipe = replace(self.recipe, vectorized=self.types)
        strategy = run.strategy or name_of(self.function).rpartition(".")[2]
        self.save = replace(run, kind="sweep").to_save(strategy, params, self.settings, None, series=series)
        self.sweep = self._id()
        self.save = replace(self.save, lineage={"sweep": self.sweep})

    def params_of(self, combination: Combination) -> dict[str, Json]:
        """Return all parameters of a combination as they are archived."""
        return {**self.save.params, **normalise(dict(combination), "params")}

    def job(self) -> Job:
        """Return what the workers are told."""
        files = self.recipe.files
        return Job(
            key=uuid.uuid4().hex,
            entry=self.entry,
            root=str(self.root),
            files=files,
            sources=imported_contents(self.root, files),
            paths=self.recipe.paths,
            params=self._shared(self.call.params),
            settings=self.request.run.settings,
            inputs=self.inputs,
            seed=self.request.run.seed,
            vectorized=self.types,
            dump=self.request.run.pickles != "none",
        )

    def _first_call(self) -> Call:
        """Return the call for the first combination: what is wrong with one is wrong with all."""
        run = self.request.run
        first = self.combinations[0]
        own = as_arrays([first], self.types) if self.types else first
        inputs = self.inputs
        return bind(self.function, params={**run.params, **own}, settings=run.settings, inputs=inputs, seed=run.seed)

    def _shared(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name not in self.grid}

    def _id(self) -> str:
        """Return a name for the sweep that what is asked for alone decides: one that goes on keeps it."""
        asked = {
            "strategy": self.save.strategy,
            "entry": self.entry,
            "params": self.save.params,
            "settings": self.save.settings,
            "inputs": dict(self.kept.md5),
            "seed": str(self.save.seed),
        }
        digest = hashlib.sha256(config_hash(asked).encode())
        for combination in self.combinations:
            digest.update(config_hash(combination).encode())
        return digest.hexdigest()[:16]


def _own_grid(request: SweepRequest) -> dict[str, list[Any]]:
    """Return the grid, once nothing in it was said elsewhere, too."""
    run = request.run
    grid = check_grid(request.grid)
    for what, names in (("parameter", run.params), ("setting", run.settings), ("input", run.data)):
        twice = [name for name in grid if name in names]
        if twice:
            raise ConfigError(f"{twice[0]!r} is in the grid, and among the {what}s, too")
    refuse_credentials({"params": dict.fromkeys(grid)}, run.allow)
    return grid


def _missing(plan: _Plan, outcome: SweepOutcome) -> Sequence[Combination]:
    """Return the combinations that equal code has not archived yet; the others are noted as skipped."""
    if plan.request.run.force:
        return plan.combinations
    save = plan.save
    known = KnownRuns(plan.stores, save.strategy, save.seed, plan.recipe, plan.root, shared=save.params)
    asked = [plan.params_of(combination) for combination in plan.combinations]
    found = known.find(asked, save.settings)
    outcome.skipped += [run for run in found if run is not None]
    return [each for each, run in zip(plan.combinations, found, strict=True) if run is None]


def _annotate_known(plan: _Plan, outcome: SweepOutcome, provide: Provide) -> None:
    """Add the tags and the note to the runs that are archived already, as running them again would."""
    if outcome.skipped and (plan.save.tags or plan.save.note):
        provenance = provide()
        subject = f"Annotate {len(outcome.skipped)} runs of {one_line(plan.save.strategy, 60)}"
        change = partial(with_words, save=plan.save, provenance=provenance)
        annotate_runs(plan.stores, outcome.skipped, change, subject, provenance)


def _compute(plan: _Plan, todo: Sequence[Combination], archive: _Archive, watch: Watch) -> None:
    request = plan.request
    count = request.workers or cpus()
    chunks = list(in_batches(todo, _together(plan, len(todo), count)))
    count = min(count, len(chunks))
    with open_workers(plan.job(), request.executor, count, request.address) as workers:
        try:
            for answered in _answers(workers, chunks):
                for chunk, answer in answered:
                    archive.take(chunk, answer)
                workers.widen(BATCH_BYTES // max(1, archive.largest))
                if archive.due:
                    archive.flush()
                watch(archive.outcome)
        except BaseException:  # Ctrl-C, too: what is finished is kept
            archive.flush()
            raise
    archive.flush()
    watch(archive.outcome)


def _together(plan: _Plan, todo: int, workers: int) -> int:
    """Return how many combinations a call is for.

    A vectorized entry and the commit of what it returns cost much besides the combinations, so it gets many: as many as
    fit into arrays of some size with the longest of its inputs, and leave each worker two calls.
    """
    if not plan.types:
        return 1
    bars = max((len(value) for value in plan.inputs.values() if hasattr(value, "iloc")), default=CELLS)
    return max(BATCH, min(CELLS // max(1, bars), -(-todo // (2 * workers))))


Answered: TypeAlias = Sequence[tuple[Sequence[Combination], Answer]]


def _answers(workers: Workers, chunks: Sequence[Sequence[Combination]]) -> Iterator[Answered]:
    """Yield what comes back, in any order; nothing now and then, so that what is there does not wait for long.

    A process that dies takes with it all that is on its way. Nobody can say which of the calls that were with workers
    it died of, so each of these is tried again by itself.
    """
    waiting: dict[Future[Answer], Sequence[Combination]] = {}
    left = deque(chunks)
    suspects: list[Sequence[Combination]] = []
    while left or waiting or suspects:
        while left and not suspects and len(waiting) < workers.window:
            chunk = left.popleft()
            try:
                waiting[workers.submit(chunk)] = chunk
            except workers.deaths:
                suspects.append(chunk)
        done, _ = wait(waiting, TICK_S, FIRST_COMPLETED)
        answered = []
        for future in [each for each in waiting if each in done]:  # in the order in which they were asked for
            chunk = waiting.pop(future)
            try:
                answered += _own_or_halves(chunk, future.result(), left)
            except workers.deaths:
                suspects.append(chunk)
        yield answered
        if suspects and not waiting:
            workers.renew()
            near = max(workers.near, DEATHS)
            left.extendleft(reversed(suspects[near:]))
            yield from _one_by_one(workers, suspects[:near])
            suspects = []


def _own_or_halves(
    chunk: Sequence[Combination], answer: Answer, left: deque[Sequence[Combination]]
) -> list[tuple[Sequence[Combination], Answer]]:
    """Ask for the halves of what failed together: the others are not to suffer from one combination that raises."""
    if answer.error is None or len(chunk) == 1:
        return [(chunk, answer)]
    middle = len(chunk) // 2
    left.extendleft((chunk[middle:], chunk[:middle]))
    return []


def _one_by_one(workers: Workers, suspects: Sequence[Sequence[Combination]]) -> Iterator[Answered]:
    """Ask for each with nothing beside it: where the process dies again, it is known of what.

    Raises
    ------
    ReplayError
        The process died of everything that was tried: it is not the combinations.
    """
    left = deque(suspects)
    lived, died = 0, 0
    while left:
        chunk = left.popleft()
        try:
            future = workers.submit(chunk)
            while not wait([future], TICK_S).done:
                yield []
            answer = future.result()
            lived += 1
        except workers.deaths as error:
            answer = Answer(error=DIED)
            died += 1
            if died >= DEATHS and not lived:
                raise ReplayError("the worker processes die", hint=MEMORY) from error
            workers.renew()
        yield _own_or_halves(chunk, answer, left)


class _Archive:
    """Takes answers, and commits them a batch at a time."""

    def __init__(self, plan: _Plan, outcome: SweepOutcome, taken: Snapshot, provide: Provide) -> None:
        self.plan = plan
        self.outcome = outcome
        self.taken = taken
        self.provide = provide
        self.recipe = plan.recipe
        self.results: list[tuple[Result, SaveRequest]] = []
        self.sweeps: list[tuple[Sweep, SaveRequest]] = []
        self.bytes = 0
        self.largest = 0  # of an answer, in bytes
        self.since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for a commit."""
        if not self.results:
            return bool(self.sweeps)
        full = len(self.results) >= BATCH or self.bytes >= BATCH_BYTES
        return full or bool(self.sweeps) or time.monotonic() - self.since >= BATCH_S

    def take(self, chunk: Sequence[Combination], answer: Answer) -> None:
        """Take the answer for a chunk of combinations."""
        if answer.error is not None:
            failures = [Failure(normalise(dict(each), "params"), answer.error) for each in chunk]
            self.outcome.failed.extend(failures)
            return
        if not self.results:
            self.since = time.monotonic()
        save = self._request(answer)
        self.outcome.computed += len(chunk)
        more = [*warnings_of(self.taken, self.recipe.files), *self.plan.warnings]
        if answer.sweep is not None:
            columns = [replace(each, warnings=(*each.warnings, *more)) for each in answer.sweep.columns]
            self.sweeps.append((replace(answer.sweep, columns=columns), save))
            self.largest = max(self.largest, _size(answer.sweep.tables, answer.sweep.whole_dump))
        elif answer.result is not None:
            result = replace(answer.result, warnings=(*answer.result.warnings, *more))
            self.results.append((result, replace(save, params=self.plan.params_of(chunk[0]))))
            size = _size(answer.result.tables, None if answer.result.dump is None else answer.result.dump())
            self.bytes += size
            self.largest = max(self.largest, size)

    def flush(self) -> None:
        """Commit what is there; Ctrl-C waits until it is done."""
        if not self.results and not self.sweeps:
            return
        provenance = replace(self.provide(), code=code_member(self.taken))
        stores, kept = self.plan.stores, self.plan.kept
        results, self.results, self.bytes = self.results, [], 0  # what cannot be saved is not tried again
        sweeps, self.sweeps = self.sweeps, []
        with _uninterrupted():
            if results:
                self.outcome.saved += save_results(stores, results, provenance, kept)
            for sweep, save in sweeps:
                self.outcome.saved += save_sweep(stores, sweep, save, provenance, kept)

    def _request(self, answer: Answer) -> SaveRequest:
        """Return the words of a save, with the files that were imported while it ran."""
        if answer.files is not None and answer.files.keys() - self.recipe.files.keys():
            self.recipe = replace(self.recipe, files={**answer.files, **self.recipe.files})
            every = self.plan.request.run.snapshot_all
            self.taken = snapshot(self.plan.stores, self.recipe.files, every_untracked=every)
        return replace(self.plan.save, recipe=self.recipe.to_dict(), duration_s=answer.duration_s)


def _size(tables: Mapping[str, Table], dump: bytes | None) -> int:
    return sum(values.nbytes for table in tables.values() for values in table.columns.values()) + len(dump or b"")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C take effect at the end: a batch that is finished is not thrown away for an impatient hand."""
    before: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    pressed: list[Literal[True]] = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
