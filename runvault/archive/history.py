"""The past of an archive and of its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from runvault.archive.admission import check_run_folder, one_line_of
from runvault.archive.reading import Located, locate, read_members
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import FormatError, RunvaultError
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.records import ANNOTATIONS
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


def restore(stores: Stores, text: str, provenance: Provenance) -> tuple[RunId, bool]:
    """Put back the run that `text` refers to: the revision it names, else the last one that is whole.

    Its annotations are those it has at the tip, or had when it was removed; the last ones that can be read.

    Returns
    -------
    (RunId, bool)
        The run, and whether anything was changed.

    Raises
    ------
    RunvaultError
        The revision that is named is damaged, or all are.
    """
    from runvault.archive.changing import restore_run

    located = locate(stores, text, removed=True)
    run, last = located.id, stores.reader.last_commit_with(stores.require_tip(), located.id.path)
    if located.commit is None:
        commit = _newest(stores, run, last, lambda commit: _check_whole(stores, run, commit))
    else:
        commit = located.commit
        _check_named(stores, run, commit)
    words = _newest(stores, run, last, lambda commit: _check_words(stores, run, commit), otherwise=commit)
    return run, restore_run(stores, run, commit, words, provenance) is not None


def _newest(
    stores: Stores, run: RunId, last: str, check: Callable[[str], None], *, otherwise: str | None = None
) -> str:
    """Return the newest commit, from `last` on, at which `check` raises nothing about a run."""
    problem: RunvaultError | None = None
    for commit in _commits_of(stores, run, last):
        try:
            check(commit)
        except RunvaultError as error:
            problem = problem or error
        else:
            return commit
    if otherwise is not None or problem is None:
        return otherwise or last
    raise FormatError(
        f"run {run.short} is damaged, and nothing in the archive's history has it whole: {one_line_of(problem)}",
        "another clone may have it: 'runvault pull', or 'runvault merge REF'",
    ) from problem


def _commits_of(stores: Stores, run: RunId, last: str) -> Iterator[str]:
    yield last
    yield from (entry.commit for entry in stores.reader.log(last, path=run.path))


def _check_named(stores: Stores, run: RunId, commit: str) -> None:
    try:
        _check_whole(stores, run, commit)
    except RunvaultError as error:
        hint = (
            f"'runvault restore {run.short}' puts back the last one that is whole; 'runvault log {run.short}' lists all"
        )
        raise FormatError(f"the revision of {run.short} at {commit} is damaged: {one_line_of(error)}", hint) from error


def _check_whole(stores: Stores, run: RunId, commit: str) -> None:
    paths = stores.reader.list_files(commit, run.path)
    contents = stores.reader.read_files(commit, paths)
    check_run_folder(run, {path.removeprefix(f"{run.path}/"): content for path, content in contents.items()})


def _check_words(stores: Stores, run: RunId, commit: str) -> None:
    content = stores.reader.read_file(commit, f"{run.path}/{ANNOTATIONS}")
    if content is not None:
        Annotations.from_bytes(content)
