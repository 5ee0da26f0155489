"""The function that a recipe calls: from ``FILE.py:function`` or ``module:function`` to the function itself."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from runvault.errors import ReplayError

WRAPPED = "__runvault_entry__"  # what `record` leaves on the function it returns: the function as it was written

SHOWN = 3  # functions that a hint names

_SYNTAX = re.compile(
    r"(?P<module>[^:]+\.py|[^:./\\]+(\.[^:./\\]+)*):(?P<function>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)", re.ASCII
)


def load_entry(entry: str, root: Path, paths: Sequence[str] = ()) -> Callable[..., Any]:
    """Import what an entry names and return its function, undecorated.

    Parameters
    ----------
    entry : str
        ``FILE.py:function``, the file relative to `root` or absolute, or ``module:function``.
    root : Path
        The root of the repository: first on ``sys.path`` from now on.
    paths : sequence of str
        Folders below `root` that follow it there.

    Raises
    ------
    ReplayError
        There is no such file, module or function, or importing it raised.
    """
    parts = _SYNTAX.fullmatch(entry)
    if parts is None:
        raise ReplayError(f"{entry!r} is no entry", hint="write FILE.py:function or module:function")
    for path in ("", *paths)[::-1]:
        _put_first(root / path)
    name = parts["module"]
    with _explained(entry):
        module = _load_file(Path(name), root) if name.endswith(".py") else importlib.import_module(name)
    return _function(module, parts["function"], entry)


def forget_modules(root: Path) -> None:
    """Forget every imported module that lies in the repository, so that what runs next is what its files hold now."""
    for name in [name for name, _ in modules_in(root) if name != "__main__"]:
        del sys.modules[name]


def modules_in(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and file of each imported module whose source lies in the repository.

    Left out are installed packages and Python's own (an environment may lie in the repository), and runvault itself.
    """
    return iter(_seen_in(os.path.join(root.resolve(), "")).items())  # noqa: PTH118 - pathlib drops the last separator


@dataclass(frozen=True)
class _Seen:
    """The modules that were imported when this was last asked for, and those of them that lie in a folder."""

    inside: str = ""
    modules: Mapping[str, ModuleType] = field(default_factory=dict)
    places: Mapping[str, Path] = field(default_factory=dict)


_seen = _Seen()


def _seen_in(inside: str) -> Mapping[str, Path]:
    """Return where the modules in a folder lie, looking at new ones alone: vectorbt brings 2,500."""
    global _seen  # one root's at a time: no modules are held for the sake of another's
    seen = _seen if _seen.inside == inside else _Seen(inside)
    modules = sys.modules.copy()
    if modules != seen.modules:
        same = {name for name, module in modules.items() if seen.modules.get(name) is module}
        places = {name: path for name, path in seen.places.items() if name in same}
        for name, module in modules.items():
            path = None if name in same else _source_in(name, module, inside)
            if path is not None:
                places[name] = path
        seen = _Seen(inside, modules, places)
    _seen = seen
    return seen.places


def _source_in(name: str, module: ModuleType, inside: str) -> Path | None:
    """Return where a module's source lies; None where it is not in a folder, or is an installed package's or ours."""
    file = getattr(module, "__file__", None)
    if name.partition(".")[0] == "runvault" or type(file) is not str or not _real_path(file).startswith(inside):
        return None
    path = Path(_real_path(file))
    return path if file.endswith(".py") and not is_installed(path, Path(inside)) else None


def is_installed(path: Path, root: Path) -> bool:
    """Return whether a file or folder is of an installed package, or of a Python that lies in the repository itself."""
    if not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
        return True
    return any(root in prefix.parents and path.is_relative_to(prefix) for prefix in _prefixes())


@cache
def _prefixes() -> tuple[Path, ...]:
    """Return where Python lies, and the virtual environment that this process may run in."""
    return tuple({Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()})


@cache
def _real_path(file: str) -> str:
    """Return where a module's source really lies."""
    path = Path(file)
    return str(path.resolve() if path.is_symlink() else real_folder(path.parent) / path.name)


@cache
def real_folder(folder: Path) -> Path:
    """Return a folder without links, as it was when it was first asked for."""
    return folder.resolve()


