"""The settings that moved a portfolio's statistics: vectorbt keeps most of them in the process, not with it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from vectorbt._engine import is_rust_available, resolve_engine
from vectorbt._settings import settings as vectorbt_settings
from vectorbt.utils.datetime_ import freq_to_timedelta

from runvault.engines.vectorbt.frequencies import bar_length, timedelta_text
from runvault.errors import FormatError

# Settings that seldom differ from vectorbt's own defaults are stored only then.
_SELDOM = {"ddof": 1, "required_return": 0.0, "use_asset_returns": False, "incl_open": False}
_RATIOS = {
    "year_freq": ("sharpe_ratio", "calmar_ratio", "omega_ratio", "sortino_ratio"),
    "risk_free": ("sharpe_ratio", "omega_ratio"),
    "ddof": ("sharpe_ratio",),
    "required_return": ("omega_ratio", "sortino_ratio"),
}


def resolve_settings(pf: Any) -> dict[str, Any]:
    """Return the values behind a portfolio's statistics, as text, numbers and booleans.

    The engine is the one that runs here for this portfolio, ``numba`` or ``rust``, never ``auto``.
    """
    return {
        "freq": timedelta_text(bar_length(pf.wrapper)),
        **_process_settings(),
        "fillna_close": bool(pf.fillna_close),
        "trades_type": int(pf.trades_type),
        "engine": running_engine(pf.engine),
    }


def running_engine(asked: str | None) -> str:
    """Return the engine that computes where `asked` was asked for."""
    try:
        return resolve_engine(asked)  # type: ignore[no-any-return]
    except ImportError:
        return "numba"  # a portfolio made elsewhere with rust


def choose_engine(given: Any, ran: Any) -> str | None:
    """Return what to pass to a rebuilt portfolio, so that the engine that ran runs again where it is installed.

    What the user gave is kept where it comes to the same.
    """
    if given not in (None, "auto", "numba", "rust") or ran not in ("numba", "rust"):
        raise FormatError(f"{str(given)[:40]!r} is no engine of vectorbt")
    if ran == "rust" and not is_rust_available():
        return "numba"
    return given if resolve_engine(given) == ran else ran  # type: ignore[no-any-return]


def choose_freq(given: Any, stored: dict[str, Any], wrapper: Any) -> Any:
    """Return the frequency to give to the wrapper: the user's own, else a stored one that is not found again here."""
    if given is not None or stored.get("freq") is None or timedelta_text(bar_length(wrapper)) == stored["freq"]:
        return given
    return _timedelta(stored["freq"])


def choose_default(name: str, given: Any, stored: dict[str, Any], current: Any) -> Any:
    """Return the user's own value, None where vectorbt's default has not changed since, else the stored value."""
    value = stored.get(name)
    return given if given is not None or value is None or value == current else value


def apply_settings(pf: Any, stored: dict[str, Any]) -> None:
    """Make a rebuilt portfolio's ``stats()`` use the stored settings where this process has others.

    They go into the portfolio's own metrics. A portfolio rebuilt under the settings it was saved with is not touched,
    and so stays equal to the saved one.
    """
    here = _SELDOM | _process_settings()
    wanted = _SELDOM | {name: stored[name] for name in here if name in stored}
    for name, value in wanted.items():
        if value != here[name]:
            _override(pf, name, value)


def _override(pf: Any, name: str, value: Any) -> None:
    """Set an argument of the statistics that it moves; a statistic's own ``incl_open`` stays."""
    argument = _timedelta(value) if name == "year_freq" and value is not None else _checked(name, value)
    for metric in _RATIOS.get(name, tuple(pf.metrics)):
        if metric in pf.metrics and not (name == "incl_open" and name in pf.metrics[metric]):
            pf.metrics[metric][name] = argument


def _process_settings() -> dict[str, Any]:
    # What pf.stats_defaults merges; it raises itself where the index has no fixed frequency
    given = {"year_freq": vectorbt_settings["returns"]["year_freq"], **_stats_settings()}
    defaults = {**vectorbt_settings["returns"]["defaults"], **given}
    year = given["year_freq"]
    seldom = {name: defaults.get(name, default) for name, default in _SELDOM.items()}
    return {
        "year_freq": None if year is None else timedelta_text(freq_to_timedelta(year)),
        "risk_free": rate if math.isfinite(rate := float(defaults["risk_free"])) else None,
        **{name: value for name, value in seldom.items() if value != _SELDOM[name]},
    }


def _stats_settings() -> dict[str, Any]:
    return dict(vectorbt_settings["portfolio"]["stats"].get("settings", {}))


def _timedelta(text: Any) -> pd.Timedelta:
    try:
        return pd.Timedelta(str(text))
    except ValueError as error:
        raise FormatError(f"{str(text)[:40]!r} is no frequency") from error


def _checked(name: str, value: Any) -> Any:
    if value is not None and (type(value) not in (bool, int, float) or not math.isfinite(value)):
        raise FormatError(f"setting {name} is {str(value)[:40]!r}")
    return value
