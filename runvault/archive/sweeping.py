"""Saving a sweep: shared tables once, one run a column, one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    new_annotations,
    one_line,
    sweep_message,
)
from runvault.archive.inputs import Inputs, inputs_of
from runvault.archive.reading import commit_of, instant_of_new, later_than_its_past
from runvault.archive.request import Provenance, SaveOutcome, SaveRequest
from runvault.archive.stores import Stores
from runvault.engines.result import Sweep, SweepColumn
from runvault.engines.vectorbt.statistics import statistics_to_table
from runvault.errors import ConfigError
from runvault.model.annotations import Annotations
from runvault.model.changes import drift_between
from runvault.model.ids import RunId
from runvault.model.manifest import Manifest
from runvault.model.records import ANNOTATIONS, MANIFEST, STATS, dump_checked
from runvault.model.table import Table
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.tables import write_table

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip

Json: TypeAlias = Any

ORDERS = "orders.parquet"
PICKLES_TOGETHER_BYTES = 64 * 2**20  # `auto` keeps all dumps while they come to no more than this
BEST_PICKLES = 100  # … else those of the best columns by Sharpe ratio
COLUMNS_PER_PICKLE = 100


@dataclass(frozen=True)
class _Planned:
    """One column on its way into the archive."""

    column: SweepColumn
    address: Address
    annotations: Annotations
    previous: Manifest | None
    created_at: str


def save_sweep(
    stores: Stores, sweep: Sweep, request: SaveRequest, provenance: Provenance, inputs: Inputs | None = None
) -> list[SaveOutcome]:
    """Archive each column of a sweep as a run of its own, all in one commit.

    Columns whose address holds an equal result already are left as they are.

    Parameters
    ----------
    inputs : Inputs, optional
        The input files as they were kept already; by default those of the request are kept now.

    Returns
    -------
    list of SaveOutcome
        In the order of the columns.

    Raises
    ------
    ConfigError
        A value has no canonical form, or two columns have one address.
    """
    return _SweepSave(stores, sweep, request, provenance, inputs or inputs_of(stores, request)).run()


class _SweepSave:
    def __init__(
        self, stores: Stores, sweep: Sweep, request: SaveRequest, provenance: Provenance, inputs: Inputs
    ) -> None:
        self.stores = stores
        self.sweep = sweep
        self.request = request
        self.provenance = provenance
        self.made = Made(sweep.engine, sweep.backend, sweep.packages)
        self.inputs = inputs
        self.addresses = self._addresses()
        self.lineage = {"sweep": _sweep_id([address.id for address in self.addresses]), **request.lineage}
        self.shared = ArtifactWriter(stores.objects)
        self.dumps: Mapping[int, _Dump] = {}
        self.planned: list[_Planned] = []
        self.drifts: dict[RunId, Mapping[str, Json]] = {}

    def run(self) -> list[SaveOutcome]:
        commit = self.stores.update(self._plan) or self.stores.require_tip()
        dumps = [md5 for dump in self.dumps.values() for md5 in dump.writer.md5s]
        self.stores.objects.settle([*self.inputs.md5.values(), *self.shared.md5s, *dumps])
        created = {planned.address.id for planned in self.planned}
        return [
            SaveOutcome(str(address.id), commit, address.id in created, self.drifts.get(address.id))
            for address in self.addresses
        ]

    def _addresses(self) -> list[Address]:
        addresses = []
        for column in self.sweep.columns:
            params = {**self.request.params, **column.params}
            data = self.inputs.config(column, self.request)
            addresses.append(address_of(self.request, self.sweep.engine, data, params))
        _refuse_equal(addresses, self.sweep.columns)
        return addresses

    def _plan(self, tip: Tip) -> Edit | None:
        at = created_at_text(self.provenance.now, tip.time)
        self.planned = []
        annotated: list[_Planned] = []
        for column, address in zip(self.sweep.columns, self.addresses, strict=True):
            planned, changed = self._plan_column(tip, column, address, at)
            if changed:
                (self.planned if self._is_new(planned) else annotated).append(planned)
        if not self.planned and not annotated:
            return None
        if self.planned:
            self._store_artifacts()
            self.drifts = self._drifts()
        return self._edit(_Files(self, tuple(self.planned), tuple(annotated)))

    def _is_new(self, planned: _Planned) -> bool:
        return planned.previous is None or planned.previous.results_digest != planned.column.digest

    def _plan_column(self, tip: Tip, column: SweepColumn, address: Address, at: str) -> tuple[_Planned, bool]:
        """Return a column's plan and whether anything of it is to be written."""
        known = tip.read(f"{address.id.path}/{MANIFEST}")
        if known is None:
            made = instant_of_new(self.stores, address.id, at, self.provenance.now, tip.time)
            return _Planned(column, address, new_annotations(self.request, self.provenance, at), None, made), True
        before = Annotations.from_bytes(tip.read(f"{address.id.path}/{ANNOTATIONS}") or b"{}")
        after = annotate(before, self.request, self.provenance, at)
        planned = _Planned(column, address, after, Manifest.from_bytes(known), at)
        if self._is_new(planned):
            return replace(planned, created_at=later_than_its_past(self.stores, address.id, at)), True
        return planned, after != before

    def _store_artifacts(self) -> None:
        """Put the shared tables and the dumps into the DVC cache, once."""
        if self.shared.pointers:
            return
        with self.stores.objects.batch():
            for name, table in self.sweep.tables.items():
                self.shared.put_table(name, table)
            self.dumps = self._store_dumps()

    def _store_dumps(self) -> dict[int, _Dump]:
        """Return the stored dump of each column that gets one, by the column's number."""
        if self.request.pickles == "none":
            return {}
        if self.sweep.whole_dump is not None:
            return self._store_dump(self.sweep.columns, self.sweep.whole_dump)
        if self.sweep.dump is None:
            return {}
        columns = [planned.column for planned in self.planned]
        first, rest = columns[:COLUMNS_PER_PICKLE], columns[COLUMNS_PER_PICKLE:]
        content = self.sweep.dump([column.column for column in first])
        together = len(content) * len(columns) / len(first)
        if self.request.pickles == "auto" and together > PICKLES_TOGETHER_BYTES:
            return self._store_dump(_best(columns, BEST_PICKLES))
        dumps = self._store_dump(first, content)
        for start in range(0, len(rest), COLUMNS_PER_PICKLE):
            dumps.update(self._store_dump(rest[start : start + COLUMNS_PER_PICKLE]))
        return dumps

    def _store_dump(self, columns: Sequence[SweepColumn], content: bytes | None = None) -> dict[int, _Dump]:
        """Store one dump of a slice of columns; return for each where it lies and at which place."""
        numbers = [column.column for column in columns]
        if content is None:
            assert self.sweep.dump is not None  # noqa: S101 - the caller has looked
            content = self.sweep.dump(numbers)
        writer = ArtifactWriter(self.stores.objects)
        writer.put(PICKLE, content)
        return {number: _Dump(writer, place) for place, number in enumerate(numbers)}

    def _drifts(self) -> dict[RunId, Mapping[str, Json]]:
        drifts: dict[RunId, Mapping[str, Json]] = {}
        for planned in self.planned:
            if planned.previous is None:
                continue
            previous = planned.previous.to_dict()
            drifts[planned.address.id] = drift_between(
                previous,
                self.manifest(planned),
                commit=commit_of(self.stores, planned.address.id, planned.previous.created_at),
                previous_tables=read_tables(self.stores.objects, previous, missing_ok=True),
                current_tables=self._own_orders(planned.column.column),
            )
        return drifts

    def _own_orders(self, number: int) -> dict[str, Table]:
        """Return the orders of one column, as reading the shared table back would give them."""
        orders = self.sweep.tables[ORDERS].columns
        mine = orders["column"] == number
        return {ORDERS: Table({name: values[mine] for name, values in orders.items()})}

    def manifest(self, planned: _Planned) -> dict[str, Json]:
        """Return the manifest of one column."""
        column = planned.column
        artifacts = {name: {**entry, "column": column.column} for name, entry in self.shared.described.items()}
        dump = self.dumps.get(column.column)
        if dump is not None:
            artifacts[PICKLE] = {**dump.writer.described[PICKLE], "column": dump.place}
        return manifest_of(
            planned.address,
            column,
            self.made,
            self.request,
            self.provenance,
            created_at=planned.created_at,
            artifacts=artifacts,
            portfolio=self.sweep.portfolio,
            lineage=self.lineage,
        )

    def pointers(self, planned: _Planned) -> Mapping[str, bytes]:
        """Return the pointer files of one column."""
        dump = self.dumps.get(planned.column.column)
        return {**self.shared.pointers, **(dump.writer.pointers if dump else {})}

    def _edit(self, files: _Files) -> Edit:
        strategy = one_line(self.request.strategy, 60)
        if not files.new:
            runs = [planned.address.id for planned in files.annotated]
            return edit_of(tuple(files), f"Annotate {len(runs)} runs of {strategy}", runs, "annotate", self.provenance)
        code = self.provenance.code.get("commit")
        message = sweep_message(self.request.strategy, len(files.new), self.lineage["sweep"], code)
        author = Signature(self.provenance.author_name, self.provenance.author_email)
        return Edit(files=files, message=message, author=author, time=self.provenance.now, bulk=True)


