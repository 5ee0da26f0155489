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
from runvault.archive.saving import save_result
from runvault.archive.stores import Stores
from runvault.engines.result import Result
from runvault.errors import ReplayError, RunvaultError
from runvault.execution.child import FILES
from runvault.execution.children import run_child
from runvault.execution.overrides import NO_OVERRIDES, Overrides, apply
from runvault.execution.parcels import read_parcel
from runvault.execution.recipe import COMMAND, Input, Recipe
from runvault.execution.run import recipe_inputs
from runvault.execution.series import Span
from runvault.model.annotations import Annotations, Replay
from runvault.model.changes import diff_metrics, environment_changes
from runvault.model.closeness import RTOL
from runvault.model.closeness import verdict as judge
from runvault.model.ids import RunId
from runvault.model.times import format_instant
from runvault.model.trades import match_trades
from runvault.stores.dvc.stored import describe
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
        ``failed`` where the recipe raised; with overrides ``changed``, and the new run.

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
    job = apply(request.overrides, recipe, manifest)
    given = request.overrides.data
    kept = keep_inputs(stores, given)  # before it runs: whatever happens to a file meanwhile, this is what is archived
    root = (stores.code.work_tree or stores.repository.common_dir).resolve()
    recipe = replace(recipe, inputs={**recipe.inputs, **recipe_inputs(given, kept, root)})
    try:
        with _ran(stores, commit, recipe, job, manifest, request) as (result, told):
            if request.overrides:
                return _archived_anew(
                    stores, located, manifest, recipe, kept, job, result, told, commit, request, provide
                )
            outcome = _judged(stores, located, manifest, result, request, provide())
    except ReplayError as error:
        if request.overrides:
            raise
        outcome = ReplayOutcome("failed", located.id, reason=[error.message])
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
    short = f"run {str(manifest['id'])[:8]}"
    if at is not None:
        return stores.reader.require_commit(at)
    recorded = (manifest.get("code") or {}).get("commit")
    if not recorded:
        raise ReplayError(f"the code of {short} was not recorded", hint="name a commit with --at")
    if not code_present(stores.repository, recorded):
        hint = f"fetch it: git fetch origin refs/runvault/code/{recorded}:refs/runvault/code/{recorded}"
        raise ReplayError(f"the code of {short}, commit {recorded[:12]}, is not here", hint=hint)
    return str(recorded)


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


@contextmanager
def _ran(
    stores: Stores,
    commit: str,
    recipe: Recipe,
    job: Mapping[str, Json],
    manifest: Mapping[str, Json],
    request: ReplayRequest,
) -> Iterator[tuple[Result, Mapping[str, Json]]]:
    """Yield the result of the recipe in a worktree of its own, and what the child tells of it."""
    with temporary_worktree(stores.repository, commit) as tree:
        folder = tree.parent / "replay"  # goes with the worktree, also where this process is killed
        out = folder / "out"
        out.mkdir(parents=True)
        placed = {name: place_input(stores, each, tree, folder) for name, each in recipe.inputs.items()}
        inputs = {name: (str(path), recipe.inputs[name].kind) for name, path in placed.items()}
        document = {**job, "root": str(tree), "inputs": inputs, "dump": request.pickles != "none"}
        document["trusted"] = request.trusted
        document["backend"] = (manifest.get("environment") or {}).get("backend")
        (folder / "job.json").write_text(json.dumps(document), "utf-8")
        run_child(tree, folder / "job.json", out, request.timeout_s)
        yield read_parcel(out), json.loads((out / FILES).read_text("utf-8"))


def place_input(stores: Stores, given: Input, tree: Path, folder: Path) -> Path:
    """Put a recorded input where the recipe expects it, inside the worktree; elsewhere beside it. Return its path.

    An input that no store has may lie there already, where it is part of the code.
    """
    inside = given.path and not Path(given.path).is_absolute() and ".." not in Path(given.path).parts
    path = tree / given.path if inside else folder / "inputs" / given.md5[:8] / (Path(given.path).name or given.name)
    try:
        content = stores.objects.get(given.md5)
    except RunvaultError as error:
        if inside and _is_committed(path, given.md5):
            return path
        raise ReplayError(f"the input {given.path or given.name} is not here: {error.message}", error.hint) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    if given.md5.endswith(".dir"):
        _place_folder(stores, content, path)
    else:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    return path


