"""The registry of metrics: what each number means, its unit, which way is better, how it is shown.

A metric's name is vectorbt's label in snake case without its unit. Percentages are stored as fractions, durations in
seconds under names that end in ``_s``, the maximum drawdown as a fraction in [-1, 0]; undefined is None, never 0.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, isnan, sqrt
from typing import Literal, TypeAlias

Number: TypeAlias = float | int | None
Unit: TypeAlias = Literal["fraction", "money", "count", "ratio", "timestamp", "duration"]
Show: TypeAlias = Literal["percent", "money", "integer", "decimal", "time", "duration"]


@dataclass(frozen=True)
class Metric:
    """One statistic of a backtest.

    Parameters
    ----------
    name : str
        The name in manifests, filters and tables.
    label : str
        What vectorbt's ``stats()`` calls it; for metrics that vectorbt does not print, a label in its manner.
    unit : str
        The unit of the stored value: ``fraction``, ``money`` (account currency), ``count``, ``ratio``, ``timestamp``
        or ``duration`` (seconds).
    direction : int
        +1 where higher is better, -1 where lower is, 0 where neither is.
    definition : str
        How it is computed, from the engine's own quantities.
    source : str
        Where the definition comes from.
    show : str
        How `format_value` writes it.
    """

    name: str
    label: str
    unit: Unit
    direction: int
    definition: str
    source: str
    show: Show

    @cached_property
    def engine_unit(self) -> str:
        """Return the unit that stats.parquet records, the engine's own: ``%`` where the label says so."""
        return "%" if self.label.endswith("[%]") else self.unit


# Of `metric_definitions`, what changes a number's meaning. The engine's version alone makes nothing incomparable.
DECIDING = ("engine", "periods_per_year", "risk_free", "ddof")

_SHOW: dict[Unit, Show] = {
    "fraction": "percent",
    "money": "money",
    "count": "integer",
    "ratio": "decimal",
    "timestamp": "time",
    "duration": "duration",
}
_VECTORBT = "vectorbt Portfolio.stats"
_MAGDON = "Magdon-Ismail and Atiya, Maximum Drawdown, Risk 17(10), 2004"