def entry_of(function: Callable[..., Any], root: Path) -> str | None:
    """Return the entry that names a function, None where none can: a notebook's, a closure, a lambda.

    Its file is that of the function as it was written, not of a decorator; and what has its name there is this one.
    """
    function = getattr(function, WRAPPED, function)
    name, path = getattr(function, "__qualname__", "<unnamed>"), _written_in(function)
    if "<" in name or path is None or not path.is_file() or not path.is_relative_to(root.resolve()):
        return None
    module: Any = sys.modules.get(function.__module__)
    if module is not None and _attribute(module, name) != function:
        return None
    return f"{path.relative_to(root.resolve()).as_posix()}:{name}"


def is_defined_in(function: Callable[..., Any], root: Path) -> bool:
    """Return whether a function's own source lies in a folder; False for one without source, such as a builtin."""
    path = _written_in(function)
    return path is not None and path.is_relative_to(root.resolve())


def _written_in(function: Callable[..., Any]) -> Path | None:
    """Return the file of the source behind decorators and partials; None where there is none, as of a builtin."""
    while (inner := function.func if isinstance(function, partial) else inspect.unwrap(function)) is not function:
        function = inner
    code = getattr(function, "__code__", None)
    return None if code is None else Path(code.co_filename).resolve()


def _attribute(module: Any, name: str) -> Any:
    """Return what a dotted name is in a module, undecorated; None where there is no such thing."""
    for part in name.split("."):
        module = getattr(module, part, None)
    return getattr(module, WRAPPED, module)


def _source_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    return Path(file).resolve()


def _put_first(folder: Path) -> None:
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _load_file(path: Path, root: Path) -> ModuleType:
    path = (path if path.is_absolute() else root / path).resolve()
    if not path.is_file():
        raise ReplayError(f"there is no file {str(path)!r}", hint="name the file from the root of the repository")
    package = path.parent
    while (package / "__init__.py").is_file():
        package = package.parent
    if package != path.parent:  # inside packages: under its dotted name, so that its relative imports work
        if str(package) not in sys.path:
            sys.path.insert(1, str(package))
        module = importlib.import_module(".".join(path.relative_to(package).with_suffix("").parts))
        if _source_of(module) != path:  # such as that of another repository, or an installed one
            what = f"{module.__name__!r} is imported from {str(_source_of(module))!r}, not from {str(path)!r}"
            raise ReplayError(what, hint="run it in a process of its own, where no other package has its name")
        return module
    if str(path.parent) not in sys.path:  # a script finds what lies beside it
        sys.path.insert(1, str(path.parent))
    known = sys.modules.get(path.stem)
    if known is not None and _source_of(known) == path:
        return known
    return _executed(path, path.stem if known is None else f"runvault_entry_{path.stem}")


def _executed(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ReplayError(f"{str(path)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _function(module: ModuleType, name: str, entry: str) -> Callable[..., Any]:
    found = _attribute(module, name)
    if not callable(found):
        kind = "no" if found is None else f"a {type(found).__name__}, not a"
        raise ReplayError(f"{entry!r}: there is {kind} function {name!r} in {module.__name__}", _others(module, name))
    function: Callable[..., Any] = found
    return function


def _others(module: ModuleType, name: str) -> str:
    """Return a hint that names functions which a module defines, those first that are called nearly so."""
    own = [key for key, found in vars(module).items() if getattr(found, "__module__", None) == module.__name__]
    functions = [key for key in own if callable(getattr(module, key)) and not key.startswith("_")]
    near = difflib.get_close_matches(name, functions, n=SHOWN)
    shown = near or functions[:SHOWN]
    return f"it has {', '.join(shown)}" if shown else "it defines no function; is it the right file?"


@contextmanager
def _explained(entry: str) -> Iterator[None]:
    try:
        yield
    except ReplayError:
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename).name}, line {error.lineno}" if error.filename else "its source"
        hint = "mend that line, then run it again" if error.filename else "is it Python?"
        raise ReplayError(f"{entry!r} cannot be imported: {error.msg} ({where})", hint) from error
    except ModuleNotFoundError as error:
        raise ReplayError(
            f"{entry!r} cannot be imported: {error}", hint="is it installed, and named rightly?"
        ) from error
    except SystemExit as error:  # a script that does its work when it is imported
        hint = "put what the script does behind: if __name__ == '__main__'"
        raise ReplayError(
            f"{entry!r} cannot be imported: it ends the program with status {error.code}", hint
        ) from error
    except Exception as error:
        raise ReplayError(f"{entry!r} cannot be imported: {type(error).__name__}: {error}") from error
