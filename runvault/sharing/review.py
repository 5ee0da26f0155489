"""What a branch would bring to an archive, as values: for a person who has to say yes or no to it.

Nothing of it is unpickled, imported or run, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from runvault.archive.artifacts import read_tables
from runvault.errors import ConfigError, RunvaultError, did_you_mean
from runvault.model.annotations import Annotations, merge
from runvault.model.changes import diff_metrics, drift_between
from runvault.model.ids import RunId
from runvault.model.manifest import Manifest, check_address
from runvault.model.metrics import METRICS, sort_order
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.model.run_json import code_commit
from runvault.sharing.cautions import Caution, Usual, cautions
from runvault.sharing.span import Span
from runvault.sharing.states import (
    Changes,
    Files,
    Ranked,
    State,
    applied,
    gather,
    ranked,
    read_contents,
    read_runs,
    state_of,
)
from runvault.stores.catalog.project import Projection
from runvault.stores.git.code import codes_present
from runvault.stores.git.merging import Sides
from runvault.stores.git.modes import odd_modes

if TYPE_CHECKING:
    from runvault.archive.stores import Stores

Json: TypeAlias = Any

SHOWN = ("id", "short_id", "strategy", "symbols", "params", "metrics")  # of a run in a leaderboard


@dataclass(frozen=True)
class Damage:
    """A run of the head that cannot be read, or a file that belongs to none."""

    run: str
    problem: str


@dataclass(frozen=True)
class Revision:
    """A run that both sides have, with another manifest at the head.

    `drift` says what moved (docs/cli.md), None where the results are equal. `stays` is the side whose revision is at
    the tip after a merge, ``base`` or ``head``: the one that alone changed it since the two parted, else the later of
    the two. The other one stays in history.
    """

    run: Mapping[str, Json]
    drift: Mapping[str, Json] | None
    stays: str

    def to_dict(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"run": dict(self.run), "drift": self.drift, "stays": self.stays}


@dataclass(frozen=True)
class Annotated:
    """What the head says of a run that both sides have: `tags` and `notes` added and removed, alias, replays."""

    run: Mapping[str, Json]
    before: Annotations
    after: Annotations

    @property
    def new_replays(self) -> list[dict[str, Json]]:
        """Return the replays that the base's ledger lacks."""
        known = {replay.rank for replay in self.before.replays}
        return [replay.model_dump() for replay in self.after.replays if replay.rank not in known]

    @property
    def ledger(self) -> list[dict[str, Json]]:
        """Return all replays, oldest first."""
        return [replay.model_dump() for replay in self.after.replays]

    def to_dict(self) -> dict[str, Json]:
        """Return it as JSON."""
        names = [each.alias.name if each.alias else None for each in (self.before, self.after)]
        notes = [[note.text for note in each.notes if not note.removed] for each in (self.before, self.after)]
        return {
            "run": dict(self.run),
            "tags": _gained(self.before.live_tags(), self.after.live_tags()),
            "notes": _gained(*notes),
            "alias": None if names[0] == names[1] else {"a": names[0], "b": names[1]},
            "replays": {"added": self.new_replays, "all": self.ledger},
        }


