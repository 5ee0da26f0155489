"""A Git-native, content-addressed archive for backtest runs.

The names below are loaded on first use: importing runvault imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runvault.api.extend import extend_vectorbt
    from runvault.api.record import autosave, record
    from runvault.api.run import Run
    from runvault.api.runs import Runs
    from runvault.api.saved import Saved, SavedSweep
    from runvault.api.vault import Vault
    from runvault.api.vault import init_vault as init
    from runvault.api.vault import open_vault as open  # noqa: A004 - runvault.open reads well, and shadows nothing
    from runvault.engines.result import Result
    from runvault.errors import (
        AmbiguousRunError,
        ArtifactMissingError,
        BranchMovedError,
        BusyError,
        ConfigError,
        FormatError,
        IntegrityError,
        MetricInputError,
        ReplayError,
        RunNotFoundError,
        RunvaultError,
        SchemaTooNewError,
        UntrustedPickleError,
        VaultNotFoundError,
    )

__version__ = "0.1.0"

__all__ = [
    "AmbiguousRunError",
    "ArtifactMissingError",
    "BranchMovedError",
    "BusyError",
    "ConfigError",
    "FormatError",
    "IntegrityError",
    "MetricInputError",
    "ReplayError",
    "Result",
    "Run",
    "RunNotFoundError",
    "Runs",
    "RunvaultError",
    "Saved",
    "SavedSweep",
    "SchemaTooNewError",
    "UntrustedPickleError",
    "Vault",
    "VaultNotFoundError",
    "autosave",
    "extend_vectorbt",
    "init",
    "open",
    "record",
]

_HOMES = {
    "Result": "engines.result",
    "Run": "api.run",
    "Runs": "api.runs",
    "Saved": "api.saved",
    "SavedSweep": "api.saved",
    "Vault": "api.vault",
    "autosave": "api.record",
    "extend_vectorbt": "api.extend",
    "init": "api.vault",
    "open": "api.vault",
    "record": "api.record",
}
_INNER_NAMES = {"init": "init_vault", "open": "open_vault"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'runvault' has no attribute {name!r}")
    home = importlib.import_module(f"runvault.{_HOMES.get(name, 'errors')}")
    return getattr(home, _INNER_NAMES.get(name, name))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