@dataclass(frozen=True)
class _Dump:
    writer: ArtifactWriter
    place: int


@dataclass(frozen=True)
class _Files:
    """The files of a sweep's commit, made one by one while git takes them in, so that few lie in memory at a time."""

    save: _SweepSave
    new: Sequence[_Planned]
    annotated: Sequence[_Planned]

    def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
        yield from self.save.inputs.pointers.items()
        for planned in self.annotated:
            yield f"{planned.address.id.path}/{ANNOTATIONS}", planned.annotations.to_bytes()
        for planned in self.new:
            yield from self._run_files(planned)

    def _run_files(self, planned: _Planned) -> Iterator[tuple[str, bytes | None]]:
        folder = planned.address.id.path
        if planned.previous is not None:
            yield folder, None
        yield f"{folder}/{MANIFEST}", dump_checked(self.save.manifest(planned), MANIFEST)
        yield f"{folder}/{ANNOTATIONS}", planned.annotations.to_bytes()
        yield f"{folder}/{STATS}", write_table(statistics_to_table(planned.column.statistics))
        for name, content in self.save.pointers(planned).items():
            yield f"{folder}/{name}", content


def _best(columns: Sequence[SweepColumn], count: int) -> list[SweepColumn]:
    """Return the best columns by Sharpe ratio, undefined last."""

    def rank(column: SweepColumn) -> tuple[bool, float]:
        sharpe = column.metrics.get("sharpe_ratio")
        return sharpe is None, -(sharpe or 0.0)

    return sorted(columns, key=rank)[:count]


def _sweep_id(ids: Sequence[RunId]) -> str:
    """Return a name for the sweep that its runs alone decide."""
    return hashlib.sha256("\n".join(sorted(map(str, ids))).encode()).hexdigest()[:16]


def _refuse_equal(addresses: Sequence[Address], columns: Sequence[SweepColumn]) -> None:
    seen: dict[RunId, SweepColumn] = {}
    for address, column in zip(addresses, columns, strict=True):
        other = seen.setdefault(address.id, column)
        if other is not column:
            raise ConfigError(
                f"columns {other.column} and {column.column} of the sweep have the same parameters: {column.params}",
                hint="name what tells them apart in a column level",
            )
