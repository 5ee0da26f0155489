"""Saving one result, or several together: address, artifacts, one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.archive.artifacts import ArtifactWriter, read_tables
from runvault.archive.changing import edit_of
from runvault.archive.compose import (
    PICKLE,
    Address,
    Made,
    address_of,
    annotate,
    created_at_text,
    manifest_of,
    message_of,
    new_annotations,
    one_line,
    sweep_message,
)
from runvault.archive.inputs import Inputs, inputs_of
from runvault.archive.reading import commit_of, instant_of_new, later_than_its_past
from runvault.archive.request import Provenance, SaveOutcome, SaveRequest
from runvault.archive.stores import Stores
from runvault.engines.result import Result
from runvault.engines.vectorbt.statistics import statistics_to_table
from runvault.model.annotations import Annotations
from runvault.model.changes import drift_between
from runvault.model.manifest import Manifest
from runvault.model.records import ANNOTATIONS, MANIFEST, STATS, dump_checked
from runvault.model.table import Table
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.tables import TableWriter, write_table

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip

Json: TypeAlias = Any

BULK_FILES = 100  # from here on one pack is sooner made than that many loose objects


def save_result(
    stores: Stores, result: Result, request: SaveRequest, provenance: Provenance, inputs: Inputs | None = None
) -> SaveOutcome:
    """Archive one result.

    Parameters
    ----------
    inputs : Inputs, optional
        The input files as they were kept already, with others that a replay needs and the config does not name, such as
        a frame that was passed in memory; by default those of the request are kept now.

    Returns
    -------
    SaveOutcome
        `created` is false where the address holds an equal result already; then nothing is written, unless tags or a
        note were added.

    Raises
    ------
    ConfigError
        A value has no canonical form, or looks like a credential; the message names its path.
    """
    save = _Save(stores, result, request, provenance, inputs or inputs_of(stores, request), TableWriter())
    commit = stores.update(save.plan)
    stores.objects.settle(save.md5s)
    return save.outcome(commit or stores.require_tip())


def save_results(
    stores: Stores,
    results: Sequence[tuple[Result, SaveRequest]],
    provenance: Provenance,
    inputs: Inputs | None = None,
) -> list[SaveOutcome]:
    """Archive several results of one sweep, all in one commit.

    Parameters
    ----------
    results : sequence of (Result, SaveRequest)
        Of one strategy, with one `lineage`; no two have one address.
    inputs : Inputs, optional
        The input files as they were kept already; by default those of each request are kept now.

    Returns
    -------
    list of SaveOutcome
        In the order of the results.

    Raises
    ------
    ConfigError
        A value has no canonical form; then nothing is archived.
    """
    tables = TableWriter()
    with stores.objects.batch():  # what several take as input is put and noted once
        saves = [
            _Save(stores, result, request, provenance, inputs or inputs_of(stores, request), tables)
            for result, request in results
        ]
    commit = stores.update(_Together(saves, stores, provenance).plan) if saves else None
    stores.objects.settle(md5 for save in saves for md5 in save.md5s)
    commit = commit or stores.require_tip()
    return [save.outcome(commit) for save in saves]


def address_for(result: Result, request: SaveRequest, inputs: Inputs) -> Address:
    """Return where a result is archived; `inputs` are the files of the request, kept.

    Raises
    ------
    ConfigError
        A value has no canonical form, or looks like a credential; the message names its path.
    """
    return address_of(request, result.engine, inputs.config(result, request), request.params)


@dataclass(frozen=True)
class _Changes:
    """The files that a save changes, and what for; None as the content removes a file."""

    files: Mapping[str, bytes | None]
    kind: str


@dataclass(frozen=True)
class _Together:
    """Several saves, on their way into one commit."""

    saves: Sequence[_Save]
    stores: Stores
    provenance: Provenance

    def plan(self, tip: Tip) -> Edit | None:
        """Return what all the saves change on top of `tip`; None where they change nothing."""
        with self.stores.objects.batch():
            planned = [(save, changes) for save in self.saves if (changes := save.changes(tip)) is not None]
        if not planned:
            return None
        files = {path: content for _, changes in planned for path, content in changes.files.items()}
        request = self.saves[0].request
        new = sum(save.created for save, _ in planned)
        if not new:
            runs = [save.address.id for save, _ in planned]
            subject = f"Annotate {len(runs)} runs of {one_line(request.strategy, 60)}"
            return edit_of(tuple(files.items()), subject, runs, "annotate", self.provenance)
        code = self.provenance.code.get("commit")
        message = sweep_message(request.strategy, new, request.lineage.get("sweep"), code)
        author = Signature(self.provenance.author_name, self.provenance.author_email)
        bulk = len(files) > BULK_FILES
        return Edit(tuple(files.items()), message, author, self.provenance.now, bulk=bulk)


class _Save:
    """One save, from address to commit; `plan` is called again where another writer came first."""

    def __init__(
        self,
        stores: Stores,
        result: Result,
        request: SaveRequest,
        provenance: Provenance,
        inputs: Inputs,
        tables: TableWriter,
    ) -> None:
        self.stores = stores
        self.result = result
        self.request = request
        self.provenance = provenance
        self.inputs = inputs
        self.tables = tables
        self.address = address_for(result, request, inputs)
        self.artifacts = ArtifactWriter(stores.objects)
        self.stats = write_table(statistics_to_table(result.statistics))
        self.created = False
        self.drift: Mapping[str, Json] | None = None

    def outcome(self, commit: str) -> SaveOutcome:
        """Return what became of it, once `commit` holds it."""
        return SaveOutcome(str(self.address.id), commit, self.created, self.drift)

    @property
    def md5s(self) -> list[str]:
        """Return what was put, and is named by a commit now, or by none that is still to come."""
        return [*self.inputs.md5.values(), *self.artifacts.md5s]

    def plan(self, tip: Tip) -> Edit | None:
        """Return the edit of a commit of this save alone."""
        changes = self.changes(tip)
        return None if changes is None else self._edit(changes)

    def changes(self, tip: Tip) -> _Changes | None:
        """Return what this save changes on top of `tip`; None where it changes nothing."""
        at = created_at_text(self.provenance.now, tip.time)
        known = tip.read(f"{self.address.id.path}/{MANIFEST}")
        if known is None:
            made = instant_of_new(self.stores, self.address.id, at, self.provenance.now, tip.time)
            return self._revision(tip, made, new_annotations(self.request, self.provenance, at))
        annotations = Annotations.from_bytes(tip.read(f"{self.address.id.path}/{ANNOTATIONS}") or b"{}")
        annotated = annotate(annotations, self.request, self.provenance, at)
        previous = Manifest.from_bytes(known)
        if previous.results_digest != self.result.digest:
            made = later_than_its_past(self.stores, self.address.id, at)
            return self._revision(tip, made, annotated, previous)
        self.created, self.drift = False, None
        return None if annotated == annotations else self._annotation(annotated)

    def _revision(self, tip: Tip, at: str, annotations: Annotations, previous: Manifest | None = None) -> _Changes:
        pointers = self._store_artifacts()
        manifest = dump_checked(
            manifest_of(
                self.address,
                self.result,
                Made(self.result.engine, self.result.backend, self.result.packages),
                self.request,
                self.provenance,
                created_at=at,
                artifacts=self.artifacts.described,
                portfolio=self.result.portfolio,
                lineage=self.request.lineage,
            ),
            MANIFEST,
        )
        current = Manifest.from_bytes(manifest)  # what cannot be read back is not written
        self.created = True
        self.drift = self._drift_from(previous, current) if previous else None
        files = {MANIFEST: manifest, ANNOTATIONS: annotations.to_bytes(), STATS: self.stats, **pointers}
        stale = [name for name in tip.files(self.address.id.path) if name not in files] if previous else []
        changed = {f"{self.address.id.path}/{name}": data for name, data in files.items()}
        removed = {f"{self.address.id.path}/{name}": None for name in stale}
        inputs = {path: data for path, data in self.inputs.pointers.items() if not tip.exists(path)}
        return _Changes({**removed, **changed, **inputs}, self.request.kind)

    def _store_artifacts(self) -> Mapping[str, bytes]:
        """Put the tables and the engine's dump into the DVC cache, once; return the pointers by file name."""
        if not self.artifacts.pointers:
            contents = {name: self.tables.write(name, table) for name, table in self.result.tables.items()}
            if self.result.dump is not None and self.request.pickles != "none":
                contents[PICKLE] = self.result.dump()
            self.artifacts.put_all(contents)
        return self.artifacts.pointers

    def _drift_from(self, previous: Manifest, current: Manifest) -> Mapping[str, Json]:
        return drift_between(
            previous.to_dict(),
            current.to_dict(),
            commit=commit_of(self.stores, self.address.id, previous.created_at),
            previous_tables=self._recorded_tables(previous),
            current_tables=self.result.tables,
        )

    def _recorded_tables(self, previous: Manifest) -> Mapping[str, Table]:
        """Return the earlier revision's tables, as far as they are here: they tell `close` from `drift`."""
        return read_tables(self.stores.objects, previous.to_dict(), missing_ok=True)

    def _annotation(self, annotations: Annotations) -> _Changes:
        return _Changes({f"{self.address.id.path}/{ANNOTATIONS}": annotations.to_bytes()}, "annotate")

    def _edit(self, changes: _Changes) -> Edit:
        strategy = self.request.strategy
        verb = "Annotate" if changes.kind == "annotate" else "Revise" if self.drift else "Save"
        message = message_of(
            f"{verb} {one_line(strategy, 60)} {self.address.id.short}",
            run=str(self.address.id),
            strategy=strategy,
            code=self.provenance.code.get("commit"),
            kind=changes.kind,
        )
        author = Signature(self.provenance.author_name, self.provenance.author_email)
        return Edit(files=tuple(changes.files.items()), message=message, author=author, time=self.provenance.now)
