"""Is every run what it says it is? Looks at everything, changes nothing."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from runvault.archive.admission import check_input, check_pointer, unknown_files
from runvault.archive.artifacts import read_tables
from runvault.archive.curves import portfolio_tables
from runvault.archive.gate import SWITCH, check_switch
from runvault.errors import ArtifactMissingError, FormatError, IntegrityError, RunvaultError
from runvault.integrity.apart import MANY, Apart
from runvault.integrity.catalog import Verdict, comparison
from runvault.integrity.contents import Contents
from runvault.integrity.findings import RESTORE, Report
from runvault.integrity.ground import REPAIR, check_catalog, check_git, check_refs, history_of
from runvault.integrity.recompute import Recomputation
from runvault.integrity.repair import Object, Remotes, repair
from runvault.integrity.signatures import check_signatures
from runvault.integrity.statistics import problems_of
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.manifest import Manifest, check_address
from runvault.model.records import ANNOTATIONS, MANIFEST, STATS
from runvault.stores.git.damage import Damage
from runvault.stores.git.modes import EMPTY_TREE, odd_modes
from runvault.stores.git.soundness import SoundReader

if TYPE_CHECKING:
    from runvault.archive.stores import Stores

Json: TypeAlias = Any
T = TypeVar("T")

ABSENT = "absent"


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
    """Check runs at the tip of the archive; all of them, and what they stand on, unless `runs` says which."""
    with stores.objects.alone():
        return _Verification(stores, checks or Checks()).run({run.path for run in runs} if runs is not None else None)


def verify_and_repair(stores: Stores, runs: Collection[RunId] | None = None, checks: Checks | None = None) -> Report:
    """Do what `verify` does, heal what a second copy can heal, and report what remains and what was done."""
    folders = {run.path for run in runs} if runs is not None else None
    repaired: list[str] = []
    while True:
        found = _Verification(stores, checks or Checks())
        found.report.repaired = repaired
        with stores.objects.alone():
            found.run(folders)
        git = bool(found.git_damage or found.told)
        healed = repair(stores, found.unwell, git=git, catalog=found.catalog_damaged) if found.is_unwell else []
        if not set(healed) - set(repaired):  # nothing more can be done
            return found.report
        repaired += [each for each in healed if each not in repaired]


class _Verification:
    def __init__(self, stores: Stores, checks: Checks) -> None:
        self.stores = stores
        self.checks = checks
        self.report = Report(checked=Counter(runs=0, files=0, artifacts=0))
        self.recomputation = Recomputation(stores, self.report) if checks.recompute else None
        self.objects: dict[tuple[str, str | None, int], str | None] = {}
        self.told: set[str] = set()  # Git objects that a finding names already
        self.git_damage: list[Damage] = []
        self.catalog_damaged = False
        self.unwell: dict[Object, None] = {}  # objects of which a copy is missing or damaged
        self.absent: dict[str, list[tuple[str, str]]] = defaultdict(list)  # objects that are nowhere here, and whose
        self.processes = contextlib.ExitStack()
        self.apart: Apart | None = None  # where other processes check the statistics
        self.history: Callable[[], list[Damage]] | None = None  # what git finds behind the tip, meanwhile
        self.catalog: Callable[[], Verdict] | None = None  # how it compares with a fresh one, meanwhile where many

    @property
    def is_unwell(self) -> bool:
        """Tell whether there is anything to repair: a copy that is missing beside a good one is no finding."""
        return bool(self.unwell or self.git_damage or self.told or self.catalog_damaged)

    def run(self, folders: Collection[str] | None) -> Report:
        with self.processes:
            return self._run(folders)

    def _run(self, folders: Collection[str] | None) -> Report:
        self.git_damage = check_refs(self.stores, self.report) if folders is None else []
        tip = self.stores.repository.tip() if self.git_damage else self.stores.require_tip()
        if tip is None:
            return self.report
        self._check_tip(tip, folders)
        self._check_absent()
        if self.recomputation is not None:
            self.recomputation.run()
        if self.checks.signatures:
            check_signatures(self.stores, folders, self.report)
        if self.history is not None:
            self.git_damage += check_git(self.stores, self.history, self.report, self.told)
        if self.catalog is not None and not self.git_damage and not self.told:  # or a fresh one would know less
            self.catalog_damaged = check_catalog(self.stores, self.catalog, self.report)
        for problem in self.apart.problems() if self.apart is not None else ():
            self.report.found(*problem)
        return self.report

    def _check_tip(self, tip: str, wanted: Collection[str] | None) -> None:
        """Check each run, and the inputs, with one walk of the tip and one reading of its files."""
        source = SoundReader(self.stores.repository)
        listed, damaged = source.files(tip)
        for damage in damaged:
            self._lost(damage.path, damage.object or "", damage.problem)
        runs, inputs = defaultdict[str, dict[str, str]](dict), {}
        for path, blob in listed:
            parts = path.split("/")
            folder = "/".join(parts[:3])
            if parts[0] == "runs" and (wanted is None or folder in wanted):
                runs[folder]["/".join(parts[3:])] = blob
            elif parts[0] == "data" and wanted is None:
                inputs[path] = blob
        self._check_switch(source, dict(listed).get(SWITCH), whole=not damaged)
        many = sum(STATS in files for files in runs.values()) >= MANY
        if wanted is None:
            self.history = self.processes.enter_context(history_of(self.stores, tip))
            self.catalog = self.processes.enter_context(comparison(self.stores.repository, tip, apart=many))
        if many and self.recomputation is None:  # that one needs to know here whether they can be read
            self.apart = self.processes.enter_context(Apart())
        self._check_runs(source, runs)
        self._check_inputs(source, inputs)
        with contextlib.suppress(RunvaultError):  # of a tree that git cannot read the damage is told already
            self._check_modes(odd_modes(self.stores.repository, EMPTY_TREE, tip), runs, inputs)

    def _check_modes(
        self, odd: Mapping[str, str], runs: Mapping[str, Mapping[str, str]], inputs: Mapping[str, str]
    ) -> None:
        """Report what is no plain file: it reads as one here, and no other clone lets it in."""
        for path, what in odd.items():
            folder = "/".join(path.split("/")[:3])
            if folder in runs:
                self.report.found(folder, path.removeprefix(f"{folder}/"), f"it is {what}, no plain file", RESTORE)
            elif path in inputs:
                self.report.found("", path, f"it is {what}, no plain file")

    def _check_switch(self, source: SoundReader, blob: str | None, *, whole: bool) -> None:
        content = dict(source.read_blobs([blob])).get(blob) if blob else None
        if blob and content is None:
            self._lost(SWITCH, blob)
        elif content is not None or whole:
            check_switch(content)

    def _check_runs(self, source: SoundReader, runs: Mapping[str, Mapping[str, str]]) -> None:
        folders = sorted(runs)
        blobs = [blob for folder in folders for blob in runs[folder].values()]
        contents = Contents(source.read_blobs(blobs), Counter(blobs))
        for folder in folders:
            files: dict[str, bytes] = {}
            for name, blob in runs[folder].items():
                content = contents.take(blob)
                if content is None:
                    self._lost(f"{folder}/{name}", blob)
                else:
                    files[name] = content
                    self.report.checked["files"] += 1
            self._check_run(folder, files, runs[folder])

    def _lost(self, path: str, blob: str, problem: str = "its Git object is missing or damaged") -> None:
        """Report a Git object that is not there, by the run and the file that it was."""
        self.told.add(blob)
        parts = path.split("/")
        if parts[0] == "runs" and len(parts) >= 3:
            self.report.found("/".join(parts[:3]), "/".join(parts[3:]) or None, f"{problem}: {blob}", REPAIR)
        else:
            self.report.found("", path, f"{problem}: {blob}", REPAIR)

    def _check_run(self, folder: str, files: Mapping[str, bytes], blobs: Mapping[str, str]) -> None:
        self.report.checked["runs"] += 1
        run = RunId.from_path(folder)
        if run is None:
            self.report.found(folder, None, "the folder's name is no run id")
            return
        manifest = self._check_manifest(folder, run, files) if MANIFEST in files or MANIFEST not in blobs else None
        self._check_annotations(folder, files, blobs)
        sound = self._check_statistics(folder, files, blobs, manifest)
        if manifest is not None:
            self._check_pointers(folder, files, blobs, manifest.artifacts)
            for name in unknown_files(files, manifest.artifacts):
                self.report.found(folder, name, "the manifest does not know this file", RESTORE)
            if self.checks.artifacts:
                self._check_tables(folder, manifest)
            if self.recomputation is not None and sound:
                self.recomputation.add(folder, manifest.to_dict(), files[STATS])

    def _check_annotations(self, folder: str, files: Mapping[str, bytes], blobs: Mapping[str, str]) -> None:
        if ANNOTATIONS in files or ANNOTATIONS not in blobs:
            self._guard(folder, ANNOTATIONS, lambda: Annotations.from_bytes(_required(files, ANNOTATIONS)), RESTORE)

    def _check_statistics(
        self, folder: str, files: Mapping[str, bytes], blobs: Mapping[str, str], manifest: Manifest | None
    ) -> bool:
        """Check the statistics here, unless others do; return whether they were seen to be readable."""
        if STATS not in files:
            if STATS not in blobs:
                self.report.found(folder, STATS, f"{STATS} is missing", RESTORE)
            return False
        metrics = manifest.metrics if manifest is not None else None
        if self.apart is not None:
            self.apart.check(folder, files[STATS], metrics)
            return False
        problems = list(problems_of(folder, files[STATS], metrics))
        for problem in problems:
            self.report.found(*problem)
        return not any(problem.file == STATS for problem in problems)

    def _check_manifest(self, folder: str, run: RunId, files: Mapping[str, bytes]) -> Manifest | None:
        try:
            manifest = Manifest.from_bytes(_required(files, MANIFEST))
            check_address(manifest, run)
        except RunvaultError as error:
            self.report.found(folder, MANIFEST, error.message, error.hint or RESTORE)
            return None
        return manifest

    def _check_pointers(
        self, folder: str, files: Mapping[str, bytes], blobs: Mapping[str, str], artifacts: Mapping[str, Json]
    ) -> None:
        for name, entry in artifacts.items():
            self.report.checked["artifacts"] += 1
            pointer_name = f"{name}.dvc"
            if pointer_name in files or pointer_name not in blobs:
                self._guard(folder, pointer_name, partial(check_pointer, files, name, entry), RESTORE)
            self._check_object(folder, name, entry["md5"], entry["sha256"], entry["size"])

    def _check_object(self, folder: str, name: str, md5: str, sha256: str | None, size: int) -> None:
        key = (md5, sha256, size)
        if key not in self.objects:
            self.objects[key] = self._object_problem(*key)
        problem = self.objects[key]
        if problem == ABSENT:
            self.absent[md5].append((folder, name))
        elif problem is not None:
            self.report.found(folder, name, problem, REPAIR)

    def _object_problem(self, md5: str, sha256: str | None, size: int) -> str | None:
        """Return what is wrong with an object; None where a good copy is in the cache, or in keep alone."""
        try:
            problems = self.stores.objects.check(md5, sha256, size)
        except RunvaultError as error:  # the listing of a folder
            self.unwell[md5, sha256, size] = None
            return error.message
        if problems:
            self.unwell[md5, sha256, size] = None
        damaged = [problem.place for problem in problems if problem.kind == "damaged"]
        if damaged:
            return f"object {md5} is damaged in {' and '.join(dict.fromkeys(damaged))}"
        if not self.stores.objects.has(md5):
            return ABSENT
        self.report.checked["kept"] += bool(problems)
        return None

    def _check_absent(self) -> None:
        """Report objects that are neither here nor on the remote; those that are there alone are counted."""
        if not self.absent:
            return
        remotes = Remotes(self.stores)
        there = remotes.present(self.absent)
        for md5, places in self.absent.items():
            if md5 in there:
                self.report.checked["on a remote"] += 1
                continue
            for folder, name in places:
                self.report.found(folder, name, f"object {md5} is not here", remotes.hint)

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

    def _check_inputs(self, source: SoundReader, inputs: Mapping[str, str]) -> None:
        """Check the pointers under ``data/`` and the objects behind them."""
        contents = dict(source.read_blobs(inputs.values()))
        for path, blob in inputs.items():
            self.report.checked["inputs"] += 1
            if blob not in contents:
                self._lost(path, blob)
                continue
            pointer = self._guard("", path, partial(check_input, path.rpartition("/")[2], contents[blob]))
            if pointer is not None:
                self._check_object("", path, pointer.md5, None, pointer.size)

    def _guard(self, folder: str, name: str, check: Callable[[], T], hint: str | None = None) -> T | None:
        try:
            return check()
        except ArtifactMissingError:
            return None  # on a remote, or a finding of its own
        except RunvaultError as error:
            self.report.found(folder, name, error.message, error.hint or hint)
            return None


def _required(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise FormatError(f"{name} is missing")
    return files[name]
