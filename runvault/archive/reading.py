"""From what a person types to a run: references, records, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from runvault.archive.stores import Stores
from runvault.errors import AmbiguousRunError, RunNotFoundError, RunvaultError
from runvault.model.ids import RunId, RunRef
from runvault.model.query import Selection
from runvault.model.records import ANNOTATIONS, MANIFEST, parse_json
from runvault.model.times import is_instant, later_of

Json: TypeAlias = Any

CANDIDATES_SHOWN = 10


@dataclass(frozen=True)
class Located:
    """A run and the archive commit to read it at; `commit` None means the tip."""

    id: RunId
    commit: str | None = None


def locate(stores: Stores, text: str, *, removed: bool = False) -> Located:
    """Return the run that `text` refers to.

    Parameters
    ----------
    text : str
        A full id, a unique prefix of at least 4 hex digits with or without ``-<seed>``, an alias, ``latest`` or
        ``latest-2``; behind it ``~1`` for the revision before, or ``@<archive commit>``.
    removed : bool
        Look among the runs that were removed from the tip, too.

    Raises
    ------
    RunNotFoundError
        Nothing answers to it.
    AmbiguousRunError
        Several runs do; the hint lists them.
    """
    ref = RunRef.parse(text)
    run = _base(stores, ref, removed=removed or ref.at is not None)
    if ref.at is not None:
        return Located(run, _commit_with(stores, run, ref.at))
    if ref.back:
        return Located(run, _revision_before(stores, run, ref.back))
    return Located(run)


def _base(stores: Stores, ref: RunRef, *, removed: bool = False) -> RunId:
    if ref.latest is not None:
        return _latest(stores, ref.latest)
    catalog, branch = stores.catalog(), stores.repository.ref
    aliased = catalog.by_alias(branch, ref.base)
    if aliased is not None:
        return RunId.parse(aliased)
    if ref.prefix is None:
        raise _not_found(stores, ref.base)
    found = catalog.ids(branch, *ref.prefix, limit=CANDIDATES_SHOWN + 1)
    if not found and removed:
        found = catalog.past_ids(branch, *ref.prefix, limit=CANDIDATES_SHOWN + 1)
    found = found or [each for each, _ in catalog.damaged(branch) if _begins(each, *ref.prefix)]
    if not found:
        past = catalog.past_ids(branch, *ref.prefix, limit=1)
        raise _not_found(stores, ref.base, past[0] if past else None)
    if len(found) > 1:
        raise AmbiguousRunError(f"{len(found)} runs start with '{ref.base}'", hint=f"one of {_shortened(found)}")
    return RunId.parse(found[0])


def _begins(run: str, beginning: str, seed: int | None) -> bool:
    return run.startswith(beginning) and (seed is None or run.endswith(f"-{seed}"))


def _latest(stores: Stores, back: int) -> RunId:
    ref, selection = stores.repository.ref, Selection(limit=1, offset=back)
    rows = list(stores.catalog().select(ref, selection))
    if rows:
        return RunId.parse(rows[0]["id"])
    count = stores.catalog().count(ref, selection)
    if not count:
        hint = "save one with 'runvault save' or 'runvault run', or run 'runvault pull' for those saved elsewhere"
        raise RunNotFoundError(f"there is no run on {ref} yet", hint=hint)
    oldest = "latest" if count == 1 else f"latest-{count - 1}"
    raise RunNotFoundError(
        f"there is no latest-{back} on {ref}: the first of its {count} run(s) is {oldest}",
        hint="run 'runvault list' to see every run",
    )


def _not_found(stores: Stores, text: str, past: str | None = None) -> RunNotFoundError:
    """Return the error for a reference; `past` is a run that was removed and would have answered to it."""
    hint = "run 'runvault list' to see every run; a prefix has at least 4 hex digits"
    if past is not None:
        run = RunId.parse(past).short
        hint = f"{run} was removed: 'runvault restore {run}' puts it back, 'runvault log {run}' tells when"
    return RunNotFoundError(f"no run starts with or is called {text!r} on {stores.repository.ref}", hint=hint)


def _shortened(ids: list[str]) -> str:
    shown = ", ".join(ids[:CANDIDATES_SHOWN])
    return shown + (", …" if len(ids) > CANDIDATES_SHOWN else "")


def _revision_before(stores: Stores, run: RunId, back: int) -> str:
    """Return the archive commit that brought the revision `back` places before the one at the tip."""
    revisions = stores.catalog().revisions(stores.repository.ref, str(run))
    current = stores.catalog().run(stores.repository.ref, str(run))
    if current is None:  # of one that is damaged the time is not known, and so its place: it came after the others
        damaged = stores.reader.blob_of(stores.require_tip(), f"{run.path}/{MANIFEST}")
        revisions.sort(key=lambda revision: revision.blob == damaged)
    place = (current["revision"] if current else len(revisions)) - back
    if place < 1:
        raise RunNotFoundError(
            f"run {run.short} has {len(revisions)} revision(s), none is {back} before its latest",
            hint=f"run 'runvault log {run.short}' to see them",
        )
    return revisions[place - 1].commit


def commit_of(stores: Stores, run: RunId, created_at: str) -> str | None:
    """Return the archive commit that brought the revision of a run made at `created_at`; None where there is none."""
    revisions = stores.catalog().revisions(stores.repository.ref, str(run))
    return next((revision.commit for revision in reversed(revisions) if revision.created_at == created_at), None)


def instant_of_new(stores: Stores, run: RunId, at: str, now: datetime, floor: int) -> str:
    """Return when a run is made that the tip does not have: `at`, or behind its past.

    That is read only where our clock, at `now`, is behind the tip's time in seconds, `floor`: it takes longer than a
    save, and a right clock is behind all of it.
    """
    return later_than_its_past(stores, run, at) if now.timestamp() < floor else at


def later_than_its_past(stores: Stores, run: RunId, at: str) -> str:
    """Return `at`, or the first instant behind every revision that a run has had.

    Revisions are told by their times, and have to come as history has them: also where an earlier one was made by a
    clock that was ahead, or in the second of the commit it came with.
    """
    revisions = stores.catalog().revisions(stores.repository.ref, str(run))
    made = [revision.created_at for revision in revisions if is_instant(revision.created_at)]
    return later_of(at, max(made)) if made else at


def _commit_with(stores: Stores, run: RunId, at: str) -> str:
    commit = stores.reader.resolve_commit(at)
    if commit is None or stores.reader.read_file(commit, f"{run.path}/{MANIFEST}") is None:
        raise RunNotFoundError(
            f"run {run.short} is not in the archive at {at!r}",
            hint=f"run 'runvault log {run.short}' to see where it is",
        )
    return commit


def read_manifest(stores: Stores, located: Located) -> dict[str, Json]:
    """Return a run's manifest as plain values, checked against its schema and its address.

    Raises
    ------
    FormatError
        The manifest cannot be read.
    IntegrityError
        Its config does not hash to the run's address.
    """
    from runvault.model.manifest import Manifest, check_address

    manifest = Manifest.from_bytes(_file(stores, located, MANIFEST), f"{located.id.path}/{MANIFEST}")
    check_address(manifest, located.id)
    return manifest.to_dict()


def read_surroundings(stores: Stores, located: Located) -> tuple[dict[str, Json], list[str]]:
    """Return what people are shown of a manifest besides the run's JSON: the environment and the warnings.

    Taken as the catalog takes what it knows of a run, without the model of manifests: to import that takes longer than
    all else of showing a run. What has another shape is passed over; `read_manifest` says what is wrong with it.
    """
    members = parse_json(_file(stores, located, MANIFEST), f"{located.id.path}/{MANIFEST}")
    environment, warnings = members.get("environment"), members.get("warnings")
    return (
        environment if isinstance(environment, dict) else {},
        [text for text in warnings if isinstance(text, str)] if isinstance(warnings, list) else [],
    )


def read_manifests(stores: Stores, runs: Sequence[RunId]) -> Iterator[tuple[RunId, dict[str, Json]]]:
    """Yield the manifests of runs at the tip, read by one process; one that is damaged or gone is left out."""
    from runvault.model.manifest import Manifest, check_address

    paths = {f"{run.path}/{MANIFEST}": run for run in runs}
    for path, content in stores.reader.read_files(stores.require_tip(), paths).items():
        try:
            manifest = Manifest.from_bytes(content, path)
            check_address(manifest, paths[path])
        except RunvaultError:
            continue
        yield paths[path], manifest.to_dict()


def read_members(stores: Stores, located: Located) -> dict[str, Json]:
    """Return a run as JSON (docs/cli.md); from the catalog alone where it is as at the tip."""
    if located.commit is None or _is_as_at_tip(stores, located):
        members = stores.catalog().run(stores.repository.ref, str(located.id))
        if members is not None:
            return members
    if located.commit is None:
        # The catalog knows it as damaged, or not at all: reading its manifest says what is wrong with it.
        read_manifest(stores, located)
        raise _not_found(stores, str(located.id))
    from runvault.model.annotations import Annotations
    from runvault.model.run_json import run_members

    manifest = read_manifest(stores, located)
    content = stores.reader.read_file(located.commit, f"{located.id.path}/{ANNOTATIONS}")
    annotations = Annotations.from_bytes(content) if content else Annotations()
    return {**run_members(manifest, annotations.to_dict()), **_revision_at(stores, located)}


def _is_as_at_tip(stores: Stores, located: Located) -> bool:
    tip = stores.require_tip()
    return located.commit == tip or stores.reader.is_same(located.commit or "", tip, located.id.path)


def _revision_at(stores: Stores, located: Located) -> Mapping[str, Json]:
    blob = stores.reader.blob_of(located.commit or "", f"{located.id.path}/{MANIFEST}")
    for revision in stores.catalog().revisions(stores.repository.ref, str(located.id)):
        if revision.blob == blob:
            return {"revision": revision.revision, "commit": revision.commit}
    return {"revision": None, "commit": located.commit}


def _file(stores: Stores, located: Located, name: str) -> bytes:
    commit = located.commit or stores.require_tip()
    content = stores.reader.read_file(commit, f"{located.id.path}/{name}")
    if content is None:
        raise RunNotFoundError(f"run {located.id.short} has no {name} at {commit}")
    return content


def read_run_file(stores: Stores, located: Located, name: str) -> bytes:
    """Return one file of a run: a Git blob as it is, an artifact from the object store with its hash checked."""
    from runvault.archive.artifacts import read_artifact

    commit = located.commit or stores.require_tip()
    content = stores.reader.read_file(commit, f"{located.id.path}/{name}")
    return content if content is not None else read_artifact(stores.objects, read_manifest(stores, located), name)
