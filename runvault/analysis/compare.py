"""Runs side by side: a row a field, a column a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.model.changes import flatten

if TYPE_CHECKING:
    import pandas as pd

Json: TypeAlias = Any

FIELDS = ("revision", "strategy", "engine", "seed", "alias", "symbols", "interval", "start", "end", "tags", "note")
GROUPS = ("params", "settings", "data", "metrics", "metric_definitions", "code")


@dataclass(frozen=True)
class Comparison:
    """A table of runs: `rows` are ``(field, values)``, a value a run, None where a run has no such field."""

    runs: Sequence[Mapping[str, Json]]
    rows: Sequence[tuple[str, Sequence[Json]]]

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault compare --json`` prints."""
        return {
            "runs": [dict(run) for run in self.runs],
            "rows": [{"field": field, "values": list(values)} for field, values in self.rows],
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return a row a field and a column a run, named by the runs' short ids."""
        import pandas as pd

        frame = pd.DataFrame([list(values) for _, values in self.rows], dtype=object)
        frame.index = pd.Index([field for field, _ in self.rows], name="field", dtype="str")
        frame.columns = pd.Index([run["short_id"] for run in self.runs][: frame.shape[1]])
        return frame

    def __repr__(self) -> str:
        return "\n".join(f"{field}: {' | '.join(map(str, values))}" for field, values in self.rows)

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(escape=True, na_rep="–"))


def compare_members(runs: Sequence[Mapping[str, Json]], *, everything: bool = False) -> Comparison:
    """Compare runs given as JSON: the fields that differ, or with `everything` all of them, those that differ first."""
    flat = [_fields(run) for run in runs]
    names = list(dict.fromkeys(name for fields in flat for name in fields))
    rows = [(name, [fields.get(name) for fields in flat]) for name in names]
    differing = [row for row in rows if _differs(row[1])]
    same = [row for row in rows if not _differs(row[1])]
    return Comparison(runs, [*differing, *same] if everything else differing)


def _fields(run: Mapping[str, Json]) -> dict[str, Json]:
    fields = {name: run.get(name) for name in FIELDS}
    for group in GROUPS:
        fields.update(flatten(run.get(group) or {}, group))
    return fields


def _differs(values: Sequence[Json]) -> bool:
    return any(value != values[0] or type(value) is not type(values[0]) for value in values[1:])
