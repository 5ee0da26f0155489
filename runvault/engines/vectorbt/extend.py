"""What we add to vectorbt's own portfolio: a method, and for a while an eye on its constructors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

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
    """Call ``built(portfolio, arguments)`` after each constructor; `arguments` are the plain ones it was given by name.

    One constructor may call another: the outermost counts.
    """
    from vectorbt import Portfolio

    originals = {name: Portfolio.__dict__[name] for name in CONSTRUCTORS if name in Portfolio.__dict__}
    depth = 0

    def watched(original: Any) -> Any:
        @wraps(original.__func__)
        def construct(cls: type, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                portfolio = original.__func__(cls, *args, **kwargs)
            finally:
                depth -= 1
            if depth == 0:
                built(portfolio, {name: value for name, value in kwargs.items() if _is_plain(value)})
            return portfolio

        return classmethod(construct)

    try:
        for name, original in originals.items():
            setattr(Portfolio, name, watched(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(Portfolio, name, original)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))
