"""The past of an archive and of its runs."""

from __future__ import annotations

from typing import Any, TypeAlias

from runvault.archive.changing import restore_run
from runvault.archive.reading import Located, locate, locate_removed, read_members
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.model.ids import RunId, RunRef
from runvault.model.source import Introduced
from runvault.stores.git.log import LogEntry

Json: TypeAlias = Any


def revisions_of(stores: Stores, run: RunId) -> list[tuple[Located, dict[str, Json]]]:
    """Return every revision of a run, oldest first, each as it was when it came."""
    revisions = stores.catalog().revisions(stores.repository.ref, str(run))
    located = [Located(run, revision.commit) for revision in revisions]
    return [(each, read_members(stores, each)) for each in located]


def archive_log(stores: Stores, limit: int | None) -> list[dict[str, Json]]:
    """Return the archive's commits, newest first, each with the runs it is about."""
    return [_commit(stores, entry) for entry in stores.reader.log(stores.require_tip(), limit)]


def _commit(stores: Stores, entry: LogEntry) -> dict[str, Json]:
    members = entry.to_dict()
    if entry.kind == "sweep":  # thousands of trailers would make its message unreadable: the tree says which runs
        brought = stores.reader.introduced(entry.parents[0], entry.commit)
        members["runs"] = [str(run) for run in map(_run_at, brought) if run is not None]
    return members


def _run_at(brought: Introduced) -> RunId | None:
    return RunId.from_path(brought.path)


def restore(stores: Stores, text: str, provenance: Provenance) -> RunId:
    """Put back the run that `text` refers to: the revision it names, else the latest one in history."""
    ref = RunRef.parse(text)
    if ref.at is not None or ref.back:
        located = locate(stores, text)
        commit = located.commit
        run = located.id
    else:
        run = locate_removed(stores, text)
        commit = None
    commit = commit or stores.catalog().revisions(stores.repository.ref, str(run))[-1].commit
    restore_run(stores, run, commit, provenance)
    return run
