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
    """Return any value of a config on one line."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return show_pairs(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(show_value, value))
    return inert(str(value))


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
