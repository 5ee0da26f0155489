"""Putting a run back from history: as it was last, or at a revision that is named, and never a damaged one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runvault.archive.admission import check_run_folder
from runvault.archive.changing import edit_of
from runvault.archive.inputs import digits_in
from runvault.archive.reading import locate
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import FormatError, RunNotFoundError, RunvaultError, one_line_of
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.stores.git.edits import Edit

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip


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
    located = locate(stores, text, removed=True)
    run, last = located.id, stores.reader.last_commit_with(stores.require_tip(), located.id.path)
    if located.commit is None:
        commit = _newest(stores, run, last, lambda commit: _check_whole(stores, run, commit))
    else:
        commit = located.commit
        _check_named(stores, run, commit)
    words = _newest(stores, run, last, lambda commit: _check_words(stores, run, commit), otherwise=commit)
    return run, _restore(stores, run, commit, words, provenance) is not None


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


def _restore(stores: Stores, run: RunId, commit: str, last: str, provenance: Provenance) -> str | None:
    """Put a run back as it was at an earlier commit; None where the tip holds just that.

    Parameters
    ----------
    commit : str
        Where to take the revision from.
    last : str
        Where to take the annotations from: they change without a revision, and are not to be lost with one.

    Raises
    ------
    RunNotFoundError
        The run is not in the archive at `commit`.
    """
    recorded = stores.reader.read_run(commit, run.path)
    if MANIFEST not in recorded:
        raise RunNotFoundError(f"run {run.short} is not in the archive at {commit}")
    annotations = stores.reader.read_file(last, f"{run.path}/{ANNOTATIONS}")
    if annotations is not None:
        recorded[ANNOTATIONS] = annotations
    inputs = _inputs_named(stores, commit, recorded[MANIFEST])

    def plan(tip: Tip) -> Edit:
        # The folder is taken whole: what is damaged there may be no file. An equal tree is not committed.
        files: list[tuple[str, bytes | None]] = [(run.path, None)] if tip.exists(run.path) else []
        files.extend((f"{run.path}/{name}", content) for name, content in recorded.items())
        files.extend((path, content) for path, content in inputs.items() if not tip.exists(path))
        return edit_of(files, f"Restore {run.short}", [run], "restore", provenance)

    return stores.update(plan)


def _inputs_named(stores: Stores, commit: str, manifest: bytes) -> dict[str, bytes]:
    """Return the pointers under ``data/`` at a commit that a manifest names: a collection may have taken them since."""
    named = digits_in(manifest)
    paths = [path for path in stores.reader.list_files(commit, "data") if path.split("/")[-1][:32] in named]
    return stores.reader.read_files(commit, paths)