# (name, label, unit, direction, definition, source)
_ROWS: tuple[tuple[str, str, Unit, int, str, str], ...] = (
    ("start", "Start", "timestamp", 0, "first bar", _VECTORBT),
    ("end", "End", "timestamp", 0, "last bar", _VECTORBT),
    ("period_s", "Period", "duration", 0, "number of bars times the bar length", _VECTORBT),
    ("start_value", "Start Value", "money", 0, "initial cash", _VECTORBT),
    ("end_value", "End Value", "money", 1, "cash plus positions at the last bar's close", _VECTORBT),
    ("total_return", "Total Return [%]", "fraction", 1, "end value / start value - 1", _VECTORBT),
    ("benchmark_return", "Benchmark Return [%]", "fraction", 0, "return of holding the asset throughout", _VECTORBT),
    (
        "max_gross_exposure",
        "Max Gross Exposure [%]",
        "fraction",
        0,
        "maximum over bars of absolute asset value / (absolute asset value + cash)",
        _VECTORBT,
    ),
    ("total_fees_paid", "Total Fees Paid", "money", -1, "sum of the fees of all filled orders", _VECTORBT),
    (
        "max_drawdown",
        "Max Drawdown [%]",
        "fraction",
        1,
        "minimum over bars of value / running maximum of value - 1, at closes; beyond -1 where value went negative",
        _MAGDON,
    ),
    (
        "max_drawdown_duration_s",
        "Max Drawdown Duration",
        "duration",
        -1,
        "longest time from a peak to its recovery, or to the last bar",
        _VECTORBT,
    ),
    ("total_trades", "Total Trades", "count", 0, "trades, open ones included", _VECTORBT),
    ("total_closed_trades", "Total Closed Trades", "count", 0, "closed trades", _VECTORBT),
    ("total_open_trades", "Total Open Trades", "count", 0, "trades open at the last bar", _VECTORBT),
    ("open_trade_pnl", "Open Trade PnL", "money", 1, "unrealised profit of open trades, net of fees", _VECTORBT),
    ("win_rate", "Win Rate [%]", "fraction", 1, "winning / all closed trades", _VECTORBT),
    ("best_trade", "Best Trade [%]", "fraction", 1, "maximum return of a closed trade, net of fees", _VECTORBT),
    ("worst_trade", "Worst Trade [%]", "fraction", 1, "minimum return of a closed trade, net of fees", _VECTORBT),
    ("avg_winning_trade", "Avg Winning Trade [%]", "fraction", 1, "mean return of winning closed trades", _VECTORBT),
    ("avg_losing_trade", "Avg Losing Trade [%]", "fraction", 1, "mean return of losing closed trades", _VECTORBT),
    (
        "avg_winning_trade_duration_s",
        "Avg Winning Trade Duration",
        "duration",
        0,
        "mean time from entry to exit of winning closed trades, whole microseconds",
        _VECTORBT,
    ),
    (
        "avg_losing_trade_duration_s",
        "Avg Losing Trade Duration",
        "duration",
        0,
        "mean time from entry to exit of losing closed trades, whole microseconds",
        _VECTORBT,
    ),
    (
        "profit_factor",
        "Profit Factor",
        "ratio",
        1,
        "profit of winning / loss of losing closed trades; undefined without losing trades",
        _VECTORBT,
    ),
    ("expectancy", "Expectancy", "money", 1, "mean profit of a closed trade, as vectorbt weighs it", _VECTORBT),
    (
        "sharpe_ratio",
        "Sharpe Ratio",
        "ratio",
        1,
        "mean(returns - risk_free) / std(returns - risk_free, ddof) * sqrt(periods_per_year)",
        "Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994",
    ),
    (
        "calmar_ratio",
        "Calmar Ratio",
        "ratio",
        1,
        "geometric annual return / absolute maximum drawdown",
        "Young, Calmar Ratio, Futures 20(1), 1991",
    ),
    (
        "omega_ratio",
        "Omega Ratio",
        "ratio",
        1,
        "sum of gains above / sum of losses below the threshold return per period",
        "Keating and Shadwick, A Universal Performance Measure, 2002",
    ),
    (
        "sortino_ratio",
        "Sortino Ratio",
        "ratio",
        1,
        "annualised mean excess return / annualised downside deviation",
        "Sortino and Price, Journal of Investing 3(3), 1994",
    ),
    # Without a frequency vectorbt counts bars where it else gives durations: other metrics, under other names.
    ("period_bars", "Period", "count", 0, "number of bars", _VECTORBT),
    ("max_drawdown_duration_bars", "Max Drawdown Duration", "count", -1, "the same, in bars", _VECTORBT),
    ("avg_winning_trade_duration_bars", "Avg Winning Trade Duration", "ratio", 0, "the same, in bars", _VECTORBT),
    ("avg_losing_trade_duration_bars", "Avg Losing Trade Duration", "ratio", 0, "the same, in bars", _VECTORBT),
    ("total_profit", "Total Profit", "money", 1, "end value - start value", "runvault"),
    ("winning_trades", "Winning Trades", "count", 0, "closed trades with a profit above 0", "runvault"),
    ("losing_trades", "Losing Trades", "count", 0, "closed trades with a profit below 0", "runvault"),
)

METRICS: dict[str, Metric] = {
    name: Metric(name, label, unit, direction, definition, source, _SHOW[unit])
    for name, label, unit, direction, definition, source in _ROWS
}

FORMAT_1_STATISTICS: tuple[str, ...] = tuple(sorted(name for name, m in METRICS.items() if m.unit != "timestamp"))
"""The metrics that enter the results digest of format 1. Never changed: another selection is another format."""

_BY_LABEL = {m.label: m for m in reversed(METRICS.values()) if m.source != "runvault"}  # the first of a label wins
_BARS = {m.label: m for m in METRICS.values() if m.name.endswith("_bars")}
_UNIT_IN_LABEL = re.compile(r"\s*\[([^\]]*)\]\s*$")