@dataclass(frozen=True)
class Review:
    """What HEAD adds to BASE; `to_dict` is the document of ``runvault review --json``."""

    span: Span
    metric: str
    periods_per_year: float | None
    totals: Mapping[str, int]
    new: Sequence[Mapping[str, Json]]
    revisions: Sequence[Revision]
    removed: Sequence[Mapping[str, Json]]
    annotations: Sequence[Annotated]
    before: Sequence[Mapping[str, Json]]
    after: Sequence[Mapping[str, Json]]
    code: Sequence[Mapping[str, Json]]
    data: Sequence[Mapping[str, Json]]
    warnings: Sequence[Caution]
    damaged: Sequence[Damage]
    files: Sequence[str]
    others: Sequence[Ranked] = ()
    manifests: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault review --json`` prints."""
        base, head = (vars(side) for side in (self.span.base, self.span.head))
        return {
            "base": dict(base),
            "head": dict(head),
            "fork": self.span.fork,
            "metric": self.metric,
            "periods_per_year": self.periods_per_year,
            "totals": dict(self.totals),
            "new": [dict(run) for run in self.new],
            "revisions": [each.to_dict() for each in self.revisions],
            "removed": [dict(run) for run in self.removed],
            "annotations": [each.to_dict() for each in self.annotations],
            "leaderboard": {"before": [dict(row) for row in self.before], "after": [dict(row) for row in self.after]},
            "code": [dict(row) for row in self.code],
            "data": [dict(row) for row in self.data],
            "warnings": [each.to_dict() for each in self.warnings],
            "damaged": [{"run": each.run, "problem": each.problem} for each in self.damaged],
            "files": list(self.files),
        }


def review(stores: Stores, span: Span, *, metric: str, rows: int, periods_per_year: float | None) -> Review:
    """Look at what `span.head` adds to `span.base`.

    Parameters
    ----------
    metric, rows : str, int
        What the leaderboard is by, and how long it is.
    periods_per_year : float or None
        Show Sharpe ratios on this definition, from the moments.
    """
    return _Reviewing(stores, span, metric, rows, periods_per_year).review()


class _Reviewing:
    """One review on its way: the base whole, and of the head what it changed."""

    def __init__(self, stores: Stores, span: Span, metric: str, rows: int, periods: float | None) -> None:
        self.stores, self.reader, self.span = stores, stores.reader, span
        self.metric, self.rows, self.periods = metric, rows, periods
        self.base: State = state_of(stores, span.base.commit, metric, periods)
        self.back = self._changes(span.base.commit, span.fork)
        self.ahead = self._changes(span.fork, span.head.commit)
        self.damaged = [Damage(path, "a file that belongs to no run") for path in self.ahead.strays]
        self.odd = odd_modes(stores.repository, span.fork, span.head.commit)
        self.manifests: dict[str, Mapping[str, Json]] = {}
        self.members: dict[str, Mapping[str, Json]] = {}
        self.ranked: dict[str, Ranked] = {}
        self.after = dict(self.base.runs)

    def _changes(self, old: str, new: str) -> Changes:
        return gather(self.reader.changed_files(old, new)) if old != new else Changes()

    def review(self) -> Review:
        self._hold_removed()
        before, after = self._folders()
        here = {run: files for run, files in after.items() if files}
        self._read_head(here)
        self._require_metric()
        new = [run for run in here if run in self.members and not self.base.folders.get(run)]
        changed = [run for run in here if run in self.members and self.base.folders.get(run)]
        removed = self._removed(run for run in after if not after[run] and before[run])
        revisions = list(self._revisions(changed))
        annotations = list(self._annotations(run for run in changed if after[run].get(ANNOTATIONS)))
        for run in new:
            self.after[run] = self.ranked[run]
        boards = _Boards(self)
        weighed = [*new, *(revision.run["id"] for revision in revisions)]
        told = self._cautions(weighed)
        return Review(
            span=self.span,
            metric=self.metric,
            periods_per_year=self.periods,
            totals=self._totals(new, revisions, removed, annotations),
            new=[{**self._brought(run), "place": boards.place(run)} for run in new],
            revisions=revisions,
            removed=removed,
            annotations=annotations,
            before=boards.before,
            after=boards.after,
            code=self._code(weighed),
            data=self._data(weighed),
            warnings=told,
            damaged=self.damaged,
            files=[path for path in self.ahead.others if not path.startswith("data/")],
            others=list(self.base.runs.values()),
            manifests={run: self.manifests[run] for run in new},
        )

    def _hold_removed(self) -> None:
        """Take a run that the head removed, and the base changed since, as the head held it: a merge joins that."""
        base, back = self.base.folders, self.back.runs
        sides = Sides(self.stores.repository, self.span.base.commit, self.span.head.commit)
        for removal in sides.removals(self.span.head.commit, unlike=self.span.base.commit):  # the newest comes first
            run = removal.run.rpartition("/")[2]
            if run not in base or run not in back or any((self.ahead.runs.get(run) or {}).values()):
                continue
            held = sides.folder(sides.entry_at(sides.parents(removal.commit)[0], removal.run))
            files, parted = {name: entry.object_id for name, entry in held.items()}, applied(base[run], back[run])
            self.ahead.runs[run] = {
                name: files.get(name) for name in files.keys() | parted.keys() if files.get(name) != parted.get(name)
            }

    def _folders(self) -> tuple[dict[str, Files], dict[str, Files]]:
        """Return the folders that the head changed, as they were where the two parted, and as they are at the head."""
        base = self.base.folders
        before = {run: applied(base.get(run, {}), self.back.runs.get(run, {})) for run in self.ahead.runs}
        return before, {run: applied(before[run], files) for run, files in self.ahead.runs.items()}

    def _read_head(self, folders: Mapping[str, Files]) -> None:
        """Read the head's changed runs; those that cannot be read are damaged, and told so."""
        contents = read_contents(self.reader, folders.values())
        for run, found in read_runs(self.reader, folders):
            problem = found if isinstance(found, str) else self._changed_behind(run, folders[run])
            if problem is None and isinstance(found, Projection):
                problem = self._take(run, found, contents[folders[run][MANIFEST]])
            if problem is not None:
                self.damaged.append(Damage(run, problem))

    def _require_metric(self) -> None:
        """Raise ConfigError where runvault does not know the metric and no run of either side has it, as `best` does.

        One of the registry may be undefined, or missing, everywhere: a job on a forge asks for the same one each time.
        """
        either = (*self.base.runs.values(), *self.ranked.values())
        if self.metric in METRICS or not either or any(each.metrics[self.metric] is not None for each in either):
            return
        bases = (run.members for _, run in read_runs(self.reader, self.base.folders) if isinstance(run, Projection))
        known = dict.fromkeys(name for members in (*bases, *self.members.values()) for name in members["metrics"])
        if self.metric not in known:
            import difflib  # only when there is something to suggest

            near = difflib.get_close_matches(self.metric, known, n=3)
            hint = did_you_mean(near, "'runvault show RUN' lists those that a run has")
            raise ConfigError(f"no run on either side has the metric {self.metric!a}", hint)

    def _take(self, run: str, found: Projection, content: bytes) -> str | None:
        try:
            manifest = Manifest.from_bytes(content)
            check_address(manifest, RunId.parse(run))
        except RunvaultError as error:
            return error.message
        self.manifests[run] = manifest.to_dict()
        self.members[run] = found.members
        self.ranked[run] = ranked(found, self.metric, self.periods)
        return None

    def _changed_behind(self, run: str, files: Files) -> str | None:
        """Return what is wrong where a file of a run is none, or its results changed and its manifest did not."""
        odd = next((path for path in self.odd if path.startswith(f"runs/{run[:2]}/{run}/")), None)
        if odd is not None:
            return f"{odd.rpartition('/')[2]} is {self.odd[odd]}"
        changes, base = self.ahead.runs[run], self.base.folders.get(run, {})
        if MANIFEST in changes or not base or files.get(MANIFEST) != base.get(MANIFEST):
            return None
        others = sorted(changes.keys() - {ANNOTATIONS})
        return f"{others[0]} changed, and {MANIFEST} did not" if others else None

    def _removed(self, runs: Iterable[str]) -> list[Mapping[str, Json]]:
        """Return the runs that a merge would take off the tip: one that the base changed since stays."""
        gone = [run for run in runs if run in self.base.folders and run not in self.back.runs]
        found = dict(read_runs(self.reader, {run: self.base.folders[run] for run in gone}))
        for run in gone:
            self.after.pop(run, None)
        return [run.members for run in found.values() if isinstance(run, Projection)]

    def _revisions(self, runs: Sequence[str]) -> Iterator[Revision]:
        base = self.base.folders
        other = [run for run in runs if MANIFEST in self.ahead.runs[run]]
        other = [run for run in other if base[run].get(MANIFEST) != self.ahead.runs[run][MANIFEST]]
        contents = read_contents(self.reader, [base[run] for run in other])
        for run in other:
            new = self.manifests[run]
            try:
                old = Manifest.from_bytes(contents.get(base[run].get(MANIFEST, ""), b"")).to_dict()
            except RunvaultError as error:
                self.damaged.append(Damage(run, f"the base's revision cannot be read: {error.message}"))
                self.after[run] = self.ranked[run]
                yield Revision(self.members[run], None, "head")
                continue
            wins = MANIFEST not in self.back.runs.get(run, {}) or _rank(new) > _rank(old)
            if wins:
                self.after[run] = self.ranked[run]
            yield Revision(self.members[run], self._drift(old, new), "head" if wins else "base")

    def _drift(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json] | None:
        equal = old["results_digest"] == new["results_digest"]
        if equal and not diff_metrics(old["metrics"], new["metrics"]):  # which say otherwise if somebody edited them
            return None
        tables = [read_tables(self.stores.objects, manifest, missing_ok=True) for manifest in (old, new)]
        return drift_between(
            old, new, commit=self.span.base.commit, previous_tables=tables[0], current_tables=tables[1]
        )

    def _annotations(self, runs: Iterable[str]) -> Iterator[Annotated]:
        """Yield what changes in the annotations of runs when the two sides are joined: the union of both."""
        asked = [run for run in runs if ANNOTATIONS in self.ahead.runs[run]]
        base = {run: self.base.folders[run] for run in asked}
        heads = {run: {ANNOTATIONS: self.ahead.runs[run][ANNOTATIONS] or ""} for run in asked}
        contents = read_contents(self.reader, [*base.values(), *heads.values()])
        for run in asked:
            try:
                before = Annotations.from_bytes(contents.get(base[run].get(ANNOTATIONS, ""), b"{}"))
                after = merge(before, Annotations.from_bytes(contents[heads[run][ANNOTATIONS]]))
            except RunvaultError as error:
                self.damaged.append(Damage(run, error.message))
                continue
            if after != before:
                yield Annotated(self.members[run], before, after)

    def _brought(self, run: str) -> dict[str, Json]:
        return {**self.members[run], **self._history.get(run, {"revision": None, "commit": None})}

    @cached_property
    def _history(self) -> Mapping[str, Mapping[str, Json]]:
        """Which revision each run is that the head brought, and the commit it came with."""
        told: dict[str, dict[str, Json]] = {}
        seen: dict[str, set[str]] = {}
        for each in self.reader.introduced(self.span.fork, self.span.head.commit):
            run = str(RunId.from_path(each.path))
            if each.blob not in seen.setdefault(run, set()):
                seen[run].add(each.blob)
                told[run] = {"revision": len(seen[run]), "commit": each.commit}
        return told

    def _cautions(self, runs: Sequence[str]) -> list[Caution]:
        asked = {run: (self.ranked[run], self.manifests[run]) for run in runs}
        return cautions(asked, Usual.of(self.base.runs), self._commits_here)

    @cached_property
    def _commits_here(self) -> set[str]:
        commits = map(code_commit, self.manifests.values())
        return codes_present(self.stores.repository, sorted({commit for commit in commits if commit}))

    def _code(self, runs: Sequence[str]) -> list[dict[str, Json]]:
        """Return each state of code that the head's runs were made with, and how many of them."""
        found: dict[tuple[Json, ...], int] = {}
        for run in runs:
            code = self.manifests[run].get("code") or {}
            key = tuple(code.get(name) for name in ("commit", "base", "branch", "dirty"))
            found[key] = found.get(key, 0) + 1
        return [
            {"commit": commit, "base": base, "branch": branch, "dirty": dirty, "runs": count,
             "here": commit in self._commits_here}
            for (commit, base, branch, dirty), count in found.items()
        ]  # fmt: skip

    def _data(self, runs: Sequence[str]) -> list[dict[str, Json]]:
        """Return each input that the head's runs were made from, how many of them, and whether the base knows it."""
        known = {
            orjson.dumps([name, entry], option=orjson.OPT_SORT_KEYS)
            for data in {each.data for each in self.base.runs.values()}
            for name, entry in orjson.loads(data).items()
        }
        found: dict[bytes, int] = {}
        for run in runs:
            for name, entry in self.manifests[run]["config"]["data"].items():
                key = orjson.dumps([name, entry], option=orjson.OPT_SORT_KEYS)
                found[key] = found.get(key, 0) + 1
        rows = [(*orjson.loads(key), count, key in known) for key, count in found.items()]
        return [{"name": name, "input": entry, "runs": count, "in_base": there} for name, entry, count, there in rows]

    def _totals(
        self,
        new: Sequence[str],
        revisions: Sequence[Revision],
        removed: Sequence[Mapping[str, Json]],
        annotations: Sequence[Annotated],
    ) -> dict[str, int]:
        return {
            "before": len(self.base.runs),
            "after": len(self.after),
            "new": len(new),
            "revisions": len(revisions),
            "drift": sum(1 for each in revisions if each.drift),
            "removed": len(removed),
            "annotated": len(annotations),
            "damaged": len(self.damaged),
        }


