"""A method of ours on vectorbt's own portfolio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

METHOD = "save_to_vault"


def extend_vectorbt(save: Callable[..., Any]) -> None:
    """Give ``vectorbt.Portfolio`` a method ``save_to_vault(**said)`` that returns ``save(portfolio, **said)``.

    Done again, the later `save` counts. Portfolios that exist already have the method too.
    """
    from vectorbt import Portfolio

    def save_to_vault(self: Any, **said: Any) -> Any:
        return save(self, **said)

    save_to_vault.__doc__ = save.__doc__
    setattr(Portfolio, METHOD, save_to_vault)
