"""Changing what is said of runs, and taking runs off the tip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runvault.archive.compose import created_at_text, one_line
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import RunNotFoundError
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.records import ANNOTATIONS
from runvault.stores.git.edits import Edit, Signature

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip


def annotate_runs(
    stores: Stores,
    runs: Sequence[RunId],
    change: Callable[[Annotations, str], Annotations],
    subject: str,
    provenance: Provenance,
) -> str | None:
    """Change the annotations of `runs` in one commit.

    Parameters
    ----------
    change : callable
        From a run's annotations and the time of the change to its new annotations.

    Returns
    -------
    str or None
        The archive commit, None where nothing changed.

    Raises
    ------
    RunNotFoundError
        One of the runs is not at the tip any more; then none is changed.
    """

    def plan(tip: Tip) -> Edit | None:
        at = created_at_text(provenance.now, tip.time)
        files: list[tuple[str, bytes | None]] = []
        for run in runs:
            before = annotations_at(tip, run)
            after = change(before, at)
            if after != before:
                files.append((f"{run.path}/{ANNOTATIONS}", after.to_bytes()))
        return edit_of(files, subject, runs, "annotate", provenance) if files else None

    return stores.update(plan)


def remove_runs(stores: Stores, runs: Sequence[RunId], provenance: Provenance) -> str | None:
    """Take `runs` off the tip in one commit; history keeps them.

    Raises
    ------
    RunNotFoundError
        One of them is not at the tip; then none is removed.
    """

    def plan(tip: Tip) -> Edit:
        for run in runs:
            _require(tip, run)
        files: list[tuple[str, bytes | None]] = [(run.path, None) for run in runs]
        return edit_of(files, "Remove " + _counted(runs), runs, "remove", provenance)

    return stores.update(plan)


def remove_unchanged(stores: Stores, runs: Sequence[RunId], at: str, provenance: Provenance) -> list[RunId]:
    """Take those of `runs` off the tip that are as they were at the commit `at`; return them."""
    removed: list[RunId] = []

    def plan(tip: Tip) -> Edit | None:
        moved = tip.commit != at
        removed[:] = [run for run in runs if not moved or stores.reader.is_same(at, str(tip.commit), run.path)]
        if not removed:
            return None
        files: list[tuple[str, bytes | None]] = [(run.path, None) for run in removed]
        return edit_of(files, "Remove " + _counted(removed), removed, "remove", provenance)

    stores.update(plan)
    return removed


def annotations_at(tip: Tip, run: RunId) -> Annotations:
    """Return a run's annotations at `tip`."""
    _require(tip, run)
    content = tip.read(f"{run.path}/{ANNOTATIONS}")
    return Annotations.from_bytes(content) if content else Annotations()


def _require(tip: Tip, run: RunId) -> None:
    if not tip.exists(run.path):
        raise RunNotFoundError(
            f"no run {run.short} at the tip of the archive", hint="run 'runvault log' to see what became of it"
        )


def _counted(runs: Sequence[RunId]) -> str:
    return runs[0].short if len(runs) == 1 else f"{len(runs)} runs"


def edit_of(
    files: Sequence[tuple[str, bytes | None]], subject: str, runs: Sequence[RunId], kind: str, provenance: Provenance
) -> Edit:
    """Return the edit of a commit about `runs`."""
    trailers = "".join(f"Run: {run}\n" for run in runs)
    message = f"{one_line(subject)}\n\n{trailers}Kind: {kind}\n"
    author = Signature(provenance.author_name, provenance.author_email)
    return Edit(files=tuple(files), message=message, author=author, time=provenance.now)
