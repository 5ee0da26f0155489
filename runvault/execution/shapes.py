"""Which functions a call can be archived of: those that are called again with nothing but their arguments, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from runvault.errors import ConfigError

_OTHER_FUNCTIONS = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)

PLAIN = "make it a function, or a static method, whose arguments are all that it depends on"


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name, for messages and as the strategy's name where none was said."""
    if isinstance(function, partial):
        return name_of(function.func)
    return str(getattr(function, "__qualname__", None) or type(function).__name__)


def check_callable(function: Callable[..., Any]) -> None:
    """Raise ConfigError for a function that cannot be called by names, or that returns no result when it is called."""
    if any(is_other(function) for is_other in _OTHER_FUNCTIONS):
        hint = "name, or decorate, the function that returns the portfolio"
        raise ConfigError(f"{name_of(function)} is a coroutine or a generator: a call of it returns no result", hint)
    for name, each in inspect.signature(function).parameters.items():
        if each.kind is each.POSITIONAL_ONLY or each.kind is each.VAR_POSITIONAL:
            hint = "declare it as an argument that can be given by its name"
            raise ConfigError(f"{name_of(function)}: argument {name!r} has no name to be called by", hint=hint)


def check_recordable(function: Callable[..., Any]) -> None:
    """Raise ConfigError for what is no plain function: what an object or a class holds is not among the arguments."""
    name = name_of(function)
    if inspect.isclass(function):
        raise ConfigError(f"{name} is a class, no function", hint="record a function that returns the portfolio")
    if not hasattr(function, "__qualname__"):
        raise ConfigError(f"an object of the class {name} is no function: what it holds is no parameter", hint=PLAIN)
    refuse_method(function)
    check_callable(function)


def refuse_method(function: Callable[..., Any]) -> None:
    """Raise ConfigError for a method that takes an object, or a class that is not there yet, or is bound to an object.

    A class method that was asked of its class is none of these.
    """
    place = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    names = list(inspect.signature(function).parameters)
    takes_object = place and not place.endswith("<locals>") and names[:1] in (["self"], ["cls"])
    if takes_object or (inspect.ismethod(function) and not inspect.isclass(function.__self__)):
        raise ConfigError(f"{name_of(function)} is a method: what its object holds is no parameter", hint=PLAIN)
