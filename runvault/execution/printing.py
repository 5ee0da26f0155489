"""The lines that run a run by hand: shell and Python, with plain git and plain DVC, in a clone that has the archive."""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from runvault.execution.programs import filled
from runvault.execution.recipe import COMMAND, SERIES, Input, Recipe

Json: TypeAlias = Any

_READERS = {".parquet": "pd.read_parquet", ".csv": "pd.read_csv", ".feather": "pd.read_feather"}


def replay_lines(manifest: Mapping[str, Json], branch: str) -> str:
    """Return a shell script that ends in the run's statistics.

    Raises
    ------
    ReplayError
        The run was saved without a recipe.
    """
    recipe = Recipe.from_manifest(manifest)
    commit = (manifest.get("code") or {}).get("commit") or "HEAD"
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
    return [
        *([] if place == "." else [f"mkdir -p {place}"]),
        f"({away}RUNVAULT_DISABLED=1 {words})",
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
    module, _, function = recipe.entry.partition(":")
    config = manifest["config"]
    words = dict(config["params"])
    if recipe.seed_name:
        words[recipe.seed_name] = manifest["seed"]
    lines = ["import json, random, sys", "import numpy as np", "import pandas as pd", "sys.path.insert(0, '.')"]
    lines += [f"random.seed({manifest['seed']}); np.random.seed({manifest['seed'] % 2**32})"]
    if module.endswith(".py"):
        lines += ["import runpy", f"entry = runpy.run_path({module!r})[{function!r}]"]
    else:
        lines += [f"from {module} import {function} as entry"]
    lines += [f"inputs = {{{', '.join(f'{name!r}: {_read(each)}' for name, each in recipe.inputs.items())}}}"]
    lines += [f"words = json.loads({json.dumps(words)!r})"]
    for name, kind in recipe.vectorized.items():
        lines += [f"words[{name!r}] = np.array([words[{name!r}]], dtype={kind!r})"]
    lines += ["print(entry(**inputs, **words).stats())"]
    return lines


def _read(given: Input) -> str:
    reader = _READERS.get(PurePosixPath(_path(given)).suffix.lower(), "")
    return f"{reader}({_path(given)!r})" + (".iloc[:, 0]" if given.kind == SERIES else "")
