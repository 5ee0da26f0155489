"""The stretch of time a portfolio covers, and its prices as the ``data`` of a config where no file is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from pandas.tseries.frequencies import to_offset

from runvault.engines.result import Window
from runvault.engines.vectorbt.digest import data_fingerprint
from runvault.engines.vectorbt.frequencies import bar_length
from runvault.engines.vectorbt.prices import close_2d
from runvault.errors import ConfigError
from runvault.model.canonical import normalise

# Names of a column level that holds assets, not parameters; plurals too
_ASSETS = {"symbol", "ticker", "asset", "instrument", "security", "stock", "pair", "coin", "contract", "column"}
_SERIES = {"open", "high", "low", "close", "adj close", "price", "volume"}


def window_of(pf: Any) -> Window:
    """Return first and last bar, number of bars, interval and symbols of a portfolio."""
    index = pf.wrapper.index
    start, end = bounds(index)
    return Window(start, end, len(index), interval_of(pf.wrapper), symbols_of(pf.wrapper.columns))


def data_entry(window: Window, sha256: str) -> dict[str, Any]:
    """Return the ``data`` member of a config for prices that lie in no file."""
    return {
        "prices": {
            "sha256": sha256,
            "start": window.start,
            "end": window.end,
            "symbols": list(window.symbols),
            "interval": window.interval,
        }
    }


def price_data(pf: Any, window: Window) -> Mapping[str, Any]:
    """Return the ``data`` member of a config for the portfolio's own prices."""
    close = close_2d(pf)
    columns = (close[:, i] for i in range(close.shape[1]))
    return data_entry(window, data_fingerprint(pf.wrapper.index, columns, list(pf.wrapper.columns)))


def bounds(index: pd.Index) -> tuple[str | None, str | None]:
    """Return the first and last label as text; None where labels are not of time.

    Dates where a naive index holds midnights only, else UTC timestamps, naive ones read as UTC.

    Examples
    --------
    >>> bounds(pd.date_range("2020-01-01", periods=3))
    ('2020-01-01', '2020-01-03')
    >>> bounds(pd.date_range("2020-01-01", periods=2, freq="h", tz="Europe/Berlin"))
    ('2019-12-31T23:00:00Z', '2020-01-01T00:00:00Z')
    """
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pd.DatetimeIndex) or not len(index):
        return None, None
    day = pd.Timedelta(days=1) // pd.Timedelta(1, unit=index.unit)
    days = index.tz is None and not (index.asi8 % day).any()  # NaT is no midnight
    return _moment(index[0], days=days), _moment(index[-1], days=days)


def interval_of(wrapper: Any) -> str | None:
    """Return the bar length as pandas spells it, with its number where it is fixed; None where it is unknown.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> interval_of(SimpleNamespace(freq=pd.Timedelta(days=1), index=pd.RangeIndex(2)))
    '1D'
    """
    length = bar_length(wrapper)
    if length is not None and length > pd.Timedelta(0):
        return _fixed_interval(length)
    return getattr(wrapper.index, "freqstr", None) or getattr(wrapper.index, "inferred_freq", None)


def symbols_of(columns: pd.Index) -> tuple[str, ...]:
    """Return the assets that columns name, in order, each once.

    They are the text labels of the level that `asset_level` finds. Names of price series (``Close``) are no assets,
    nor is text that no config may hold (control characters, more than 4 KB).

    Examples
    --------
    >>> symbols_of(pd.Index(["AAPL", "GOOG"]))
    ('AAPL', 'GOOG')
    >>> symbols_of(pd.MultiIndex.from_product([[5, 10], ["AAPL"]], names=["fast_window", "ticker"]))
    ('AAPL',)
    """
    level = asset_level(columns)
    if level is None:
        return ()
    return tuple(dict.fromkeys(label for label in columns.get_level_values(level) if _is_symbol(label)))


def asset_level(columns: pd.Index) -> int | None:
    """Return which level of the columns holds assets: None where all are parameters.

    The first text level named symbol, ticker, asset or the like; else the innermost level where it is text without a
    name, because vectorbt puts parameters in front of the columns that prices came with.
    """
    for level in range(columns.nlevels):
        name = columns.names[level]
        if isinstance(name, str) and name.lower().removesuffix("s") in _ASSETS and _is_text(columns, level):
            return level
    last = columns.nlevels - 1
    return last if columns.names[last] is None and _is_text(columns, last) else None


def _fixed_interval(length: pd.Timedelta) -> str:
    days, rest = divmod(length, pd.Timedelta(days=1))
    if not rest:
        return f"{days}D"
    text = to_offset(length).freqstr
    return text if text[0].isdigit() else f"1{text}"


def _is_text(columns: pd.Index, level: int) -> bool:
    unique: Iterable[object] = columns.levels[level] if isinstance(columns, pd.MultiIndex) else columns
    return any(isinstance(label, str) for label in unique)


def _is_symbol(label: object) -> bool:
    if not isinstance(label, str) or label.lower() in _SERIES:
        return False
    try:
        normalise(label)
    except ConfigError:
        return False
    return True


def _moment(stamp: Any, *, days: bool) -> str | None:
    if stamp is pd.NaT:
        return None
    return stamp.date().isoformat() if days else str(normalise(stamp))
