"""A multi-column ``vectorbt.Portfolio`` into a `Sweep`: one run a column, shared tables once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import vectorbt as vbt
from vectorbt.portfolio.enums import InitCashMode

from runvault.engines.result import Json, Sweep, SweepColumn, Window
from runvault.engines.vectorbt.columnwise import ColumnNumbers, numbers_of_columns
from runvault.engines.vectorbt.digest import column_digests, combine, data_fingerprint, results_digest
from runvault.engines.vectorbt.extract import find_unknown_prices, packages, with_contiguous_records
from runvault.engines.vectorbt.inputs import find_unsafe_records, read_inputs
from runvault.engines.vectorbt.parameters import Parameters, parameters_of
from runvault.engines.vectorbt.pickles import dump_pickle
from runvault.engines.vectorbt.prices import close_2d, distinct_series
from runvault.engines.vectorbt.settings import running_engine
from runvault.engines.vectorbt.statistics import BELOW_ZERO, has_negative_equity
from runvault.engines.vectorbt.window import data_entry, window_of
from runvault.errors import ConfigError

ALIGNED = "initial cash was aligned over the columns of the sweep; each run has what its own column needs"


def extract_sweep(pf: Any) -> Sweep:
    """Return what is archived of a sweep: each column as the run of a portfolio of its own.

    Parameters
    ----------
    pf : vectorbt.Portfolio
        Several columns, not grouped. The levels of the columns are the parameters, but for the one that holds assets.

    Raises
    ------
    ConfigError
        `pf` is no sweep (no portfolio, one column alone, grouped, without bars, with records outside its table), or
        its columns do not tell parameters apart; the message names which.
    """
    _refuse_what_is_no_sweep(pf)
    sound, notes = with_contiguous_records(pf)
    parameters = parameters_of(sound.wrapper.columns)
    inputs = read_inputs(sound)
    if inputs.reason:
        notes.append(f"the portfolio cannot be rebuilt: {inputs.reason}")
    alone = sound
    if type(sound._init_cash) is int and sound._init_cash == InitCashMode.AutoAlign:
        alone = sound.replace(init_cash=InitCashMode.Auto)
        notes.append(ALIGNED)
    backend = running_engine(pf.engine)
    return Sweep(
        engine="vectorbt",
        backend=backend,
        packages=packages(backend),
        tables=inputs.tables,
        portfolio=inputs.portfolio,
        columns=_columns(alone, parameters, notes),
        dump=lambda columns: dump_pickle(pf.iloc[list(columns)]),
    )


def _refuse_what_is_no_sweep(pf: Any) -> None:
    if not isinstance(pf, vbt.Portfolio):
        raise ConfigError(f"{type(pf).__name__} is not a vectorbt.Portfolio")
    if pf.wrapper.grouper.is_grouped():
        raise ConfigError(
            "a grouped portfolio is no sweep: its columns share what they earn",
            hint="save it as one run, or sweep over a portfolio without group_by",
        )
    if pf.wrapper.ndim == 1:
        raise ConfigError("a portfolio of one column is no sweep", hint="save it as one run")
    problem = find_unsafe_records(pf) or find_unknown_prices(pf)
    if problem or not all(pf.wrapper.shape_2d):
        raise ConfigError(f"nothing can be computed of this portfolio: {problem or 'no bars or no columns'}")


def _columns(pf: Any, parameters: Parameters, notes: Sequence[str]) -> list[SweepColumn]:
    numbers = numbers_of_columns(pf)
    data, windows = _data(pf, parameters.symbols)
    cash = np.atleast_1d(np.asarray(pf.get_init_cash()))
    digests = [combine([own], cash[i : i + 1]) for i, own in enumerate(column_digests(pf))]
    warnings = _warnings(numbers, notes)
    return [
        SweepColumn(
            column=column,
            params=params,
            statistics=numbers.statistics.rows(column),
            metrics=numbers.metrics[column],
            metric_definitions=numbers.definitions,
            moments=numbers.moments[column],
            window=windows[column],
            data=data[column],
            digest=results_digest(digests[column], numbers.metrics[column]),
            warnings=warnings[column],
        )
        for column, params in enumerate(parameters.params)
    ]


def _warnings(numbers: ColumnNumbers, notes: Sequence[str]) -> list[tuple[str, ...]]:
    shared = (*numbers.notes, *notes)
    return [(*shared, BELOW_ZERO) if has_negative_equity([metrics]) else shared for metrics in numbers.metrics]


def _data(pf: Any, symbols: Sequence[str | None]) -> tuple[list[Mapping[str, Json]], list[Window]]:
    """Return the ``data`` of each column and its window; computed once for each series of prices and symbol."""
    whole, index = window_of(pf), pf.wrapper.index
    series, places = distinct_series(close_2d(pf))
    made: dict[tuple[int, str | None], tuple[Mapping[str, Json], Window]] = {}
    out = []
    for place, symbol in zip(places.tolist(), symbols, strict=True):
        if (place, symbol) not in made:
            window = replace(whole, symbols=() if symbol not in whole.symbols else (symbol,))
            # 0 is what vectorbt calls the column of prices that came without a name
            sha256 = data_fingerprint(index, [series[place]], [0 if symbol is None else symbol])
            made[place, symbol] = (data_entry(window, sha256), window)
        out.append(made[place, symbol])
    return [data for data, _ in out], [window for _, window in out]
