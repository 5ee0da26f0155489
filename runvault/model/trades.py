"""The trades of two runs, matched one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from runvault.model.closeness import RTOL, has_one_column
from runvault.model.table import Array, Table

Kind: TypeAlias = Literal["same", "changed", "only_a", "only_b"]

COMPARED = ("size", "entry_price", "entry_fees", "exit_price", "exit_fees", "pnl", "return", "status")


@dataclass(frozen=True)
class TradeChange:
    """One trade of either run, or a pair of trades that belong together.

    `a` and `b` are row numbers in the two tables, None where the trade is only in the other one; `fields` names the
    columns in which a pair differs.
    """

    a: int | None
    b: int | None
    fields: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Return ``same``, ``changed``, ``only_a`` or ``only_b``."""
        if self.a is None:
            return "only_b"
        return "only_a" if self.b is None else "changed" if self.fields else "same"


@dataclass(frozen=True)
class TradeChanges:
    """All trades of two runs: those of `a` in its order, then those that only `b` has."""

    a: Table
    b: Table
    rows: tuple[TradeChange, ...]

    @cached_property
    def _counts(self) -> dict[Kind, int]:
        counts: dict[Kind, int] = {"only_a": 0, "only_b": 0, "changed": 0, "same": 0}
        for row in self.rows:
            counts[row.kind] += 1
        return counts

    @property
    def only_a(self) -> int:
        """Return how many trades only the first run has."""
        return self._counts["only_a"]

    @property
    def only_b(self) -> int:
        """Return how many trades only the second run has."""
        return self._counts["only_b"]

    @property
    def changed(self) -> int:
        """Return how many trades both have, with differences."""
        return self._counts["changed"]

    @property
    def same(self) -> int:
        """Return how many trades both have alike."""
        return self._counts["same"]

    @property
    def differ(self) -> bool:
        """Return whether any trade differs."""
        return self.same < len(self.rows)

    def to_dict(self) -> dict[Kind, int]:
        """Return the counts as JSON."""
        return dict(self._counts)

    def iter_details(self) -> Iterator[dict[str, Any]]:
        """Yield what differs, a trade at a time: `kind`, `fields`, and both trades as `a` and `b`, None if absent."""
        for row in self.rows:
            if row.kind != "same":
                yield {"kind": row.kind, "fields": row.fields, "a": _record(self.a, row.a), "b": _record(self.b, row.b)}


def _record(table: Table, row: int | None) -> dict[str, Any] | None:
    return None if row is None else {name: values[row] for name, values in table.columns.items()}


def match_trades(a: Table, b: Table, rtol: float = RTOL) -> TradeChanges:
    """Match the trades of two runs.

    Parameters
    ----------
    a, b : Table
        Rows of trades.parquet; open trades included.
    rtol : float
        Values that are as near as this, as a fraction of the second, are the same.

    Notes
    -----
    Two trades belong together when they are in the same column, in the same direction, and were entered at the same
    time (the same bar where an index is not of time); several that share this are paired in their order. Columns are
    not compared between tables that hold one each: a run saved alone and one of a sweep number theirs differently. A
    pair is the same when exits, prices, size, fees, profit and status are equal, floats within 1e-9 relative.

    Examples
    --------
    >>> def table(*exits):
    ...     return Table({"entry_bar": np.arange(len(exits)), "exit_bar": np.array(exits)})
    >>> match_trades(table(5, 6), table(5, 9, 9)).to_dict()
    {'only_a': 0, 'only_b': 1, 'changed': 1, 'same': 1}
    """
    when = "time" if _both_timed(a, b) else "bar"
    waiting: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in reversed(list(enumerate(_keys(b, when, _columns_matter(a, b))))):
        waiting[key].append(row)
    partners = [waiting[key].pop() if waiting.get(key) else None for key in _keys(a, when, _columns_matter(a, b))]
    differing = _differing_fields(a, b, partners, f"exit_{when}", rtol)
    rows = [TradeChange(i, partner, differing.get(i, ())) for i, partner in enumerate(partners)]
    left = sorted(row for rows_left in waiting.values() for row in rows_left)
    return TradeChanges(a, b, (*rows, *(TradeChange(None, row) for row in left)))


def _both_timed(a: Table, b: Table) -> bool:
    return all("entry_time" in t.columns and t.columns["entry_time"].dtype.kind == "M" for t in (a, b))


def _columns_matter(a: Table, b: Table) -> bool:
    return not (has_one_column(a) and has_one_column(b))


def _keys(table: Table, when: str, with_column: bool) -> list[Hashable]:
    names = [f"entry_{when}", "direction", *(["column"] if with_column else [])]
    columns = [_plain(table.columns[name]) for name in names if name in table.columns]
    return list(zip(*columns, strict=True))


def _plain(values: Array) -> list[Any]:
    return list((values.astype("datetime64[ns]").astype(np.int64) if values.dtype.kind == "M" else values).tolist())


def _differing_fields(
    a: Table, b: Table, partners: list[int | None], exit_name: str, rtol: float
) -> dict[int, tuple[str, ...]]:
    """Return the names of the columns that differ, by row of `a`: a whole column at a time."""
    rows_a = np.array([i for i, partner in enumerate(partners) if partner is not None], dtype=np.int64)
    rows_b = np.array([partner for partner in partners if partner is not None], dtype=np.int64)
    found: dict[int, tuple[str, ...]] = {}
    for name in (exit_name, *COMPARED):
        if name in a.columns and name in b.columns:
            for row in rows_a[_differs(a.columns[name][rows_a], b.columns[name][rows_b], rtol)].tolist():
                found[row] = (*found.get(row, ()), name)
    return found


def _differs(a: Array, b: Array, rtol: float) -> Array:
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return ~np.isclose(a, b, rtol=rtol, atol=0.0, equal_nan=True)
    if a.dtype.kind == "M" and b.dtype.kind == "M":
        return np.asarray((a != b) & ~(np.isnat(a) & np.isnat(b)))
    return np.asarray(a != b, dtype=bool)
