"""Single values as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from runvault.model.metrics import METRICS, format_value
from runvault.views.inert import inert

Json: TypeAlias = Any

UNDEFINED = "–"


def show_metric(name: str, value: float | int | None) -> str:
    """Return a metric in its own unit; undefined as a dash."""
    return UNDEFINED if value is None else format_value(name, value)


def show_value(value: Json) -> str:
    """Return any value of a config on one line; a number with all its digits, as two that differ are to be told apart.

    Examples
    --------
    >>> show_value(0.001), show_value(10_000.0), show_value(0.1 + 0.2)
    ('0.001', '10000', '0.30000000000000004')
    """
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, Mapping):
        return show_pairs(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(show_value, value))
    return inert(str(value))


def show_measure(value: Json) -> str:
    """Return what was computed and has no unit of a metric, such as a price: a number to six digits."""
    return f"{value:g}" if isinstance(value, float) else show_value(value)


def show_pairs(values: Mapping[str, Json]) -> str:
    """Return a mapping as ``fast=10 slow=50``; lists and mappings in it keep their brackets."""
    return " ".join(f"{inert(str(key))}={_bracketed(value)}" for key, value in values.items())


def _bracketed(value: Json) -> str:
    shown = show_value(value)
    if isinstance(value, Mapping):
        return f"{{{shown}}}"
    return f"[{shown}]" if isinstance(value, (list, tuple)) else shown


def show_field(field: str, value: Json) -> str:
    """Return the value of a field such as ``params.fast`` or ``metrics.win_rate``."""
    name = field.removeprefix("metrics.")
    if name in METRICS and (value is None or isinstance(value, (int, float))):
        return show_metric(name, value)
    return show_value(value)
