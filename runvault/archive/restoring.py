"""Putting a run back from history: as it was last, or at a revision that is named, and never a damaged one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from runvault.archive.admission import check_run_folder
from runvault.archive.changing import edit_of
from runvault.archive.inputs import digits_in
from runvault.archive.reading import locate
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import FormatError, RunvaultError, one_line_of
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.stores.git.edits import Edit

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip

T = TypeVar("T")


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
        commit, files = _newest(stores, run, last, lambda commit: _whole_files(stores, run, commit))
    else:
        commit, files = located.commit, _named_files(stores, run, located.commit)
    with suppress(FormatError):  # where none can be read, those of the revision stay
        # They change without a revision, and are not to be lost with one.
        _, annotations = _newest(stores, run, last, lambda commit: _sound_annotations(stores, run, commit))
        if annotations is not None:
            files[ANNOTATIONS] = annotations
    inputs = _inputs_named(stores, commit, files[MANIFEST])

    def plan(tip: Tip) -> Edit:
        # The folder is taken whole: what is damaged there may be no file. An equal tree is not committed.
        put: list[tuple[str, bytes | None]] = [(run.path, None)] if tip.exists(run.path) else []
        put.extend((f"{run.path}/{name}", content) for name, content in files.items())
        put.extend((path, content) for path, content in inputs.items() if not tip.exists(path))
        return edit_of(put, f"Restore {run.short}", [run], "restore", provenance)

    return run, stores.update(plan) is not None


def _newest(stores: Stores, run: RunId, last: str, read: Callable[[str], T]) -> tuple[str, T]:
    """Return the newest commit, from `last` on, at which something of a run can be read, and what was read.

    Raises
    ------
    FormatError
        There is none.
    """
    problem: RunvaultError | None = None
    for commit in _commits_of(stores, run, last):
        try:
            return commit, read(commit)
        except RunvaultError as error:
            problem = problem or error
    raise FormatError(
        f"run {run.short} is damaged, and nothing in the archive's history has it whole"
        + (f": {one_line_of(problem)}" if problem else ""),
        "another clone may have it: 'runvault pull', or 'runvault merge REF'",
    ) from problem


def _commits_of(stores: Stores, run: RunId, last: str) -> Iterator[str]:
    yield last
    yield from (entry.commit for entry in stores.reader.log(last, path=run.path))


def _named_files(stores: Stores, run: RunId, commit: str) -> dict[str, bytes]:
    try:
        return _whole_files(stores, run, commit)
    except RunvaultError as error:
        hint = (
            f"'runvault restore {run.short}' puts back the last one that is whole; 'runvault log {run.short}' lists all"
        )
        raise FormatError(f"the revision of {run.short} at {commit} is damaged: {one_line_of(error)}", hint) from error


def _whole_files(stores: Stores, run: RunId, commit: str) -> dict[str, bytes]:
    contents = stores.reader.read_files(commit, stores.reader.list_files(commit, run.path))
    files = {path.removeprefix(f"{run.path}/"): content for path, content in contents.items()}
    check_run_folder(run, files)
    return files


def _sound_annotations(stores: Stores, run: RunId, commit: str) -> bytes | None:
    content = stores.reader.read_file(commit, f"{run.path}/{ANNOTATIONS}")
    if content is not None:
        Annotations.from_bytes(content)
    return content


def _inputs_named(stores: Stores, commit: str, manifest: bytes) -> dict[str, bytes]:
    """Return the pointers under ``data/`` at a commit that a manifest names: a collection may have taken them since."""
    named = digits_in(manifest)
    paths = [path for path in stores.reader.list_files(commit, "data") if path.split("/")[-1][:32] in named]
    return stores.reader.read_files(commit, paths)
