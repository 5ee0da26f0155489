"""Commits that no known key signed, and the runs they brought."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from runvault.model.ids import RunId
from runvault.stores.git.init import FIRST_COMMIT
from runvault.stores.git.signatures import UnprovenCommit, unproven_commits

if TYPE_CHECKING:
    from runvault.archive.stores import Stores
    from runvault.integrity.findings import Report

SHOWN = 20  # runs that a finding names; a sweep has thousands


def check_signatures(stores: Stores, folders: Collection[str] | None, report: Report) -> None:
    """Check the signature of every commit of the archive, or of those that touched the runs in `folders`.

    The first commit is nobody's: it is the same object in every archive.
    """
    tip = stores.require_tip()
    checked, unproven = unproven_commits(stores.repository, tip, leave_out=FIRST_COMMIT, paths=sorted(folders or ()))
    report.checked["commits"] += checked
    brought = _brought(stores, tip, unproven) if unproven else {}
    wanted = None if folders is None else {folder.rpartition("/")[2] for folder in folders}
    for each in unproven:
        runs = {*each.runs, *brought.get(each.commit, ())}
        _report(each, sorted(runs if wanted is None else runs & wanted), report)


def _brought(stores: Stores, tip: str, unproven: Iterable[UnprovenCommit]) -> dict[str, list[str]]:
    """Return the runs whose manifests came with each commit: the trees say it, whatever the message claims."""
    wanted, brought = {each.commit for each in unproven}, defaultdict[str, list[str]](list)
    for each in stores.reader.introduced(None, tip):
        run = RunId.from_path(each.path)
        if run is not None and each.commit in wanted:
            brought[each.commit].append(str(run))
    return brought


def _report(each: UnprovenCommit, runs: list[str], report: Report) -> None:
    problem = f"commit {each.commit} {each.problem}"
    if len(runs) > 1:
        more = f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else ""
        problem += f"; it brought {', '.join(runs[:SHOWN])}{more}"
    report.found(runs[0] if len(runs) == 1 else "", None, problem, each.hint)
