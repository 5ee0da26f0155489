"""The results digest from what is archived, to see whether a manifest still speaks of its own tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runvault.engines.vectorbt.digest import portfolio_digest, results_digest
from runvault.engines.vectorbt.rebuild import rebuild

if TYPE_CHECKING:
    from runvault.engines.result import Number, PortfolioTables


def recomputed_digest(tables: PortfolioTables, metrics: Mapping[str, Number]) -> str:
    """Return the results digest of a portfolio rebuilt from its tables, and of the metrics recorded with it.

    Raises
    ------
    FormatError
        It cannot be rebuilt.
    """
    return results_digest(portfolio_digest(rebuild(tables)), metrics)
