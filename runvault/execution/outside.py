"""Code that an entry uses and no archive keeps: it lies beside the repository and is no installed package.

Such is a package that is installed from another checkout to be edited, or found through ``PYTHONPATH``. A replay runs
what it holds then, and nothing else would say that this may be other code than it was.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from runvault.execution.entries import is_installed, modules_in

_OWN = {*sys.stdlib_module_names, "runvault"}


def warn_of_code_outside(function: Callable[..., Any], root: Path) -> list[str]:
    """Return what a run's manifest says of the code outside of the repository that a function may use.

    What the imported modules of the repository have at their top counts, and what lies outside has at its own; what a
    function imports on its way is not seen.
    """
    told = "lies outside of the repository and is not kept: a replay runs what it holds then"
    packages = {module.__name__.partition(".")[0] for module in _used_outside(function, root.resolve())}
    return [f"{name} {told}" for name in sorted(packages)]


def _used_outside(function: Callable[..., Any], root: Path) -> Iterator[ModuleType]:
    todo = _modules_of(getattr(function, "__globals__", {})) | {name for name, _ in modules_in(root)}
    seen = set(todo)
    while todo:
        module = sys.modules.get(todo.pop())
        place = None if module is None else _place_of(module)
        if module is None or place is None or is_installed(place, root):
            continue
        if not place.is_relative_to(root):
            yield module
        todo |= _modules_of(vars(module)) - seen
        seen |= todo


def _modules_of(names: Mapping[str, Any]) -> set[str]:
    """Return the modules that names stand for, and those in which what they stand for was written."""
    values = list(names.values())
    modules = {value.__name__ for value in values if isinstance(value, ModuleType)}
    return modules | {value.__module__ for value in values if inspect.isfunction(value) or isinstance(value, type)}


def _place_of(module: ModuleType) -> Path | None:
    """Return where the source of a module lies; None for Python's own, and for ours."""
    file = getattr(module, "__file__", None)
    return None if type(file) is not str or module.__name__.partition(".")[0] in _OWN else _resolved(file)


@cache
def _resolved(file: str) -> Path:
    return Path(file).resolve()
