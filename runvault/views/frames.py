"""Tables and runs as pandas frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.model.changes import flatten
from runvault.model.table import Table

if TYPE_CHECKING:
    import pandas as pd

Json: TypeAlias = Any

GROUPS = ("params", "settings", "data", "metrics")
_PLAIN = (
    *("short_id", "alias", "config_hash", "seed", "strategy", "engine", "symbols", "interval", "start", "end"),
    *("tags", "note", "created_at", "author", "revision", "commit"),
)


def to_frame(table: Table) -> pd.DataFrame:
    """Return a table as a frame; time columns are in their own zone."""
    import pandas as pd

    frame = pd.DataFrame(dict(table.columns))
    for name, zone in table.time_zones.items():
        frame[name] = frame[name].dt.tz_localize("UTC").dt.tz_convert(zone)
    return frame


def runs_frame(runs: Sequence[Mapping[str, Json]]) -> pd.DataFrame:
    """Return a row a run, indexed by id; ``params.*``, ``settings.*``, ``data.*`` and ``metrics.*`` are columns."""
    import pandas as pd

    frame = pd.DataFrame([_row(run) for run in runs], columns=None if runs else ["id", *_PLAIN])
    frame["created_at"] = pd.to_datetime(frame["created_at"], utc=True).dt.as_unit("us")
    return frame.set_index("id")


def _row(run: Mapping[str, Json]) -> dict[str, Json]:
    row = {name: value for name, value in run.items() if name not in GROUPS and not isinstance(value, Mapping)}
    for group in GROUPS:
        row.update(flatten(run[group], group))
    return row
