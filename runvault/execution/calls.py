"""One call of an entry: which argument is an input, the seed, a setting or a parameter; then the call itself."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from runvault.engines import extract
from runvault.engines.result import Result
from runvault.errors import ConfigError, ReplayError, RunvaultError
from runvault.execution.in_force import engine_settings, is_default, seeded
from runvault.execution.shapes import check_callable, name_of, refuse_method

Json: TypeAlias = Any

SEED = "seed"


@dataclass(frozen=True)
class Ran:
    """What a call gave: the object itself, what is archived of it, and the seconds that it took."""

    returned: Any
    result: Result
    duration_s: float

    def with_warnings(self, warnings: Sequence[str]) -> Ran:
        """Return the same with more for the manifest to say."""
        return replace(self, result=replace(self.result, warnings=(*self.result.warnings, *warnings)))


@dataclass(frozen=True)
class Call:
    """An entry with everything it is called with.

    `params` are all its arguments but inputs, seed and settings, defaults included; `settings` all that was said,
    also what the entry does not take.
    """

    function: Callable[..., Any]
    params: Mapping[str, Any]
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    seed: int
    seed_name: str | None

    def run(self) -> Ran:
        """Call the entry and return what it gave.

        Raises
        ------
        EntryError
            It raised.
        ReplayError
            It returned what no engine knows.
        """
        with engine_settings(self.settings):  # they decide statistics, too, such as the length of a year
            returned, duration_s = self.given()
            return Ran(returned, as_result(returned, name_of(self.function)), duration_s)

    def given(self) -> tuple[Any, float]:
        """Call the entry and return the object that it gave, as it is, and the seconds that it took."""
        with seeded(self.seed), engine_settings(self.settings):
            started = time.perf_counter()
            returned = self._returned()
            return returned, time.perf_counter() - started

    def _returned(self) -> Any:
        taken = {name: value for name, value in self.settings.items() if name in _names(self.function)}
        seed = {self.seed_name: self.seed} if self.seed_name else {}
        try:
            return self.function(**{**self.params, **taken, **self.inputs, **seed})
        except RunvaultError:
            raise
        except SystemExit as error:  # with status 0 it would look as if the run had been archived
            raise EntryError(f"{name_of(self.function)} ended the program with status {error.code}") from error
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise EntryError(f"{name_of(self.function)} raised {type(error).__name__}: {text}") from error


class EntryError(ReplayError):
    """The entry raised; what it raised is the cause."""


def bind(
    function: Callable[..., Any],
    *,
    params: Mapping[str, Any],
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any],
    seed: int,
) -> Call:
    """Return the call that a function makes of what was said.

    Raises
    ------
    ConfigError
        A parameter or an input that the function does not take, an argument that nothing was said of, or a function
        that returns no result when it is called: a coroutine, a generator.
    """
    signature = inspect.signature(function)
    check_callable(function)
    takes = _names(function)
    free = any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    _refuse_unknown(function, "parameter", params, takes, free)
    _refuse_unknown(function, "input", inputs, takes, free)
    seed_name = SEED if SEED in takes and SEED not in params and SEED not in inputs else None
    given = {*params, *inputs, *(settings.keys() & takes), seed_name}
    defaults = {
        name: each.default
        for name, each in signature.parameters.items()
        if name not in given and each.default is not each.empty
    }
    missing = [name for name in takes if name not in given and name not in defaults]
    if missing:
        refuse_method(function)
        hint = f"give it with --param {missing[0]}=…, or --data {missing[0]}=PATH where it is an input"
        raise ConfigError(f"{name_of(function)} needs {', '.join(missing)}", hint=hint)
    return Call(function, {**params, **defaults}, settings, inputs, seed, seed_name)


def takes_setting(function: Callable[..., Any], name: str) -> bool:
    """Return whether a setting reaches anything: an argument of the entry, or a default of vectorbt's portfolios."""
    return name in _names(function) or is_default(name)


def arguments_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a function takes."""
    return list(_names(function))


def as_result(returned: Any, name: str) -> Result:
    """Return what an entry gave as a `Result`; ReplayError where it gave nothing that can be archived."""
    if returned is None:
        raise ReplayError(f"{name} returned None", hint="it should return the vectorbt.Portfolio")
    try:
        return extract(returned)
    except ConfigError as error:
        raise ReplayError(f"{name} returned no result: {error}", hint=error.hint) from error


def _names(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in inspect.signature(function).parameters.items() if each.kind in kinds]


def _refuse_unknown(
    function: Callable[..., Any], what: str, given: Mapping[str, Any], takes: list[str], free: bool
) -> None:
    for name in given:
        if name not in takes and not free:
            hint = f"its arguments are {', '.join(takes)}" if takes else "it takes no arguments"
            raise ConfigError(f"{name_of(function)} takes no {what} {name!r}", hint=hint)