def _is_committed(path: Path, md5: str) -> bool:
    """Return whether the code itself brought an input: small data is kept in Git, and a fresh clone has no cache."""
    return path.is_file() and describe(path.read_bytes()).md5 == md5


def _place_folder(stores: Stores, listing: bytes, path: Path) -> None:
    for entry in json.loads(listing):
        relative = Path(entry["relpath"])
        if relative.is_absolute() or ".." in relative.parts:
            raise ReplayError(f"an input folder holds a file at {entry['relpath']!a}")
        file = path / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(stores.objects.get(entry["md5"]))


def _judged(
    stores: Stores,
    located: Located,
    manifest: Mapping[str, Json],
    result: Result,
    request: ReplayRequest,
    provenance: Provenance,
) -> ReplayOutcome:
    if result.digest == manifest["results_digest"]:
        return ReplayOutcome("exact", located.id, digest=result.digest)
    recorded = read_tables(stores.objects, manifest, missing_ok=True)
    metrics = diff_metrics(manifest["metrics"], result.metrics)
    rtol = RTOL if request.rtol is None else request.rtol
    verdict = judge(recorded, result.tables, manifest["metrics"], result.metrics, rtol)
    reason = [*_first_trade(recorded, result, rtol), *_causes(manifest, result, request, provenance)]
    return ReplayOutcome(verdict, located.id, metrics, reason, digest=result.digest)


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


def _causes(manifest: Mapping[str, Json], result: Result, request: ReplayRequest, provenance: Provenance) -> list[str]:
    """Return lines on what differs between then and now in code, data and packages."""
    lines = [] if request.at is None else [f"the code is that of {request.at}, not of the run"]
    now = {
        **manifest,
        "environment": {
            **provenance.environment,
            "packages": {**provenance.environment.get("packages", {}), **result.packages},
            "backend": result.backend,
        },
    }
    lines += [
        f"{change.path}: {change.old} then, {change.new} now"
        for change in environment_changes(manifest, now)
        if change.kind == "changed"
    ]
    return lines or ["code, data and packages are those recorded: something else decides the outcome, such as a clock"]


def _archived_anew(
    stores: Stores,
    located: Located,
    manifest: Mapping[str, Json],
    recipe: Recipe,
    kept: Inputs,
    job: Mapping[str, Json],
    result: Result,
    told: Mapping[str, Json],
    commit: str,
    request: ReplayRequest,
    provide: Callable[[], Provenance],
) -> ReplayOutcome:
    """Archive what overrides made, as a run of its own."""
    changed = replace(recipe, files=told["files"], span=Span(**job["span"]))
    source = located.commit or _brought(stores, located)
    given = request.overrides.data
    recorded = {name: replace(each, path="") for name, each in recipe.inputs.items() if name not in given}
    # Placed anew: what the child was given, it may have changed.
    with tempfile.TemporaryDirectory(prefix="runvault-inputs-") as folder:
        files = {name: place_input(stores, each, Path(folder), Path(folder)) for name, each in recorded.items()}
        kept = kept.and_those(keep_inputs(stores, files))
        save = SaveRequest(
            strategy=manifest["config"]["strategy"],
            params=told["params"],
            settings=job["settings"],
            data={name: path for name, path in {**files, **given}.items() if recipe.inputs[name].path},
            windows=told.get("windows", {}),
            seed=job["seed"],
            pickles=request.pickles,
            recipe=changed.to_dict(),
            lineage={"replay_of": f"{located.id}@{source}"},
            kind="replay",
            duration_s=told["duration_s"],
        )
        code = {**(manifest.get("code") or {}), "commit": commit}
        saved = save_result(stores, result, save, replace(provide(), code=code), kept)
    return ReplayOutcome(
        "changed", located.id, diff_metrics(manifest["metrics"], result.metrics), saved=saved, digest=result.digest
    )


def _brought(stores: Stores, located: Located) -> str:
    members = stores.catalog().run(stores.repository.ref, str(located.id))
    return str(members["commit"]) if members else stores.require_tip()


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
