"""Running an archived run again, in its own code and on its own data, and judging what comes of it."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from runvault.archive.artifacts import read_tables
from runvault.archive.changing import annotate_runs
from runvault.archive.inputs import Inputs, keep_inputs
from runvault.archive.reading import Located, read_manifest
from runvault.archive.request import Provenance, SaveOutcome, SaveRequest
from runvault.archive.saving import address_for, save_result
from runvault.archive.stores import Stores
from runvault.engines.result import Result
from runvault.errors import ReplayError
from runvault.execution.child import FILES
from runvault.execution.children import run_child
from runvault.execution.overrides import NO_OVERRIDES, Overrides, apply
from runvault.execution.parcels import read_parcel
from runvault.execution.placing import place_input
from runvault.execution.recipe import COMMAND, Input, Recipe
from runvault.execution.run import recipe_inputs
from runvault.execution.series import Span
from runvault.model.annotations import Annotations, Replay
from runvault.model.changes import diff_metrics, environment_changes
from runvault.model.closeness import RTOL
from runvault.model.closeness import verdict as judge
from runvault.model.ids import RunId
from runvault.model.run_json import code_commit
from runvault.model.times import format_instant
from runvault.model.trades import match_trades
from runvault.stores.git.code import code_present, describe_code
from runvault.stores.git.owncode import is_own_code
from runvault.stores.git.worktrees import temporary_worktree

Json: TypeAlias = Any
Verdict: TypeAlias = Literal["exact", "close", "drift", "failed", "changed"]


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """What a caller says of a replay.

    `at` is another commit of the code; `rtol` how near prices, sizes, equity and metrics of the same orders are that
    still count as close, 1e-9 where it is not said; `timeout_s` ends the child; `trusted` says that code of others may
    run; `record` keeps the verdict with the run.
    """

    overrides: Overrides = NO_OVERRIDES
    at: str | None = None
    rtol: float | None = None
    timeout_s: float | None = None
    record: bool = False
    trusted: bool = False
    pickles: str = "auto"


@dataclass(frozen=True)
class ReplayOutcome:
    """What came of a replay; `saved` is the new run that overrides made, or that `--at --record` archived."""

    verdict: Verdict
    of: RunId
    metrics: Sequence[Mapping[str, Json]] = ()
    reason: Sequence[str] = ()
    saved: SaveOutcome | None = None
    digest: str | None = None


UNKNOWN_CAUSE = "code, data and packages are those recorded: something else decides the outcome, such as a clock"

Ask: TypeAlias = Callable[[str], bool]
"""Shows code of others and asks whether it may run."""


def replay(
    stores: Stores, located: Located, request: ReplayRequest, provide: Callable[[], Provenance], ask: Ask
) -> ReplayOutcome:
    """Run a run again.

    Returns
    -------
    ReplayOutcome
        Without overrides ``exact`` (an equal digest), ``close`` (the same orders, values within `rtol`), ``drift``, or
        ``failed`` where the recipe raised; with overrides that ask for something else ``changed``, and the new run.

    Raises
    ------
    ReplayError
        The run has no recipe, its code or data is not here, its code is not yours and nobody said that it may run.
    ConfigError
        The recipe cannot take an override.
    """
    manifest = read_manifest(stores, located)
    recipe = Recipe.from_manifest(manifest)
    commit = code_of(stores, manifest, request.at)
    _require_trust(stores, commit, request.trusted, ask)
    if recipe.kind == COMMAND:
        _require_own_command(stores, manifest, recipe, request.trusted, ask)
    outcome = _Replay(stores, located, manifest, recipe, commit, request, provide).outcome()
    if request.record:
        record_verdict(stores, outcome, commit, provide())
    return outcome


def code_of(stores: Stores, manifest: Mapping[str, Json], at: str | None) -> str:
    """Return the commit to run.

    Raises
    ------
    ConfigError
        `at` names no commit.
    ReplayError
        The archive names none, or it is not here.
    """
    short = f"run {RunId.parse(manifest['id']).short}"
    if at is not None:
        return stores.reader.require_commit(at)
    recorded = code_commit(manifest)
    if not recorded:
        raise ReplayError(f"the code of {short} was not recorded", hint="name a commit with --at")
    if not code_present(stores.repository, recorded):
        hint = f"fetch it: git fetch origin refs/runvault/code/{recorded}:refs/runvault/code/{recorded}"
        raise ReplayError(f"the code of {short}, commit {recorded[:12]}, is not here", hint=hint)
    return recorded


def _require_trust(stores: Stores, commit: str, trusted: bool, ask: Ask) -> None:
    if trusted or is_own_code(stores.repository, commit):
        return
    if not ask(describe_code(stores.repository, commit)):
        raise ReplayError(f"commit {commit[:12]} is not your code, and it was not run", hint="--trust-code runs it")


def _require_own_command(stores: Stores, manifest: Mapping[str, Json], recipe: Recipe, trusted: bool, ask: Ask) -> None:
    """Ask before a command of others is run: it is code of its own, whatever commit it runs in."""
    identity = stores.repository.identity()
    if trusted or str(manifest["author"]).endswith(f"<{identity.email}>"):
        return
    if not ask(f"a command of {manifest['author']}: {shlex.join(recipe.command)}"):
        raise ReplayError(f"the command of {manifest['author']} was not run", hint="--trust-code runs it")


class _Replay:
    """One replay: what is run, and what becomes of its result."""

    def __init__(
        self,
        stores: Stores,
        located: Located,
        manifest: Mapping[str, Json],
        recipe: Recipe,
        commit: str,
        request: ReplayRequest,
        provide: Callable[[], Provenance],
    ) -> None:
        self.stores = stores
        self.located = located
        self.manifest = manifest
        self.commit = commit
        self.request = request
        self.provide = provide
        self.code = code_commit(manifest)
        self.job = apply(request.overrides, recipe, manifest)
        # Kept before it runs: whatever happens to a file meanwhile, this is what is archived.
        self.given = request.overrides.data
        self.kept: Inputs = keep_inputs(stores, self.given)
        root = (stores.code.work_tree or stores.repository.common_dir).resolve()
        self.recipe = replace(recipe, inputs={**recipe.inputs, **recipe_inputs(self.given, self.kept, root)})

    def outcome(self) -> ReplayOutcome:
        """Run it, and judge the result, or archive it where it was asked for."""
        if self.request.overrides:
            with self._ran() as (result, told):
                return self._archived(result, told)
        try:
            with self._ran() as (result, _):
                return self._judged(result)
        except ReplayError as error:
            hint = [f"hint: {error.hint}"] if error.hint else []
            return ReplayOutcome("failed", self.located.id, reason=[error.message, *hint])

    @contextmanager
    def _ran(self) -> Iterator[tuple[Result, Mapping[str, Json]]]:
        """Yield the result of the recipe in a worktree of its own, and what the child tells of it."""
        with temporary_worktree(self.stores.repository, self.commit) as tree:
            folder = tree.parent / "replay"  # goes with the worktree, also where this process is killed
            out = folder / "out"
            out.mkdir(parents=True)
            inputs = self._placed(self.recipe.inputs, tree, folder)
            document = {
                **self.job,
                "root": str(tree),
                "checkout": None if self.stores.code.work_tree is None else str(self.stores.code.work_tree),
                "inputs": {name: (str(path), self.recipe.inputs[name].kind) for name, path in inputs.items()},
                "dump": self.request.pickles != "none",
                "trusted": self.request.trusted,
                "backend": (self.manifest.get("environment") or {}).get("backend"),
            }
            (folder / "job.json").write_text(json.dumps(document), "utf-8")
            run_child(tree, folder / "job.json", out, self.request.timeout_s)
            yield read_parcel(out), json.loads((out / FILES).read_text("utf-8"))

    def _placed(self, inputs: Mapping[str, Input], tree: Path, folder: Path) -> dict[str, Path]:
        return {name: place_input(self.stores, each, self.code, tree, folder) for name, each in inputs.items()}

    def _judged(self, result: Result) -> ReplayOutcome:
        recorded = self.manifest["metrics"]
        if result.digest == self.manifest["results_digest"]:
            return ReplayOutcome("exact", self.located.id, digest=result.digest)
        tables = read_tables(self.stores.objects, self.manifest, missing_ok=True)
        rtol = RTOL if self.request.rtol is None else self.request.rtol
        verdict = judge(tables, result.tables, recorded, result.metrics, rtol)
        reason = [*_first_trade(tables, result, rtol), *self._causes(result)]
        metrics = diff_metrics(recorded, result.metrics)
        return ReplayOutcome(verdict, self.located.id, metrics, reason, digest=result.digest)

    def _causes(self, result: Result) -> list[str]:
        """Return lines on what differs between then and now in code, data and packages."""
        at, here = self.request.at, self.provide().environment
        lines = [] if at is None else [f"the code is that of {at}, not of the run"]
        packages = {**here.get("packages", {}), **result.packages}
        now = {**self.manifest, "environment": {**here, "packages": packages, "backend": result.backend}}
        lines += [
            f"{change.path}: {change.old} then, {change.new} now"
            for change in environment_changes(self.manifest, now)
            if change.kind == "changed"
        ]
        return lines or [UNKNOWN_CAUSE]

    def _archived(self, result: Result, told: Mapping[str, Json]) -> ReplayOutcome:
        """Archive what overrides made, as a run of its own."""
        changed = replace(self.recipe, files=told["files"], span=Span(**self.job["span"]))
        recorded = {name: each for name, each in self.recipe.inputs.items() if name not in self.given}
        # Placed anew: what the child was given, it may have changed.
        with tempfile.TemporaryDirectory(prefix="runvault-inputs-") as folder:
            files = self._placed(recorded, Path(folder), Path(folder))
            kept = self.kept.and_those(keep_inputs(self.stores, files))
            save = SaveRequest(
                strategy=self.manifest["config"]["strategy"],
                params=told["params"],
                settings=self.job["settings"],
                data={name: path for name, path in {**files, **self.given}.items() if self.recipe.inputs[name].path},
                windows=told.get("windows", {}),
                seed=self.job["seed"],
                pickles=self.request.pickles,
                recipe=changed.to_dict(),
                lineage={"replay_of": f"{self.located.id}@{self._brought()}"},
                kind="replay",
                duration_s=told["duration_s"],
            )
            code = {**(self.manifest.get("code") or {}), "commit": self.commit}
            if self.request.at is not None:  # nothing is known of it but the commit
                code = {"commit": self.commit, "base": self.commit, "branch": None, "dirty": False}
            if address_for(result, save, kept).id == self.located.id:
                return self._judged(result)  # the overrides say what was recorded
            saved = save_result(self.stores, result, save, replace(self.provide(), code=code), kept)
        metrics = diff_metrics(self.manifest["metrics"], result.metrics)
        return ReplayOutcome("changed", self.located.id, metrics, saved=saved, digest=result.digest)

    def _brought(self) -> str:
        """Return the archive commit that the run is replayed from."""
        if self.located.commit:
            return self.located.commit
        members = self.stores.catalog().run(self.stores.repository.ref, str(self.located.id))
        return str(members["commit"]) if members else self.stores.require_tip()


def _first_trade(recorded: Mapping[str, Any], result: Result, rtol: float) -> list[str]:
    """Return a line about the first trade that differs, where both runs' trades are at hand."""
    name = "trades.parquet"
    if name not in recorded or name not in result.tables:
        return []
    changes = match_trades(recorded[name], result.tables[name], rtol)
    first = next((row for row in changes.rows if row.kind != "same"), None)
    if first is None:
        return []
    table, row = (changes.a, first.a) if first.a is not None else (changes.b, first.b)
    bar, price = table.columns["entry_bar"][row], table.columns["entry_price"][row]
    what = {"changed": f"differs in {', '.join(first.fields)}", "only_a": "is gone", "only_b": "is new"}[first.kind]
    return [f"the first trade that differs enters at bar {bar}, price {price:g}: it {what}"]


def record_verdict(stores: Stores, outcome: ReplayOutcome, commit: str, provenance: Provenance) -> None:
    """Keep a verdict in the run's annotations: who, when, in which code and environment."""
    if outcome.verdict == "changed":
        return
    entry = Replay(
        at=format_instant(provenance.now),
        by=provenance.author,
        code=commit,
        environment=dict(provenance.environment),
        verdict=outcome.verdict,
    )

    def change(annotations: Annotations, _at: str) -> Annotations:
        return annotations.with_replay(entry)

    annotate_runs(stores, [outcome.of], change, f"Replay of {outcome.of.short}: {outcome.verdict}", provenance)
