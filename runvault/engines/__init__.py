"""Floor 2: what a backtesting engine produced, as a `Result`."""

from __future__ import annotations

from typing import Any

from runvault.engines.result import Result, Sweep
from runvault.errors import ConfigError


def extract(result: Any) -> Result:
    """Return any engine's result as a `Result`; a `Result` is given back as it is.

    Raises
    ------
    ConfigError
        No engine knows objects of this type.
    """
    if isinstance(result, Result):
        return result
    if _is_vectorbt(result):
        from runvault.engines.vectorbt.extract import extract as extract_vectorbt

        return extract_vectorbt(result)
    raise _unknown(result)


def extract_sweep(result: Any) -> Sweep:
    """Return a multi-column result of any engine as a `Sweep`; a `Sweep` is given back as it is.

    Raises
    ------
    ConfigError
        No engine knows objects of this type.
    """
    if isinstance(result, Sweep):
        return result
    if _is_vectorbt(result):
        from runvault.engines.vectorbt.sweep import extract_sweep as extract_vectorbt

        return extract_vectorbt(result)
    raise _unknown(result)


def _is_vectorbt(result: Any) -> bool:
    """Tell by name, not by isinstance: asking must not import an engine that is not in use."""
    return any(
        base.__module__.startswith("vectorbt.") and base.__name__ == "Portfolio" for base in type(result).__mro__
    )


def _unknown(result: Any) -> ConfigError:
    kind = f"{type(result).__module__}.{type(result).__qualname__}"
    return ConfigError(f"cannot archive a {kind}", hint="save a vectorbt.Portfolio")
