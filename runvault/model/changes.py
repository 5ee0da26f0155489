"""What differs between two configs, two sets of metrics, two manifests. Nothing heavy is imported: listings use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from runvault.model.metrics import METRICS, Number
from runvault.model.paths import join

if TYPE_CHECKING:
    from runvault.model.table import Table

Json: TypeAlias = Any


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""Stands for a value that is not there, because None is a value."""


@dataclass(frozen=True)
class Change:
    """One value that differs; what kind of change it is follows from the two values.

    Examples
    --------
    >>> Change("params.fees", ABSENT, 0.3).kind, Change("params.fast", 10, 20).delta
    ('added', 10)
    """

    path: str
    old: Json
    new: Json

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """Return ``added``, ``removed`` or ``changed``."""
        return "added" if self.old is ABSENT else "removed" if self.new is ABSENT else "changed"

    @property
    def delta(self) -> Number:
        """Return new minus old for two numbers, else None."""
        return difference(self.old, self.new)

    def to_dict(self) -> dict[str, Json]:
        """Return the change as JSON: ``path``, ``a``, ``b``; what is not there is null."""
        a, b = (None if value is ABSENT else value for value in (self.old, self.new))
        return {"path": self.path, "a": a, "b": b}


def difference(a: Json, b: Json) -> Number:
    """Return b minus a for two numbers, None for anything else."""
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return None
    return b - a


def flatten(value: Mapping[str, Json], prefix: str = "") -> dict[str, Json]:
    """Return the values of a nested mapping by path; lists and empty mappings are values.

    Examples
    --------
    >>> flatten({"fast": 10, "stop": {"loss": 0.1}}, "params")
    {'params.fast': 10, 'params.stop.loss': 0.1}
    """
    flat: dict[str, Json] = {}
    for key, item in value.items():
        path = join(prefix, key)
        flat.update(flatten(item, path) if isinstance(item, Mapping) and item else {path: item})
    return flat


def diff_values(a: Mapping[str, Json], b: Mapping[str, Json], prefix: str = "") -> list[Change]:
    """Return what differs between two nested mappings, sorted by path.

    Values are compared as JSON: 10 equals 10.0, but true does not equal 1.

    Examples
    --------
    >>> diff_values({"params": {"fast": 10}}, {"params": {"fast": 20}})
    [Change(path='params.fast', old=10, new=20)]
    """
    old, new = flatten(a, prefix), flatten(b, prefix)
    pairs = ((path, old.get(path, ABSENT), new.get(path, ABSENT)) for path in sorted(old.keys() | new.keys()))
    return [Change(path, x, y) for path, x, y in pairs if not _equal(x, y)]


def _equal(a: Json, b: Json) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def diff_metrics(a: Mapping[str, Number], b: Mapping[str, Number]) -> list[dict[str, Json]]:
    """Return the metrics that differ, in the order of the registry, then by name.

    Returns
    -------
    list of dict
        ``name``, ``a``, ``b`` and ``delta``, which is b minus a, null where either is undefined.

    Examples
    --------
    >>> diff_metrics({"total_trades": 3, "sharpe_ratio": None}, {"total_trades": 5, "sharpe_ratio": None})
    [{'name': 'total_trades', 'a': 3, 'b': 5, 'delta': 2}]
    """
    order = {name: place for place, name in enumerate(METRICS)}
    names = sorted(a.keys() | b.keys(), key=lambda name: (order.get(name, len(order)), name))
    pairs = ((name, a.get(name), b.get(name)) for name in names)
    return [{"name": name, "a": x, "b": y, "delta": difference(x, y)} for name, x, y in pairs if not _same(x, y)]


def _same(a: Number, b: Number) -> bool:
    """Compare with the 12 digits of a results digest: the last bits depend on the processor."""
    return a == b or (a is not None and b is not None and f"{a:.12g}" == f"{b:.12g}")


def drift_between(
    previous: Mapping[str, Json],
    current: Mapping[str, Json],
    *,
    commit: str | None,
    previous_tables: Mapping[str, Table],
    current_tables: Mapping[str, Table],
) -> dict[str, Json]:
    """Say how a run's new revision differs from the one before, and what may be the reason.

    Parameters
    ----------
    previous, current : mapping
        The two manifests' members.
    commit : str or None
        The archive commit at which the previous revision was the run's own.
    previous_tables, current_tables : mapping of file name to Table
        ``orders.parquet`` and ``equity.parquet`` as far as they are at hand; without them the verdict is ``drift``.

    Returns
    -------
    dict
        ``previous`` (the commit), ``verdict``, ``metrics`` (see `diff_metrics`), ``code`` (``changed``, and both
        states), ``data`` and ``environment`` (lists of ``path``, ``a``, ``b``).
    """
    from runvault.model.closeness import verdict

    old_metrics, new_metrics = previous["metrics"], current["metrics"]
    return {
        "previous": commit,
        "verdict": verdict(previous_tables, current_tables, old_metrics, new_metrics),
        "metrics": diff_metrics(old_metrics, new_metrics),
        "code": code_change(previous.get("code"), current.get("code")),
        "data": [change.to_dict() for change in _data_changes(previous, current)],
        "environment": [change.to_dict() for change in environment_changes(previous, current)],
    }


def code_change(a: Mapping[str, Json] | None, b: Mapping[str, Json] | None) -> dict[str, Json]:
    """Return both states of the code, and whether they are known to be equal.

    ``changed`` is null where a state is unknown or has uncommitted changes that nobody recorded.
    """
    commits = [state.get("commit") if state else None for state in (a, b)]
    dirty = any(state.get("dirty") and not state.get("base") for state in (a, b) if state)
    changed = None if None in commits or (commits[0] == commits[1] and dirty) else commits[0] != commits[1]
    return {"changed": changed, "a": _state(a), "b": _state(b)}


def _state(code: Mapping[str, Json] | None) -> dict[str, Json] | None:
    return None if code is None else {name: code.get(name) for name in ("commit", "base", "branch", "dirty")}


def environment_changes(a: Mapping[str, Json], b: Mapping[str, Json]) -> list[Change]:
    """Return what differs in the environments of two manifests: Python, platform, packages, backend."""
    return diff_values(a.get("environment") or {}, b.get("environment") or {})


def _data_changes(a: Mapping[str, Json], b: Mapping[str, Json]) -> list[Change]:
    """Return what differs in the data: the inputs, the window, and the prices that the engine valued at.

    The declared data is part of the address and mostly the same for both; prices from elsewhere show in their table.
    """
    return diff_values(_data_of(a), _data_of(b))


def _data_of(manifest: Mapping[str, Json]) -> dict[str, Json]:
    prices = manifest["artifacts"].get("prices.parquet") or {}
    return {
        "data": manifest["config"]["data"],
        "window": manifest["window"],
        "prices": {"sha256": prices.get("sha256")} if prices else {},
    }
