"""A method on vectorbt's own portfolio."""

from __future__ import annotations

from typing import Any

from runvault.api.saved import Saved


def extend_vectorbt() -> None:
    """Give ``vectorbt.Portfolio`` a method ``save_to_vault``.

    It takes what `Vault.save` takes, and ``vault=`` for another archive than the one of the current folder; it returns
    what `Vault.save` returns.
    """
    from runvault.engines.vectorbt.extend import extend_vectorbt as extend

    extend(_save)


def _save(portfolio: Any, *, vault: Any = None, **said: Any) -> Saved:
    from runvault.api.vault import open_vault

    saved: Saved = (vault or open_vault()).save(portfolio, **said)
    return saved
