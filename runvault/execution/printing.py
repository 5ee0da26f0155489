"""The lines that run a run by hand: shell and Python, with plain git and plain DVC, in a clone that has the archive."""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from runvault.execution.entries import WRAPPED
from runvault.execution.programs import filled
from runvault.execution.recipe import COMMAND, SERIES, Input, Recipe
from runvault.model.run_json import code_commit

Json: TypeAlias = Any

_READERS = {".parquet": "pd.read_parquet", ".feather": "pd.read_feather"}
_READ = "read_input"


def replay_lines(manifest: Mapping[str, Json], branch: str) -> str:
    """Return a shell script that ends in the run's statistics.

    Raises
    ------
    ReplayError
        The run was saved without a recipe.
    """
    recipe = Recipe.from_manifest(manifest)
    commit = code_commit(manifest) or "HEAD"
    folder = f"run-{manifest['id'][:8]}"
    lines = [
        "# in a clone of the repository",
        f"git cat-file -e {commit} || git fetch origin refs/runvault/code/{commit}",
        f"git worktree add --detach ../{folder} {commit}",
    ]
    lines += [_fetch(each, branch, folder) for each in recipe.inputs.values()]
    if recipe.kind == COMMAND:
        return "\n".join([*lines, f"cd ../{folder}", *_command(manifest, recipe)])
    lines += [f"cd ../{folder}", "RUNVAULT_DISABLED=1 python - <<'END'", *_python(manifest, recipe), "END"]
    return "\n".join(lines)


def _command(manifest: Mapping[str, Json], recipe: Recipe) -> list[str]:
    config = manifest["config"]
    paths = {name: _seen_from(recipe.folder, _path(each)) for name, each in recipe.inputs.items()}
    result = _seen_from(recipe.folder, recipe.result)
    values = {"seed": manifest["seed"], "result": result, **paths, **config["settings"], **config["params"]}
    words = shlex.join(filled(recipe.command, values))
    away = f"cd {shlex.quote(recipe.folder)} && " if recipe.folder not in ("", ".") else ""
    place = shlex.quote(str(PurePosixPath(recipe.result).parent))
    found = ":".join(f'"$PWD"/{shlex.quote(path)}' for path in recipe.paths)
    return [
        *([] if place == "." else [f"mkdir -p {place}"]),
        f"({f'export PYTHONPATH={found} && ' if found else ''}{away}RUNVAULT_DISABLED=1 {words})",
        "python - <<'END'",
        "import vectorbt as vbt",
        f"print(vbt.Portfolio.load({recipe.result!r}).stats())",
        "END",
    ]


def _seen_from(folder: str, path: str) -> str:
    return path if PurePosixPath(path).is_absolute() else posixpath.relpath(path, folder or ".")


def _fetch(given: Input, branch: str, folder: str) -> str:
    source = f"data/{given.md5[:2]}/{given.name}"
    target = f"../{folder}/{_path(given)}" if not PurePosixPath(_path(given)).is_absolute() else _path(given)
    place = f"mkdir -p {shlex.quote(str(PurePosixPath(target).parent))}"
    return f"{place} && dvc get . {source} --rev {shlex.quote(branch)} --force --out {shlex.quote(target)}"


def _path(given: Input) -> str:
    return given.path or given.name


def _python(manifest: Mapping[str, Json], recipe: Recipe) -> list[str]:
    config = manifest["config"]
    words = dict(config["params"])
    if recipe.seed_name:
        words[recipe.seed_name] = manifest["seed"]
    backend = (manifest.get("environment") or {}).get("backend")
    lines = ["import json, random, sys", "import numpy as np", "import pandas as pd", "sys.path.insert(0, '.')"]
    lines += [f"sys.path[1:1] = {[*recipe.paths]!r}"] if recipe.paths else []
    lines += [*_backend(backend), *_entry(recipe), *_seed(manifest["seed"])]
    lines += [*_settings(config["settings"]), *_inputs(recipe)]
    lines += [f"words = json.loads({json.dumps(words)!r})"]
    if any(isinstance(value, (str, list)) for value in config["params"].values()):
        lines += ["from runvault.execution.declared import as_declared", "words = as_declared(entry, words)"]
    for name, kind in recipe.vectorized.items():
        lines += [f"words[{name!r}] = np.array([words[{name!r}]], dtype={kind!r})"]
    if config["settings"]:
        lines += ["import inspect", "taken = inspect.signature(entry).parameters"]
        lines += ["words.update({name: value for name, value in settings.items() if name in taken})"]
    return [*lines, "print(entry(**inputs, **words).stats())"]


