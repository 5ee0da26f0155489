"""How the engine's metrics are defined: without this a number cannot be compared with another."""

from __future__ import annotations

from typing import Any

import numpy as np

from runvault.engines.result import Json

_TRADES = {0: "entry trades", 2: "positions"}  # 1, exit trades, is vectorbt's default


def metric_definitions(pf: Any) -> dict[str, Json]:
    """Return what the metrics of `pf.stats()` depend on besides the portfolio.

    Returns
    -------
    dict
        `engine`, `version`, `periods_per_year` (None where the bars have no fixed length), `risk_free` (per period) and
        `ddof`; `required_return`, `incl_open`, `use_asset_returns` and `trades` only where they are not vectorbt's
        defaults.
    """
    import vectorbt

    asked = _settings()
    definitions: dict[str, Json] = {
        "engine": "vectorbt",
        "version": vectorbt.__version__,
        "periods_per_year": _periods_per_year(pf, asked),
        "risk_free": _number(asked["risk_free"]),
        "ddof": int(asked["ddof"]),
    }
    if asked["required_return"] != 0:
        definitions["required_return"] = _number(asked["required_return"])
    definitions |= {name: True for name in ("incl_open", "use_asset_returns") if asked.get(name)}
    if pf.trades_type in _TRADES:
        definitions["trades"] = _TRADES[pf.trades_type]
    return definitions


def uses_asset_returns() -> bool:
    """Tell whether the ratios are of asset returns rather than of the portfolio's."""
    return bool(_settings().get("use_asset_returns"))


def _settings() -> dict[str, Any]:
    """Return the resolved settings of `stats()`: those of returns, overlaid by those asked of statistics."""
    from vectorbt import settings

    stats = settings["portfolio"]["stats"].get("settings") or {}
    defaults = {name: settings["returns"]["defaults"][name] for name in ("risk_free", "ddof", "required_return")}
    return defaults | {"year_freq": settings["returns"]["year_freq"]} | dict(stats)


def _periods_per_year(pf: Any, asked: dict[str, Any]) -> float | None:
    from vectorbt.utils.datetime_ import freq_to_timedelta

    freq = pf.wrapper.freq
    if freq is None or asked["year_freq"] is None:
        return None
    return float(freq_to_timedelta(asked["year_freq"]) / freq)


def _number(value: Any) -> Json:
    """Return a setting of one number for all columns; settings that differ by column are told by each."""
    return float(value) if np.ndim(value) == 0 else [float(x) for x in np.ravel(value)]
