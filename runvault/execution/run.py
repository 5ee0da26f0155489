"""Running an entry and archiving what it returns, unless that is archived from equal code already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from runvault.archive.changing import annotate_runs
from runvault.archive.compose import annotate, one_line
from runvault.archive.inputs import Inputs, keep_contents, keep_inputs
from runvault.archive.request import Provenance, SaveOutcome, SaveRequest
from runvault.archive.saving import save_result
from runvault.archive.stores import Stores
from runvault.errors import ConfigError, ReplayError, VaultNotFoundError
from runvault.execution.calls import Call, Ran, bind
from runvault.execution.code import (
    code_member,
    forget_snapshots,
    import_paths,
    imported_files,
    refuse_secret_code,
    snapshot,
    warnings_of,
)
from runvault.execution.declared import as_declared
from runvault.execution.entries import forget_modules, load_entry
from runvault.execution.known import find_known
from runvault.execution.outside import warn_of_code_outside
from runvault.execution.pipelines import current_stage
from runvault.execution.recipe import FILE, FRAME, FUNCTION, SERIES, Input, Recipe
from runvault.execution.series import WHOLE, Declared, Span, cut_inputs, read_input, series_in
from runvault.execution.shapes import name_of
from runvault.model.annotations import Annotations
from runvault.model.canonical import normalise, refuse_credentials
from runvault.model.ids import RunId
from runvault.stores.git.snapshots import Snapshot

Json: TypeAlias = Any
Provide: TypeAlias = Callable[[], Provenance]

NO_REPLAY = "no recipe names it, and no replay can run it"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a caller says of a run.

    `data` are the input files by argument; `force` runs what is archived already, `require_clean` refuses code with
    uncommitted changes, `snapshot_all` keeps all untracked files with the code, not only those that were imported.
    `span` cuts the inputs that are time series: those that `series` declares, else those that show to be.
    """

    strategy: str | None = None
    params: Mapping[str, Json] = field(default_factory=dict)
    settings: Mapping[str, Json] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    tags: Sequence[str] = ()
    note: str = ""
    pickles: str = "auto"
    allow: Sequence[str] = ()
    force: bool = False
    require_clean: bool = False
    snapshot_all: bool = False
    span: Span = WHOLE
    series: Declared | None = None
    lineage: Mapping[str, Json] = field(default_factory=dict)
    kind: str = "save"

    def to_save(
        self,
        strategy: str,
        params: Mapping[str, Json],
        settings: Mapping[str, Json],
        recipe: Recipe | None,
        series: Iterable[str] = (),
    ) -> SaveRequest:
        """Return what is asked to be archived.

        `params` and `settings` in their canonical form; `series` are the inputs that the span cuts.
        """
        return SaveRequest(
            strategy=strategy,
            params=params,
            settings=settings,
            data=self.data,
            seed=self.seed,
            tags=self.tags,
            note=self.note,
            pickles=self.pickles,
            allow=self.allow,
            recipe=None if recipe is None else recipe.to_dict(),
            windows=dict.fromkeys(series, self.span.asked()),
            lineage=self.lineage,
            kind=self.kind,
        )


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run.

    `ran` is what the call gave, None where an equal run was archived already and nothing was computed; `left_out` are
    the files that the snapshot of the code does not hold.
    """

    saved: SaveOutcome
    ran: Ran | None = None
    left_out: Sequence[str] = ()


def run_entry(stores: Stores, entry: str, request: RunRequest, provide: Provide) -> RunOutcome:
    """Import an entry, call it and archive what it returns.

    Parameters
    ----------
    entry : str
        ``FILE.py:function``, from the current folder or the repository's root, or ``module:function``.
    provide : callable
        Says who saves, when and in which environment; asked once the result is there.

    Raises
    ------
    ReplayError
        The entry cannot be imported or called, or returns no result.
    ConfigError
        The entry does not take what was said; or the code has uncommitted changes and `require_clean` was said, or
        imports a file that looks like a credential and `allow` does not name it.
    """
    root = work_tree_of(stores)
    forget_modules(root)
    forget_snapshots()
    entry = from_root(entry, root)
    function = load_entry(entry, root)
    inputs = {name: read_input(path) for name, path in request.data.items()}
    request = replace(request, params=as_declared(function, request.params))
    return run_function(stores, function, entry, inputs, request, provide)


def run_function(
    stores: Stores,
    function: Callable[..., Any],
    entry: str | None,
    inputs: Mapping[str, Any],
    request: RunRequest,
    provide: Provide,
) -> RunOutcome:
    """Call a function and archive what it returns.

    Parameters
    ----------
    entry : str or None
        What names the function in a recipe; None where nothing can, as in a notebook: then there is no recipe.
    inputs : mapping
        What the function is given for its inputs, as they were read; `request.data` has the files of those that are
        files.
    """
    series = series_in(inputs, request.series)
    call = bind(
        function,
        params=request.params,
        settings=request.settings,
        inputs=cut_inputs(inputs, request.span, series),
        seed=request.seed,
    )
    strategy = request.strategy or name_of(function).rpartition(".")[2]
    params, settings = checked(call, request)
    root = work_tree_of(stores)
    frames = {name: value for name, value in inputs.items() if name not in request.data}
    kept = keep_inputs(stores, request.data).and_those(keep_contents(stores, _as_parquet(frames), ".parquet"))
    passed = {**recipe_inputs(request.data, kept, root), **_recipe_frames(frames, kept)}
    recipe = recipe_of(entry, call, passed, request, root) if entry else None
    save = request.to_save(strategy, params, settings, recipe, series)
    if recipe is not None and not request.force:
        known = find_known(stores, save, recipe, root)
        if known is not None:
            stores.objects.settle(kept.md5.values())
            return RunOutcome(annotate_known(stores, known, save, provide()))
    keep = partial(snapshot, stores, every_untracked=request.snapshot_all)
    files = recipe.files if recipe is not None else imported_files(root)
    taken = keep(files)
    refuse_dirty(taken, required=request.require_clean)
    if recipe is not None:
        refuse_secret_code(taken, files, request.allow)
    ran = call.run()
    if recipe is None:
        ran = ran.with_warnings([f"{name_of(function)} has no name in a file of the repository: {NO_REPLAY}"])
    else:
        files = imported_files(root)
        if files != recipe.files:  # imported while it ran, or reloaded
            taken = keep(files)
        save = replace(save, recipe=replace(recipe, files=files).to_dict())
        ran = ran.with_warnings(warnings_of(taken, files))
    ran = ran.with_warnings(warn_of_code_outside(function, root))
    provenance = replace(provide(), code=code_member(taken))
    saved = save_result(stores, ran.result, replace(save, duration_s=ran.duration_s), provenance, kept)
    return RunOutcome(saved, ran, taken.told())


def annotate_known(stores: Stores, run: RunId, save: SaveRequest, provenance: Provenance) -> SaveOutcome:
    """Add the tags and the note of a request to the run that is archived already, as saving it again would."""
    commit = None
    if save.tags or save.note:
        subject = f"Annotate {one_line(save.strategy, 60)} {run.short}"
        change = partial(with_words, save=save, provenance=provenance)
        commit = annotate_runs(stores, [run], change, subject, provenance)
    return SaveOutcome(str(run), commit or stores.require_tip(), created=False)


def with_words(annotations: Annotations, at: str, *, save: SaveRequest, provenance: Provenance) -> Annotations:
    """Return a run's annotations with the tags and the note of a request."""
    return annotate(annotations, save, provenance, at)