def _backend(name: str | None) -> list[str]:
    """Make vectorbt compute with the backend that the run was made with, as a replay does: last bits may differ."""
    if name == "rust":
        return ["import vectorbt_rust  # the run was made with it: pip install 'vectorbt[rust]'"]
    return ["import vectorbt as vbt", f"vbt.settings['engine'] = {name!r}"] if name == "numba" else []


def _entry(recipe: Recipe) -> list[str]:
    """Import the function as `entries.load_entry` does, and take it without `record` where that is above it."""
    module, _, function = recipe.entry.partition(":")
    first, *inner = function.split(".")
    if module.endswith(".py"):
        file = PurePosixPath(module)
        top = file.parent
        while (top / "__init__.py").as_posix() in recipe.files:
            top = top.parent
        lines = [] if top == PurePosixPath() else [f"sys.path.insert(1, {top.as_posix()!r})"]
        if top == file.parent:
            lines += ["import runpy", f"entry = runpy.run_path({module!r})[{first!r}]"]
        else:
            lines += [f"from {'.'.join(file.relative_to(top).with_suffix('').parts)} import {first} as entry"]
    else:
        lines = [f"from {module} import {first} as entry"]
    lines += [f"entry = entry{''.join(f'.{name}' for name in inner)}"] if inner else []
    return [*lines, f"entry = getattr(entry, {WRAPPED!r}, entry)"]


def _seed(seed: int) -> list[str]:
    short = seed % 2**32
    lines = [f"random.seed({seed}); np.random.seed({short})"]
    return [*lines, "from vectorbt.utils.random_ import set_seed_nb", f"set_seed_nb({short})"]


def _settings(settings: Mapping[str, Json]) -> list[str]:
    """Make settings that vectorbt knows its defaults, as `calls.engine_settings` does."""
    if not settings:
        return []
    return [
        "import vectorbt as vbt",
        "known = vbt.settings['portfolio']",
        f"settings = json.loads({json.dumps(dict(settings))!r})",
        "known.update({name: value for name, value in settings.items() if name in known})",
    ]


def _inputs(recipe: Recipe) -> list[str]:
    """Read the inputs with pandas alone; dates in a CSV, and a window of time, take our own reading of them."""
    read = {name: _read(each) for name, each in recipe.inputs.items()}
    ours = [name for name in (_READ, "Path") if any(f"{name}(" in call for call in read.values())]
    lines = ["from pathlib import Path"] if "Path" in ours else []
    lines += [f"from runvault.execution.series import {_READ}"] if _READ in ours else []
    lines += [f"inputs = {{{', '.join(f'{name!r}: {call}' for name, call in read.items())}}}"]
    if recipe.span:
        asked = ", ".join(f"{name}={value!r}" for name, value in recipe.span.asked().items())
        series = None if recipe.series is None else dict(recipe.series)
        lines += ["from runvault.execution.series import Span, cut_inputs, series_in"]
        lines += [f"inputs = cut_inputs(inputs, Span({asked}), series_in(inputs, {series!r}))"]
    return lines


def _read(given: Input) -> str:
    path = _path(given)
    suffix = PurePosixPath(path).suffix.lower()
    call = f"{_READERS[suffix]}({path!r})" if suffix in _READERS else f"Path({path!r})"
    if suffix == ".csv":
        call = f"{_READ}(Path({path!r}))"
    return call + (".iloc[:, 0]" if given.kind == SERIES else "")
