"""What we add to vectorbt's own portfolio: a method, and for a while an eye on its constructors."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from runvault.engines.vectorbt.digest import values_fingerprint
from runvault.errors import ConfigError
from runvault.model.canonical import normalise

Json: TypeAlias = Any

METHOD = "save_to_vault"
CONSTRUCTORS = ("from_holding", "from_order_func", "from_orders", "from_random_signals", "from_signals")


def extend_vectorbt(save: Callable[..., Any]) -> None:
    """Give ``vectorbt.Portfolio`` a method ``save_to_vault(**said)`` that returns ``save(portfolio, **said)``.

    Done again, the later `save` counts. Portfolios that exist already have the method too.
    """
    from vectorbt import Portfolio

    def save_to_vault(self: Any, **said: Any) -> Any:
        return save(self, **said)

    save_to_vault.__doc__ = save.__doc__
    setattr(Portfolio, METHOD, save_to_vault)


@contextmanager
def watch_constructors(built: Callable[[Any, Mapping[str, Any]], None]) -> Iterator[None]:
    """Call ``built(portfolio, arguments)`` after each constructor; `arguments` are those that it was given.

    By name, in a plain form: numbers, texts and flags as they are, functions by their names, and of arrays, such as
    signals, a fingerprint. Left out are the prices, which the portfolio has itself, and what has no such form.
    ``constructor`` is which one it was. One constructor may call another: the outermost counts.
    """
    from vectorbt import Portfolio

    originals = {name: Portfolio.__dict__[name] for name in CONSTRUCTORS if name in Portfolio.__dict__}
    running = threading.local()  # a constructor in another thread is not one that this one calls

    def watched(original: Any) -> Any:
        signature = inspect.signature(original.__func__)

        @wraps(original.__func__)
        def construct(cls: type, *args: Any, **kwargs: Any) -> Any:
            outermost = not getattr(running, "inside", False)
            running.inside = True
            try:
                portfolio = original.__func__(cls, *args, **kwargs)
            finally:
                running.inside = not outermost
            if outermost:
                given = _given(signature.bind_partial(cls, *args, **kwargs))
                built(portfolio, {"constructor": original.__func__.__name__, **_plain(given)})
            return portfolio

        return classmethod(construct)

    try:
        for name, original in originals.items():
            setattr(Portfolio, name, watched(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(Portfolio, name, original)


def _given(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return the arguments of a call by name, without the class and the prices."""
    given = dict(bound.arguments)
    for name, each in bound.signature.parameters.items():
        if each.kind is each.VAR_KEYWORD:
            given.update(given.pop(name, {}))
    return {name: value for name, value in given.items() if name not in ("cls", "close")}


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: _as_plain(value) for name, value in given.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _as_plain(value: Any) -> Json:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (np.ndarray, pd.DataFrame, pd.Series)):
        return values_fingerprint(value)
    if isinstance(value, (list, tuple)):
        return values_fingerprint([str(_as_plain(item)) for item in value]) if value else None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # an infinite size is all there is
    if callable(value):
        return getattr(value, "__name__", None)
    try:
        return normalise(value)
    except ConfigError:
        return None