def by_label(label: str, *, in_bars: bool = False) -> Metric | None:
    """Return the metric that vectorbt's `stats()` prints under a label, or None for a label it does not know.

    `in_bars` asks for what stands under the label of a duration when the portfolio has no frequency: a plain number.

    Examples
    --------
    >>> by_label("Max Drawdown Duration").name, by_label("Max Drawdown Duration", in_bars=True).name
    ('max_drawdown_duration_s', 'max_drawdown_duration_bars')
    """
    return (_BARS.get(label) if in_bars else None) or _BY_LABEL.get(label)


def name_of_label(label: str) -> str:
    """Return the name of the metric under a label: the registry's, else the label in snake case without its unit.

    The name is an identifier, so that filters can say it; ``metric`` stands where nothing of the label is left.

    Examples
    --------
    >>> name_of_label("Total Return [%]"), name_of_label("Period"), name_of_label("95% VaR [%]")
    ('total_return', 'period_s', 'metric_95_var')
    """
    known = by_label(label)
    if known is not None:
        return known.name
    plain = unicodedata.normalize("NFKC", _UNIT_IN_LABEL.sub("", label)).lower()
    name = re.sub(r"\W+", "_", plain).strip("_")
    return name if name.isidentifier() else f"metric_{name}".rstrip("_")


def metric_of_label(label: str, value: object, *, in_bars: bool = False) -> Metric:
    """Return the metric under a label, described as well as its label and value allow where it is not registered."""
    known = by_label(label, in_bars=in_bars)
    if known is not None:
        return known
    unit: Unit = "fraction" if label.rstrip().endswith("[%]") else "ratio"
    if isinstance(value, int) and unit == "ratio":
        unit = "count"
    return Metric(name_of_label(label), label, unit, 0, f"the engine's own {label!r}", "the engine", _SHOW[unit])


