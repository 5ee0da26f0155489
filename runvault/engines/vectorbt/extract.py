"""A ``vectorbt.Portfolio`` into a `Result`: numbers, tables, and what it is rebuilt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pandas as pd
import vectorbt as vbt

from runvault.engines.result import Result
from runvault.engines.vectorbt.curves import equity_table, trades_table
from runvault.engines.vectorbt.digest import portfolio_digest, raw_digest, results_digest
from runvault.engines.vectorbt.inputs import find_unsafe_records, read_inputs
from runvault.engines.vectorbt.pickles import dump_pickle
from runvault.engines.vectorbt.prices import close_2d
from runvault.engines.vectorbt.settings import running_engine
from runvault.engines.vectorbt.statistics import Summary, summarise
from runvault.engines.vectorbt.window import price_data, window_of
from runvault.errors import ConfigError, MetricInputError
from runvault.model.table import Table

STRIDED = "order records were not contiguous, which vectorbt's rust engine misreads: numbers are of a contiguous copy"


def extract(pf: Any) -> Result:
    """Return what is archived of a portfolio.

    A portfolio that cannot be rebuilt is extracted all the same; ``portfolio["rebuildable"]`` is then False and a
    warning has the reason. Records that point outside the table, and prices that are no numbers, are kept out of
    compiled code: statistics, equity and trades are then absent.

    Raises
    ------
    ConfigError
        `pf` is no ``vectorbt.Portfolio``.
    """
    if not isinstance(pf, vbt.Portfolio):
        raise ConfigError(f"{type(pf).__name__} is not a vectorbt.Portfolio")
    sound, notes = with_contiguous_records(pf)
    inputs = read_inputs(sound)
    summary, derived, digest = _numbers(sound)
    window = window_of(sound)
    if inputs.reason:
        notes.append(f"the portfolio cannot be rebuilt: {inputs.reason}")
    return Result(
        statistics=summary.statistics,
        metrics=summary.metrics,
        metric_definitions=summary.metric_definitions,
        moments=summary.moments,
        window=window,
        data=price_data(sound, window),
        digest=results_digest(digest, summary.metrics),
        warnings=(*summary.warnings, *notes),
        engine="vectorbt",
        backend=running_engine(pf.engine),
        packages=packages(running_engine(pf.engine)),
        tables={**inputs.tables, **derived},
        portfolio=inputs.portfolio,
        dump=lambda: dump_pickle(pf),
    )


def with_contiguous_records(pf: Any) -> tuple[Any, list[str]]:
    """Return the portfolio with contiguous order records, and the warning where they were not."""
    orders = pf.order_records
    if not isinstance(orders, np.ndarray) or orders.flags.c_contiguous:
        return pf, []
    return pf.replace(order_records=np.ascontiguousarray(orders)), [STRIDED]


def packages(backend: str) -> dict[str, str]:
    """Return the versions of the packages that decide a vectorbt portfolio's numbers."""
    versions = {module.__name__: str(module.__version__) for module in (vbt, np, pd, numba)}
    if backend == "rust":
        import vectorbt_rust

        versions["vectorbt-rust"] = str(vectorbt_rust.__version__)
    return versions


def find_unknown_prices(pf: Any) -> str | None:
    """Return why vectorbt cannot compute with the portfolio's prices, None where it can."""
    dtype = close_2d(pf).dtype
    return None if dtype.kind in "fiu" else f"prices of dtype {dtype}"


def _numbers(pf: Any) -> tuple[Summary, Mapping[str, Table], bytes]:
    """Return statistics, equity and trades, and the digest; as far as they can be computed safely."""
    reason = find_unsafe_records(pf) or find_unknown_prices(pf) or (None if all(pf.wrapper.shape_2d) else "no bars")
    if reason:
        return Summary((), {}, {}, {}, (f"nothing was computed: {reason}",)), {}, raw_digest(pf)
    derived, notes = _derived_tables(pf)
    summary = summarise(pf)
    return replace(summary, warnings=(*summary.warnings, *notes)), derived, portfolio_digest(pf)


def _derived_tables(pf: Any) -> tuple[dict[str, Table], list[str]]:
    """Return equity and trades as far as vectorbt can compute them, and why not where it cannot."""
    tables: dict[str, Table] = {}
    notes = []
    for name, compute in (("equity.parquet", equity_table), ("trades.parquet", trades_table)):
        try:
            tables[name] = compute(pf)
        except MetricInputError as error:
            notes.append(error.message)
    return tables, notes
