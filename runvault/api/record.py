"""Archiving from inside a program: a decorator for a function, a context for every portfolio that is built."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from runvault.errors import ConfigError
from runvault.execution.entries import WRAPPED, entry_of
from runvault.execution.shapes import check_recordable, refuse_method

if TYPE_CHECKING:
    from runvault.api.saved import Saved
    from runvault.api.vault import Vault

Json: TypeAlias = Any
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DISABLED = "RUNVAULT_DISABLED"


def is_disabled() -> bool:
    """Return whether recording is switched off in the environment."""
    return os.environ.get(DISABLED, "").lower() not in ("", "0", "false", "no")


def record(
    function: Callable[P, R] | None = None,
    *,
    strategy: str | None = None,
    data: Mapping[str, str | Path] | None = None,
    settings: Mapping[str, Json] | None = None,
    series: Sequence[str] | Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    note: str = "",
    allow: Sequence[str] = (),
    save: bool = True,
    force: bool = False,
    snapshot_all: bool = False,
    vault: Vault | None = None,
) -> Any:
    """Archive what a function returns, each time that it is called.

    Its arguments become parameters, defaults included; a pandas object, a `Path` and what `data` names are inputs
    (files are read by their extension), and an argument called ``seed`` is the seed. Called again with equal words,
    inputs and code, the function does not run: it is given back the archived portfolio, rebuilt. What else a function
    depends on is not seen: a global set at run time, the environment, a file that it opens itself. Make it an
    argument, or say `force`. Static methods and partials are functions, too: the words of a partial are parameters. A
    lambda, a closure and a function of a notebook are archived with a warning, as no replay finds them in a file.

    Parameters
    ----------
    strategy : str, optional
        The function's name by default.
    data : mapping of argument to path, optional
        Input files for arguments that a caller leaves out.
    settings : mapping, optional
        Settings of the run; those that vectorbt's portfolios know are its defaults meanwhile.
    series : sequence of str, or mapping of str to str, optional
        The inputs that are time series, which `replay` with other dates cuts, with the column of their times where
        several hold some. By default all whose index or one column holds times.
    save : bool
        False switches recording off, as ``RUNVAULT_DISABLED=1`` does: the function always runs, with the same inputs,
        settings and seed as when recorded, and nothing is archived.
    force : bool
        Run what is archived already, too.
    snapshot_all : bool
        Keep all untracked files with the code, not only those that were imported.
    vault : Vault, optional
        The archive of the current folder by default, opened at the first call.

    Returns
    -------
    callable
        The function, with an attribute ``saved``: what the last call archived (`Saved`), None before.

    Raises
    ------
    ConfigError
        Where it is written above a class, a method, or a function that takes arguments without a name: what an object
        holds would be no parameter. At a call: an argument has no canonical form, or looks like a credential.
    Exception
        What the function raises, as it is.
    """
    said = {
        "strategy": strategy,
        "settings": settings or {},
        "series": series,
        "tags": tags,
        "note": note,
        "allow": allow,
        "force": force,
        "snapshot_all": snapshot_all,
    }

    def decorate(wrapped: Any) -> Any:
        if isinstance(wrapped, staticmethod):
            return staticmethod(decorate(wrapped.__func__))
        if isinstance(wrapped, classmethod):
            refuse_method(wrapped.__func__)
        if not callable(wrapped):
            hint = 'write it above a function, as it is or as @runvault.record(strategy="…")'
            raise ConfigError(f"record is given a {type(wrapped).__name__}, no function", hint=hint)
        recorder = _Recorder(wrapped, data or {}, vault, said)
        if save and not is_disabled():
            check_recordable(recorder.function)

        @functools.wraps(recorder.function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not save or is_disabled():
                return recorder.call_unrecorded(args, kwargs)  # type: ignore[no-any-return]
            returned, saved = recorder.call(args, kwargs)
            setattr(call, "saved", saved)  # noqa: B010 - functions have no such attribute for a type checker
            return returned  # type: ignore[no-any-return]

        setattr(call, "saved", None)  # noqa: B010
        setattr(call, WRAPPED, wrapped)
        return call

    return decorate if function is None else decorate(function)


class _Recorder:
    def __init__(
        self,
        function: Callable[..., Any],
        data: Mapping[str, str | Path],
        vault: Vault | None,
        said: Mapping[str, Any],
    ) -> None:
        # A partial is its function, called with more: by that name a replay finds it, with all words as parameters.
        self._given = function if isinstance(function, functools.partial) else functools.partial(function)
        self.function = self._given.func
        self._signature = inspect.signature(self.function)
        self._data = data
        self._vault = vault
        self._said = said

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Saved]:
        from runvault.api.running import record_call
        from runvault.api.vault import open_vault

        check_recordable(self.function)  # recording may have been off when it was decorated
        vault = self._vault or open_vault()
        entry = entry_of(self.function, vault.stores.code.work_tree or Path.cwd())
        given = self._sorted(args, kwargs)
        return _as_raised(lambda: record_call(vault, self.function, entry, *given, self._said))

    def call_unrecorded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from runvault.api.running import call_unrecorded

        given = self._sorted(args, kwargs)
        return _as_raised(lambda: call_unrecorded(self.function, *given, self._said["settings"]))

    def _default_seed(self) -> int:
        known = self._signature.parameters.get("seed")
        return 0 if known is None or known.default in (None, known.empty) else known.default

    def _sorted(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Path], dict[str, Any], Any]:
        """Return a call's parameters, its input files and the frames among its arguments, by name; and its seed."""
        import pandas as pd

        bound = self._signature.bind_partial(*self._given.args, *args, **{**self._given.keywords, **kwargs})
        given = dict(bound.arguments)
        for name, each in self._signature.parameters.items():
            if each.kind is each.VAR_KEYWORD:
                given.update(given.pop(name, {}))
        frames = {name: value for name, value in given.items() if isinstance(value, (pd.DataFrame, pd.Series))}
        named = {name: value for name, value in given.items() if name in self._data and name not in frames}
        paths = {name: value for name, value in given.items() if isinstance(value, Path)}
        files = {name: Path(path) for name, path in {**self._data, **paths, **named}.items() if name not in frames}
        params = {name: value for name, value in given.items() if name not in frames and name not in files}
        return params, files, frames, params.pop("seed", self._default_seed())


