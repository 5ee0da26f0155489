"""Which way a metric is better."""

from __future__ import annotations

from runvault.model.metrics import direction_of


def sort_order(metric: str) -> str:
    """Return the sort that puts the best runs first; the greatest where the metric has no direction of its own.

    Examples
    --------
    >>> sort_order("sharpe_ratio"), sort_order("max_drawdown"), sort_order("total_fees_paid")
    ('-sharpe_ratio', '-max_drawdown', 'total_fees_paid')
    """
    return metric if direction_of(metric.removeprefix("metrics.")) < 0 else f"-{metric}"
