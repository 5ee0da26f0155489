"""Running any program and archiving the result that it leaves, unless equal code has archived that already."""

from __future__ import annotations

import difflib
import shlex
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from runvault.archive.inputs import keep_inputs
from runvault.archive.saving import save_result
from runvault.archive.stores import Stores
from runvault.errors import ConfigError
from runvault.execution.calls import SEED, Ran, as_result
from runvault.execution.code import code_member, import_paths, new_snapshot, refuse_secret_code, warnings_of
from runvault.execution.known import find_known
from runvault.execution.pipelines import current_stage
from runvault.execution.programs import filled, places_in, read_result, run_program
from runvault.execution.recipe import COMMAND, Recipe
from runvault.execution.run import (
    Provide,
    RunOutcome,
    RunRequest,
    annotate_known,
    in_repository,
    path_from_root,
    recipe_inputs,
    refuse_dirty,
    work_tree_of,
)
from runvault.model.canonical import normalise, refuse_credentials
from runvault.stores.git.code import blob_of_file, untracked_files
from runvault.stores.git.snapshots import Snapshot

Json: TypeAlias = Any

RESULT = "result"

WORDS = "command"
"""The parameter that holds the command as it was given, so that other commands have other addresses."""


def run_command(
    stores: Stores, command: Sequence[str], result: Path, request: RunRequest, provide: Provide
) -> RunOutcome:
    """Run a program in the current folder, and archive the portfolio that it leaves.

    Parameters
    ----------
    command : sequence of str
        The program with its arguments; ``{name}`` stands for a parameter's or setting's value, an input's path,
        ``{seed}`` and ``{result}``.
    result : Path
        Where the program leaves the pickle of a ``vectorbt.Portfolio``. What is there before does not count: it is
        put aside meanwhile, and back where the program fails.

    Raises
    ------
    ReplayError
        It cannot be started, ends with another status than 0, or leaves no result; or it runs outside the repository.
    ConfigError
        What was said has no canonical form, or cannot be said of a command.
    """
    root = work_tree_of(stores)
    result = in_repository(result, root)
    _check(command, result, request)
    params = {**normalise(dict(request.params), "params"), WORDS: list(command)}
    settings = normalise(dict(request.settings), "settings")
    refuse_credentials({"params": params, "settings": settings, WORDS: _options(command)}, request.allow)
    apart = {result, *(path.resolve() for path in request.data.values())}
    untold = _untold(command, request, {**settings, **params})
    taken, files = _code(stores, command, apart, root, every_untracked=request.snapshot_all)
    refuse_dirty(taken, required=request.require_clean)
    refuse_secret_code(taken, files, request.allow)
    kept = keep_inputs(stores, request.data)
    recipe = Recipe(
        kind=COMMAND,
        inputs=recipe_inputs(request.data, kept, root),
        files=files,
        paths=import_paths(root),
        command=tuple(command),
        result=path_from_root(result, root),
        folder=path_from_root(in_repository(Path.cwd(), root), root),
        stage=current_stage(root),
    )
    save = request.to_save(request.strategy or _name(command, root), params, settings, recipe)
    if not request.force:
        known = find_known(stores, save, recipe, root, lambda code: same_code(stores, code, taken.commit, recipe))
        if known is not None:
            stores.objects.settle(kept.md5.values())
            return RunOutcome(annotate_known(stores, known, save, provide()), left_out=taken.told())
    values = {SEED: request.seed, RESULT: str(result), **_paths(request.data), **settings, **params}
    ran = _run(filled(command, values), result, shlex.join(command)).with_warnings(
        [*untold, *warnings_of(taken, files)]
    )
    provenance = replace(provide(), code=code_member(taken))
    saved = save_result(stores, ran.result, replace(save, duration_s=ran.duration_s), provenance, kept)
    return RunOutcome(saved, ran, taken.told())


def same_code(stores: Stores, archived: Mapping[str, Json], commit: str, recipe: Recipe) -> bool:
    """Return whether a command would find the same code in `commit` as it had in that of an archived run.

    What a program reads of the repository is not known, so that all of it counts, but for the result itself.
    """
    if not archived.get("commit"):
        return False
    apart = f":(top,exclude,literal){recipe.result}"
    asked = ["diff", "--quiet", "--no-ext-diff", archived["commit"], commit, "--", ":/", apart]
    return stores.repository.git(*asked, ok=(0, 1, 128, 129)).returncode == 0