class _Boards:
    """The leaderboard without the head's changes and with them, and every run's place in both."""

    def __init__(self, reviewing: _Reviewing) -> None:
        self._metric = reviewing.metric
        before, after = (self._places(runs) for runs in (reviewing.base.runs, reviewing.after))
        self._after = after
        heads, bases = list(after)[: reviewing.rows], list(before)[: reviewing.rows]
        old = _members_of(reviewing, dict.fromkeys([*bases, *heads]))
        new = {
            run: reviewing.members[run] for run, kept in reviewing.ranked.items() if reviewing.after.get(run) is kept
        }
        self.before = [self._row(old[run], reviewing.base.runs[run], (before, after)) for run in bases]
        self.after = [self._row({**old, **new}[run], reviewing.after[run], (before, after)) for run in heads]

    def place(self, run: str) -> int | None:
        """Return a run's place after the merge; None where its metric is undefined."""
        return self._after.get(run)

    def _places(self, runs: Mapping[str, Ranked]) -> dict[str, int]:
        """Return the place of each run that has one, as `best` sorts them: ties by time, the newest first, then id."""
        defined = [run for run, each in runs.items() if each.metrics[self._metric] is not None]
        sign = -1 if sort_order(self._metric).startswith("-") else 1
        defined.sort()
        defined.sort(key=lambda run: runs[run].created_at, reverse=True)
        defined.sort(key=lambda run: sign * (runs[run].metrics[self._metric] or 0))
        return {run: place for place, run in enumerate(defined, 1)}

    def _row(
        self, members: Mapping[str, Json], kept: Ranked, places: tuple[Mapping[str, int], Mapping[str, int]]
    ) -> dict[str, Json]:
        old, new = (each.get(members["id"]) for each in places)
        shown = {name: members[name] for name in SHOWN} | {"metrics": {**members["metrics"], **kept.metrics}}
        return {**shown, "before": old, "after": new, "gained": None if old is None or new is None else old - new}


def _members_of(reviewing: _Reviewing, runs: Iterable[str]) -> dict[str, Mapping[str, Json]]:
    """Return runs of the base as JSON, by id; those that it does not have are left out."""
    folders = {run: reviewing.base.folders[run] for run in runs if run in reviewing.base.folders}
    found = read_runs(reviewing.reader, folders)
    return {run: each.members for run, each in found if isinstance(each, Projection)}


def _rank(manifest: Mapping[str, Json]) -> tuple[str, str]:
    """Return what decides which of two revisions is at the tip after a merge: the greater."""
    return manifest["created_at"], manifest["results_digest"]


def _gained(before: Sequence[str], after: Sequence[str]) -> dict[str, list[str]]:
    return {
        "added": [text for text in after if text not in before],
        "removed": [text for text in before if text not in after],
    }
