"""Is every run what it says it is? Looks at everything, changes nothing."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from runvault.archive.artifacts import read_tables
from runvault.archive.compose import ANNOTATIONS, MANIFEST, STATS
from runvault.archive.curves import portfolio_tables
from runvault.archive.gate import Gate
from runvault.errors import FormatError, IntegrityError, RunvaultError
from runvault.integrity.findings import Report
from runvault.integrity.recompute import Recomputation
from runvault.integrity.signatures import check_signatures
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.manifest import Manifest, check_address
from runvault.model.metrics import METRICS, Number, to_metric
from runvault.model.table import Table
from runvault.stores.dvc import parse_pointer
from runvault.stores.tables import read_table

if TYPE_CHECKING:
    from runvault.archive.stores import Stores

Json: TypeAlias = Any
T = TypeVar("T")

NO_TIME = np.iinfo(np.int64).min  # as NumPy writes NaT


FETCH = "fetch it: dvc fetch --all-branches"


@dataclass(frozen=True)
class Checks:
    """What is checked besides what always is.

    Parameters
    ----------
    artifacts : bool
        Read every table too, with the checks that reading makes, and compute the results digest from them. Without it
        an artifact's hash is compared with the manifest's, and its content is not interpreted.
    recompute : bool
        Rebuild every portfolio and compare its statistics with those archived.
    signatures : bool
        Check the signatures of the archive's commits.
    """

    artifacts: bool = False
    recompute: bool = False
    signatures: bool = False


def verify(stores: Stores, runs: Collection[RunId] | None = None, checks: Checks | None = None) -> Report:
    """Check runs at the tip of the archive; all of them unless `runs` says which."""
    return _Verification(stores, checks or Checks()).run({run.path for run in runs} if runs is not None else None)


class _Verification:
    def __init__(self, stores: Stores, checks: Checks) -> None:
        self.stores = stores
        self.checks = checks
        self.report = Report(checked=Counter(runs=0, files=0, artifacts=0))
        self.recomputation = Recomputation(stores, self.report) if checks.recompute else None
        self.objects: dict[tuple[str, str | None, int], str | None] = {}

    def run(self, folders: Collection[str] | None) -> Report:
        for folder, files in self._folders(folders):
            self._check_run(folder, files)
        if folders is None:
            self._check_inputs()
        if self.recomputation is not None:
            self.recomputation.run()
        if self.checks.signatures:
            check_signatures(self.stores, folders, self.report)
        return self.report

    def _folders(self, wanted: Collection[str] | None) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield each run's folder with its files, read in one pass over the tip."""
        blobs: dict[str, dict[str, str]] = defaultdict(dict)
        for path, blob in Gate(self.stores.reader).changed_files(None, self.stores.require_tip()):
            parts = path.split("/")
            folder = "/".join(parts[:3])
            if parts[0] == "runs" and blob is not None and (wanted is None or folder in wanted):
                blobs[folder]["/".join(parts[3:])] = blob
        folders = sorted(blobs)
        contents = self.stores.reader.read_blobs(blob for folder in folders for blob in blobs[folder].values())
        following = next(contents, None)
        for folder in folders:
            files: dict[str, bytes] = {}
            for name, blob in blobs[folder].items():
                content = None
                if following is not None and following[0] == blob:  # what is not there is left out of the answers
                    content, following = following[1], next(contents, None)
                self._take(folder, name, blob, content, files)
            yield folder, files

    def _take(self, folder: str, name: str, blob: str, content: bytes | None, files: dict[str, bytes]) -> None:
        if content is None or _blob_id(content) != blob:
            self.report.found(folder, name, "its Git object is missing or damaged")
        else:
            files[name] = content
            self.report.checked["files"] += 1

    def _check_run(self, folder: str, files: Mapping[str, bytes]) -> None:
        self.report.checked["runs"] += 1
        run = RunId.from_path(folder)
        if run is None:
            self.report.found(folder, None, "the folder's name is no run id")
            return
        manifest = self._check_manifest(folder, run, files)
        self._guard(folder, ANNOTATIONS, lambda: Annotations.from_bytes(_required(files, ANNOTATIONS)))
        statistics = self._guard(folder, STATS, lambda: read_table(_required(files, STATS), "stats"))
        if manifest is not None:
            self._check_metrics(folder, manifest.metrics, statistics)
            self._check_pointers(folder, files, manifest.artifacts)
            self._check_unknown(folder, files, manifest.artifacts)
            if self.checks.artifacts:
                self._check_tables(folder, manifest)
            if self.recomputation is not None and statistics is not None:
                self.recomputation.add(folder, manifest.to_dict(), files[STATS])

    def _check_manifest(self, folder: str, run: RunId, files: Mapping[str, bytes]) -> Manifest | None:
        try:
            manifest = Manifest.from_bytes(_required(files, MANIFEST))
            check_address(manifest, run)
        except RunvaultError as error:
            self.report.found(folder, MANIFEST, error.message, error.hint)
            return None
        return manifest

    def _check_metrics(self, folder: str, metrics: Mapping[str, Number], statistics: Table | None) -> None:
        """Check that the headline metrics are the statistics, as fractions and seconds."""
        for name, value in headline_metrics(statistics).items() if statistics is not None else ():
            if name in metrics and metrics[name] != value:
                self.report.found(folder, MANIFEST, f"metric {name} is {metrics[name]}, in {STATS} it is {value}")

    def _check_pointers(self, folder: str, files: Mapping[str, bytes], artifacts: Mapping[str, Json]) -> None:
        for name, entry in artifacts.items():
            self.report.checked["artifacts"] += 1
            pointer_name = f"{name}.dvc"
            try:
                pointer = parse_pointer(_required(files, pointer_name), name)
            except RunvaultError as error:
                self.report.found(folder, pointer_name, error.message, error.hint)
                continue
            if (pointer.md5, pointer.size) != (entry["md5"], entry["size"]):
                self.report.found(folder, pointer_name, "the pointer is not to the object that the manifest names")
            self._check_object(folder, name, entry)

    def _check_object(self, folder: str, name: str, entry: Mapping[str, Json]) -> None:
        key = (entry["md5"], entry["sha256"], entry["size"])
        if key not in self.objects:
            self.objects[key] = self._object_problem(*key)
        problem = self.objects[key]
        if problem is not None:
            self.report.found(folder, name, problem, FETCH)

    def _object_problem(self, md5: str, sha256: str | None, size: int) -> str | None:
        """Return what is wrong with an object; None where a good copy is in the cache, or in keep alone."""
        problems = self.stores.objects.check(md5, sha256, size)
        damaged = [problem.place for problem in problems if problem.kind == "damaged"]
        if damaged:
            return f"object {md5} is damaged in {' and '.join(damaged)}"
        if not self.stores.objects.has(md5):
            return f"object {md5} is not here"
        if problems:
            self.report.checked["kept"] += 1
        return None

    def _check_unknown(self, folder: str, files: Mapping[str, bytes], artifacts: Mapping[str, Json]) -> None:
        known = {MANIFEST, ANNOTATIONS, STATS, *(f"{name}.dvc" for name in artifacts)}
        for name in files.keys() - known:
            self.report.found(folder, name, "the manifest does not know this file")

    def _check_tables(self, folder: str, manifest: Manifest) -> None:
        members = manifest.to_dict()
        for name in members["artifacts"]:
            if name.endswith(".parquet"):
                self._guard(folder, name, partial(read_tables, self.stores.objects, members, [name]))
        if members["portfolio"] and members["portfolio"].get("rebuildable"):
            self._guard(folder, MANIFEST, lambda: self._check_digest(members))

    def _check_digest(self, manifest: Mapping[str, Json]) -> None:
        from runvault.engines.vectorbt.recomputing import recomputed_digest

        tables = portfolio_tables(self.stores, manifest)
        if recomputed_digest(tables, manifest["metrics"]) != manifest["results_digest"]:
            raise IntegrityError("results_digest is not that of the archived prices, orders and metrics")

    def _check_inputs(self) -> None:
        """Check the pointers under ``data/`` and the objects behind them."""
        changes = self.stores.reader.changed_files(None, self.stores.require_tip())
        blobs = {path: blob for path, blob in changes if path.startswith("data/") and blob}
        contents = dict(self.stores.reader.read_blobs(blobs.values()))
        for path, blob in blobs.items():
            self.report.checked["inputs"] += 1
            name = path.rpartition("/")[2].removesuffix(".dvc")
            try:
                pointer = parse_pointer(_required({path: contents[blob]}, path), name, folder=name.endswith(".dir"))
            except (RunvaultError, KeyError) as error:
                self.report.found(
                    "", path, str(error) if isinstance(error, RunvaultError) else "its Git object is missing"
                )
                continue
            problem = self._object_problem(pointer.md5, None, pointer.size)
            if problem is not None:
                self.report.found("", path, problem, FETCH)

    def _guard(self, folder: str, name: str, check: Callable[[], T]) -> T | None:
        try:
            return check()
        except RunvaultError as error:
            self.report.found(folder, name, error.message, error.hint)
            return None


def headline_metrics(statistics: Table) -> dict[str, Number]:
    """Return the metrics that the statistics of the whole portfolio give, as the manifest has them."""
    columns = statistics.columns
    metrics = {}
    for row in np.flatnonzero([column is None for column in columns["column"]]).tolist():
        metric = METRICS.get(columns["name"][row])
        if metric is not None and metric.unit != "timestamp":
            nanoseconds = int(columns["value_ns"][row]) if metric.unit == "duration" else None
            undefined = nanoseconds == NO_TIME
            value = None if undefined else to_metric(metric, float(columns["value"][row]), nanoseconds)
            metrics[metric.name] = value
    return metrics


def _required(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise FormatError(f"{name} is missing")
    return files[name]


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