def refuse_dirty(taken: Snapshot, *, required: bool) -> None:
    """Raise ConfigError where the code has uncommitted changes and clean code was asked for."""
    if required and taken.dirty:
        raise ConfigError("the code has uncommitted changes", hint="commit them, or run without --require-clean")


def work_tree_of(stores: Stores) -> Path:
    """Return the root of the checkout whose code is run; VaultNotFoundError in a bare repository."""
    root = stores.code.work_tree
    if root is None:
        raise VaultNotFoundError("a bare repository has no code to run", hint="clone it, and run there")
    return root.resolve()


def from_root(entry: str, root: Path) -> str:
    """Return an entry with its file named from the root of the repository, wherever the caller stands."""
    file, colon, function = entry.rpartition(":")
    if not colon or not file.endswith(".py"):
        return entry
    for base in (Path.cwd(), root):
        if (base / file).is_file():
            return f"{in_repository(base / file, root).relative_to(root).as_posix()}:{function}"
    return entry


def in_repository(path: Path, root: Path) -> Path:
    """Return a path without links; ReplayError where it leads out of the repository."""
    path = path.resolve()
    if not path.is_relative_to(root):
        raise ReplayError(f"{str(path)!r} is not in the repository {str(root)!r}: nobody could run it again")
    return path


def path_from_root(path: Path, root: Path) -> str:
    """Return a path as a recipe names it: from the root of the repository where it lies in it, else absolute.

    A link is named as it is, not what it leads to: DVC may make one of each file into its cache, where no name tells
    what a file is, and where nothing ever changes.
    """
    path = path.parent.resolve() / path.name if path.is_symlink() else path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def checked(call: Call, request: RunRequest) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return parameters and settings in their canonical form: what has none is refused before anything is computed."""
    params, settings = normalise(dict(call.params), "params"), normalise(dict(call.settings), "settings")
    refuse_credentials({"params": params, "settings": settings}, request.allow)
    return params, settings


def recipe_of(entry: str, call: Call, inputs: Mapping[str, Input], request: RunRequest, root: Path) -> Recipe:
    """Return how a call is made again."""
    return Recipe(
        kind=FUNCTION,
        entry=entry,
        inputs=inputs,
        seed_name=call.seed_name,
        files=imported_files(root),
        paths=import_paths(root),
        span=request.span,
        series=request.series,
        stage=current_stage(root),
    )


def recipe_inputs(files: Mapping[str, Path], kept: Inputs, root: Path) -> dict[str, Input]:
    """Return what a recipe says of input files, as they were kept."""
    return {
        name: Input(path_from_root(path, root), kept.md5[name], kept.names[name], FILE) for name, path in files.items()
    }


def _recipe_frames(frames: Mapping[str, Any], kept: Inputs) -> dict[str, Input]:
    """Return what a recipe says of frames that were passed in memory, as they were kept."""
    import pandas as pd

    kinds = {name: SERIES if isinstance(value, pd.Series) else FRAME for name, value in frames.items()}
    return {name: Input("", kept.md5[name], kept.names[name], kind) for name, kind in kinds.items()}


def _as_parquet(frames: Mapping[str, Any]) -> dict[str, bytes]:
    """Return frames that were passed in memory as files, so that a replay has them."""
    import pandas as pd

    contents = {}
    for name, value in frames.items():
        frame = value.to_frame() if isinstance(value, pd.Series) else value
        if not isinstance(frame, pd.DataFrame):
            raise ConfigError(f"{name} is a {type(value).__name__}, no input", hint="give a frame or a path")
        try:
            contents[name] = frame.to_parquet()
        except (ValueError, TypeError, NotImplementedError) as error:  # what pyarrow's errors are
            problem = " ".join(str(error).split())[:200]
            hint = "give columns other names or one type each, or write the file yourself and give its path"
            raise ConfigError(f"the input {name!r} cannot be kept as Parquet: {problem}", hint) from error
    return contents