def _as_raised(call: Callable[[], T]) -> T:
    """Let what a function raised reach its caller as it is: programs catch errors of their own by their type."""
    from runvault.execution.calls import EntryError

    try:
        return call()
    except EntryError as error:
        raised = error.__cause__ or error
    raise raised  # outside of the handler, or each would be told twice


@contextmanager
def autosave(
    *,
    strategy: str,
    params: Mapping[str, Json] | None = None,
    settings: Mapping[str, Json] | None = None,
    tags: Sequence[str] = (),
    vault: Vault | None = None,
) -> Iterator[list[Saved]]:
    """Archive every ``vectorbt.Portfolio`` that is built inside the block by one of its ``from_…`` constructors.

    The constructor's name and arguments are the parameters, besides `params`: of arrays, such as signals, a
    fingerprint, so that portfolios of other signals are other runs. A portfolio of several columns is one run. Yields
    the list that the outcomes (`Saved`) are put into::

        with runvault.autosave(strategy="try-out") as saved:
            vbt.Portfolio.from_holding(close, init_cash=100)
    """
    from runvault.api.vault import open_vault
    from runvault.engines.vectorbt.extend import watch_constructors

    outcomes: list[Saved] = []
    if is_disabled():
        yield outcomes
        return
    target = vault or open_vault()

    def built(portfolio: Any, arguments: Mapping[str, Any]) -> None:
        said = {**arguments, **(params or {})}
        outcomes.append(target.save(portfolio, strategy=strategy, params=said, settings=settings, tags=tags))

    with watch_constructors(built):
        yield outcomes
