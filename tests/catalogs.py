"""Everything that can be asked of a catalog, for comparing two."""

from __future__ import annotations

from typing import Any

from runvault.model.query import Selection
from runvault.stores.catalog import Catalog

REF = "refs/heads/runvault"


def whole(catalog: Catalog, ref: str = REF) -> dict[str, Any]:
    """Return everything that can be asked of a catalog."""
    runs = list(catalog.select(ref, Selection()))
    revisions = {run: catalog.revisions(ref, run) for run in catalog.ids(ref, "")[::9] + catalog.past_ids(ref, "")}
    return {
        "runs": runs,
        "damaged": catalog.damaged(ref),
        "names": catalog.names(ref),
        "values": {k: catalog.values(ref, k) for k in ("strategy", "engine", "alias", "tag", "symbol", "metric")},
        "revisions": {run: found for run, found in sorted(revisions.items()) if found},
        "by sharpe": [run["id"] for run in catalog.select(ref, Selection(sort="-sharpe_ratio", limit=20))],
        "found": [run["id"] for run in catalog.select(ref, Selection(search="stop"))],
        "fast": [run["id"] for run in catalog.select(ref, Selection(sort="created_at"))],
        "definitions": catalog.definitions(ref, [run["id"] for run in runs]),
        "single": [catalog.run(ref, run["id"]) for run in runs[::9]],
    }
