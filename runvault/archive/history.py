"""The past of an archive and of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from runvault.archive.reading import Located, read_members
from runvault.archive.stores import Stores
from runvault.errors import RunvaultError, one_line_of
from runvault.model.ids import RunId
from runvault.stores.git.log import LogEntry

Json: TypeAlias = Any


def revisions_of(stores: Stores, run: RunId) -> list[tuple[Located, dict[str, Json]]]:
    """Return every revision of a run, oldest first, each as it was when it came; a damaged one is told and left out."""
    found = []
    for revision in stores.catalog().revisions(stores.repository.ref, str(run)):
        located = Located(run, revision.commit)
        try:
            found.append((located, read_members(stores, located)))
        except RunvaultError as error:
            stores.say(f"warning: the revision of {revision.commit} cannot be read: {one_line_of(error)}")
    return found


def archive_log(stores: Stores, limit: int | None, *, runs: bool) -> list[dict[str, Json]]:
    """Return the archive's commits, newest first, each with the runs it is about; those of sweeps with `runs` alone."""
    tip = stores.require_tip()
    entries = list(stores.reader.log(tip, limit))
    brought = _brought_by_sweeps(stores, tip, entries) if runs else {}
    return [{**entry.to_dict(), "runs": brought.get(entry.commit, entry.runs)} for entry in entries]


def _brought_by_sweeps(stores: Stores, tip: str, entries: Sequence[LogEntry]) -> dict[str, list[str]]:
    """Return the runs of each sweep by its commit; the trees say which: thousands of trailers would be unreadable.

    One walk for all: `entries` have no commit before one of its children, so that no sweep lies behind the last one.
    """
    sweeps = [entry for entry in entries if entry.kind == "sweep"]
    brought: dict[str, list[str]] = {entry.commit: [] for entry in sweeps}
    if sweeps:
        before = next(iter(sweeps[-1].parents), None)
        for each in stores.reader.introduced(before, tip):
            run = RunId.from_path(each.path)
            if run is not None and each.commit in brought:
                brought[each.commit].append(str(run))
    return brought
