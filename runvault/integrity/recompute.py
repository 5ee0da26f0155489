"""Statistics from archived prices and orders, beside those that the archive tells."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from runvault.archive.curves import portfolio_tables
from runvault.errors import ArtifactMissingError, RunvaultError
from runvault.model.closeness import differing
from runvault.model.metrics import Number
from runvault.model.records import MANIFEST, STATS
from runvault.stores.tables import read_table

if TYPE_CHECKING:
    from runvault.archive.stores import Stores
    from runvault.engines.vectorbt.recomputing import Numbers
    from runvault.integrity.findings import Report

Json: TypeAlias = Any

FEW = 8  # columns of one portfolio up to which each is rebuilt alone, which costs a few dozen milliseconds
SHOWN = 12  # names of one finding; of a run that has nothing to do with its tables every number differs


@dataclass(frozen=True)
class _Told:
    """What the archive tells of one run."""

    folder: str
    column: int | None
    metrics: Mapping[str, Number]
    statistics: bytes
    made_with: str


@dataclass
class Recomputation:
    """Gathers runs while the tip is walked, and rebuilds each portfolio once: a sweep's runs share one."""

    stores: Stores
    report: Report
    _portfolios: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    _runs: dict[str, list[_Told]] = field(default_factory=lambda: defaultdict(list))

    def add(self, folder: str, manifest: Mapping[str, Json], statistics: bytes) -> None:
        """Take a run whose manifest and statistics could be read."""
        if not (manifest["portfolio"] or {}).get("rebuildable"):
            self.report.checked["not recomputed"] += 1
            return
        tables = {name: entry["sha256"] for name, entry in manifest["artifacts"].items() if name.endswith(".parquet")}
        known = orjson.dumps([manifest["portfolio"], tables], option=orjson.OPT_SORT_KEYS)
        key = hashlib.sha256(known).hexdigest()
        self._portfolios.setdefault(key, {name: manifest[name] for name in ("id", "portfolio", "artifacts")})
        column = manifest["artifacts"].get("prices.parquet", {}).get("column")
        told = _Told(folder, column, manifest["metrics"], statistics, _made_with(manifest))
        self._runs[key].append(told)

    def run(self) -> None:
        """Rebuild, compute and compare."""
        for key, runs in self._runs.items():
            together = len(runs) > FEW and all(run.column is not None for run in runs)
            for part in [runs] if together else [[run] for run in runs]:
                self._compare_all(self._portfolios[key], part)

    def _compare_all(self, manifest: Mapping[str, Json], runs: Sequence[_Told]) -> None:
        try:
            numbers = self._numbers(manifest, None if len(runs) > 1 else runs[0].column, runs)
        except ArtifactMissingError:  # a finding already, or on a remote
            self.report.checked["not recomputed"] += len(runs)
            return
        except RunvaultError as error:
            for run in runs:
                self.report.found(run.folder, None, f"its statistics cannot be computed: {error.message}", error.hint)
            return
        for run, told in zip(runs, numbers, strict=True):
            self._compare(run, told)

    def _numbers(self, manifest: Mapping[str, Json], column: int | None, runs: Sequence[_Told]) -> list[Numbers]:
        from runvault.engines.vectorbt.recomputing import recomputed_columns, recomputed_numbers

        tables = portfolio_tables(self.stores, _of_column(manifest, column))
        if len(runs) == 1:
            return [recomputed_numbers(tables)]
        return recomputed_columns(tables, [run.column or 0 for run in runs])

    def _compare(self, run: _Told, numbers: Numbers) -> None:
        from runvault.engines.vectorbt.recomputing import statistics_of

        self.report.checked["recomputed"] += 1
        try:
            archived = statistics_of(read_table(run.statistics, "stats"))
        except RunvaultError:
            return  # a finding already
        now = f"vectorbt {numbers.version}"
        hint = None if run.made_with == now else f"recorded with {run.made_with}, computed with {now}"
        money = run.metrics.get("start_value")
        for file, told, computed in (
            (MANIFEST, run.metrics, numbers.metrics),
            (STATS, archived, numbers.statistics),
        ):
            names = differing(told, computed, money)
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                problem = f"not what prices and orders give: {', '.join(names[:SHOWN])}{more}"
                self.report.found(run.folder, file, problem, hint)


def _of_column(manifest: Mapping[str, Json], column: int | None) -> Mapping[str, Json]:
    """Return a manifest whose tables are read for one column, or whole where that is None."""
    entries = {name: {**entry, "column": column} for name, entry in manifest["artifacts"].items()}
    return {**manifest, "artifacts": entries}


def _made_with(manifest: Mapping[str, Json]) -> str:
    packages = (manifest["environment"] or {}).get("packages") or {}
    return f"vectorbt {packages.get('vectorbt', 'unknown')}"