def to_metric(metric: Metric, value: float | None, value_ns: int | None = None) -> Number:
    """Return a statistic in the engine's unit as the manifest stores it.

    Parameters
    ----------
    metric : Metric
        What the number is.
    value : float or None
        The number in the engine's unit; per cent where the label says so.
    value_ns : int or None
        Nanoseconds, for durations.

    Returns
    -------
    int, float or None
        Fractions for percentages, a fraction in [-1, 0] for the maximum drawdown, seconds cut to whole microseconds for
        durations, integers for counts (a mean over columns stays a float). None for NaN, infinities and NaT: JSON has
        no word for them, and a profit factor without a loss is undefined rather than large.

    Examples
    --------
    >>> to_metric(METRICS["max_drawdown"], 25.0), to_metric(METRICS["period_s"], None, 1_500_000_999)
    (-0.25, 1.5)
    """
    if metric.unit == "duration" and value_ns is not None:
        return (value_ns // 1000 if value_ns >= 0 else -(-value_ns // 1000)) / 1_000_000
    if value is None or not isfinite(value):
        return None
    if metric.name == "max_drawdown":
        return -value / 100 + 0.0
    if metric.engine_unit == "%":
        return float(value) / 100
    if metric.unit == "count" and value == int(value):
        return int(value)
    return float(value)


def direction_of(name: str) -> int:
    """Return +1 where higher is better, -1 where lower is, 0 for neither and for metrics that are not registered."""
    metric = METRICS.get(name)
    return metric.direction if metric else 0


def sort_order(name: str) -> str:
    """Return how a listing is sorted to show the best first: ``-name`` where higher is better.

    Higher is taken to be better where the registry does not say.

    Examples
    --------
    >>> sort_order("sharpe_ratio"), sort_order("total_fees_paid")
    ('-sharpe_ratio', 'total_fees_paid')
    """
    return name if direction_of(name) < 0 else f"-{name}"


def statistics_digest_lines(metrics: Mapping[str, Number]) -> list[str]:
    r"""Return the lines that the statistics add to a results digest.

    Parameters
    ----------
    metrics : mapping of str to number or None
        The manifest's metrics: fractions, seconds, counts, None where undefined.

    Returns
    -------
    list of str
        One line for each name of `FORMAT_1_STATISTICS`, sorted by name (all names are ASCII): ``name=value``.

    Notes
    -----
    A value is written as C's ``printf("%.12g")`` writes it, integers too; zero is ``0`` whatever its sign. A duration
    (a name ending in ``_s``) is its number of whole microseconds, in decimal, rounded half to even. What is None, NaN,
    infinite or missing is ``null``. The digest takes the lines in UTF-8, each ended by one line feed. Metrics that
    format 1 does not name add nothing.

    Examples
    --------
    >>> lines = statistics_digest_lines({"total_return": 0.1 + 0.2, "period_s": 86400.0, "total_trades": 3})
    >>> [line for line in lines if not line.endswith("null")]
    ['period_s=86400000000', 'total_return=0.3', 'total_trades=3']
    """
    return [f"{name}={_digest_value(name, metrics.get(name))}" for name in FORMAT_1_STATISTICS]


def _digest_value(name: str, value: Number) -> str:
    if value is None or not isfinite(value):
        return "null"
    if METRICS[name].unit == "duration":
        return str(round(value * 1_000_000))
    return f"{value + 0.0:.12g}"  # the addition turns -0.0 into 0.0


def sharpe_from_moments(moments: Mapping[str, Number], periods_per_year: float, risk_free: float = 0.0) -> float | None:
    """Return the annualised Sharpe ratio that the moments of the returns give.

    Parameters
    ----------
    moments : mapping
        The manifest's `moments`: `n_periods`, `mean` and `std` of the returns per period, as fractions.
    periods_per_year : float
        How many periods make a year: 252 for trading days, 365 for calendar days.
    risk_free : float
        Return per period that costs no risk, a fraction.

    Returns
    -------
    float or None
        None where it is undefined: fewer than two periods, or returns that never vary.

    Notes
    -----
    ``(mean - risk_free) / std * sqrt(periods_per_year)``. Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio
    Management 21(1), 1994.

    Examples
    --------
    >>> sharpe_from_moments({"n_periods": 504, "mean": 0.001, "std": 0.01}, periods_per_year=100)
    1.0
    """
    n, mean, std = moments.get("n_periods"), moments.get("mean"), moments.get("std")
    if n is None or n < 2 or mean is None or std is None or not std > 0:
        return None
    return (mean - risk_free) / std * sqrt(periods_per_year)


def restated(
    metrics: Mapping[str, Number], moments: Mapping[str, Number], periods_per_year: float | None
) -> Mapping[str, Number]:
    """Return metrics with the Sharpe ratio that the moments give with `periods_per_year`; as they are for None."""
    if periods_per_year is None:
        return metrics
    return {**metrics, "sharpe_ratio": sharpe_from_moments(moments, periods_per_year)}


def format_value(name: str, value: Number) -> str:
    """Return a metric's value for people: fractions in per cent, durations in days, ``-`` where undefined.

    Examples
    --------
    >>> format_value("total_return", 0.123), format_value("sharpe_ratio", 0.931), format_value("win_rate", None)
    ('12.3 %', '0.93', '-')
    """
    if value is None or isnan(value):
        return "-"
    metric = METRICS.get(name)
    return _FORMATS[metric.show if metric else "decimal"](value)


def _duration(value: float) -> str:
    days, hours = divmod(round(abs(value) / 3600, 1), 24)
    sign = "-" if value < 0 else ""
    if days:
        return f"{sign}{days:.0f}d {hours:.0f}h" if round(hours) else f"{sign}{days:.0f}d"
    return f"{sign}{hours:.1f}h" if abs(value) >= 3600 else f"{sign}{abs(value):.0f}s"


def _integer(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"  # a mean over columns is no integer


_FORMATS: dict[Show, Callable[[float], str]] = {
    "percent": lambda value: f"{value * 100:,.1f} %",
    "money": lambda value: f"{value:,.2f}",
    "integer": _integer,
    "decimal": lambda value: f"{value:,.2f}",
    "time": str,
    "duration": _duration,
}