def _check(command: Sequence[str], result: Path, request: RunRequest) -> None:
    if not command or not command[0]:
        raise ConfigError("there is no command to run")
    if WORDS in request.params:
        raise ConfigError(f"a parameter cannot be called {WORDS!r}: it holds the command itself")
    if request.span or request.series is not None:
        raise ConfigError("inputs of a command are not cut: it reads them itself")
    if result.is_dir():
        raise ConfigError(f"{str(result)!r} is a folder, no place for a result")


def _untold(command: Sequence[str], request: RunRequest, values: Mapping[str, Json]) -> list[str]:
    """Return warnings of values that the program is not told, and of braces that nothing fills.

    Either may be meant: a parameter can be a mere label, and other programs have braces of their own.

    Raises
    ------
    ConfigError
        A value without a place is called nearly as braces that have no value.
    """
    places = places_in(command)
    unplaced = [name for name in (*values, *([SEED] if request.seed else [])) if name not in {*places, WORDS}]
    unfilled = sorted(filter(str.isidentifier, places - {*values, *request.data, SEED, RESULT}))
    for name in unfilled:
        near = difflib.get_close_matches(name, unplaced, n=1)
        if near:
            what = f"nothing fills {{{name}}} in the command, and {near[0]!r} stands nowhere in it"
            raise ConfigError(what, hint=f"write {{{near[0]}}}")
    told = [f"{name!r} stands nowhere in the command: the program is not told of it" for name in unplaced]
    return [*told, *(f"nothing fills {{{name}}}: the command has it as it is" for name in unfilled)]


def _code(
    stores: Stores, command: Sequence[str], apart: Collection[Path], root: Path, *, every_untracked: bool
) -> tuple[Snapshot, dict[str, str]]:
    """Keep the code, and return the files of it that the command names, with their blob ids.

    Nobody sees what a program imports: beside what it names, Python sources go into the snapshot though untracked.
    `apart` are files that it names and that are no code.
    """
    untracked = untracked_files(stores.code, "*.py")
    named = [
        path_from_root(path.resolve(), root)
        for path in map(Path, command)
        if _is_source(path, root) and path.resolve() not in apart
    ]
    taken = new_snapshot(stores, {*untracked, *named}, every_untracked=every_untracked)
    return taken, {path: blob for path in named if (blob := blob_of_file(root / path)) is not None}


def _is_source(path: Path, root: Path) -> bool:
    try:
        place = path.resolve()
        inside = place.is_file() and place.is_relative_to(root)
    except (OSError, ValueError):  # an argument that is no path: too long, or with a null
        return False
    return inside and not any((folder / "pyvenv.cfg").is_file() for folder in place.parents)


def _name(command: Sequence[str], root: Path) -> str:
    """Return a strategy's name: the script that is run, else the program."""
    return Path(next((word for word in command if _is_source(Path(word), root)), command[0])).stem


def _options(command: Sequence[str]) -> dict[str, str]:
    """Return what the options of a command are given, as far as can be told, to look for credentials."""
    given = {}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name:
            given[name] = value if equals else following
    return given


def _paths(data: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in data.items()}


def _run(argv: Sequence[str], result: Path, name: str) -> Ran:
    result.parent.mkdir(parents=True, exist_ok=True)
    with _put_aside(result):
        started = time.perf_counter()
        run_program(argv, Path.cwd())
        duration_s = time.perf_counter() - started
        returned = read_result(result, str(result))
    return Ran(returned, as_result(returned, name), duration_s)


@contextmanager
def _put_aside(path: Path) -> Iterator[None]:
    """Move a file out of the way, and back where what is done meanwhile fails."""
    if not path.exists():
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # beside it: one move, never a copy
    kept = folder / path.name
    path.rename(kept)
    try:
        yield
    except BaseException:
        kept.replace(path)
        folder.rmdir()
        raise
    kept.unlink()
    folder.rmdir()
