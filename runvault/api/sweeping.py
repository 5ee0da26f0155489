"""What a sweep gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.api.arguments import as_count
from runvault.api.machine import provenance
from runvault.api.running import request_of
from runvault.errors import ConfigError
from runvault.execution.sweep import SweepOutcome, SweepRequest, run_sweep

if TYPE_CHECKING:
    from runvault.api.vault import Vault

Json: TypeAlias = Any
Progress: TypeAlias = Callable[[int, int], Any]


class Swept:
    """The outcome of a sweep.

    Attributes
    ----------
    total : int
        The combinations asked for.
    archived : int
        Those that were computed and are in the archive now.
    skipped : int
        Those that equal code had archived already.
    failed : list of dict
        ``{"params", "error"}`` of those that gave no result.
    sweep : str
        The id that ``lineage.sweep`` of its runs holds.
    ids : list of str
        The full ids of the runs that were archived, in the order in which they came.
    skipped_ids : list of str
        Those of the runs that were archived already.
    left_out : tuple of str
        Files that the snapshot of the code does not hold: credentials, and untracked files that were not imported.
    """

    def __init__(self, outcome: SweepOutcome) -> None:
        self.total = outcome.total
        self.archived = len(outcome.saved)
        self.skipped = len(outcome.skipped)
        self.failed = [{"params": dict(each.params), "error": each.error} for each in outcome.failed]
        self.sweep = outcome.sweep
        self.ids = [saved.id for saved in outcome.saved]
        self.skipped_ids = [str(run) for run in outcome.skipped]
        self.drifted = [saved.id for saved in outcome.saved if saved.drift]
        self.left_out = tuple(outcome.left_out)

    def __repr__(self) -> str:
        return f"<Swept {self.total}: {self.archived} archived, {self.skipped} skipped, {len(self.failed)} failed>"

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault sweep --json`` prints."""
        return {"total": self.total, "archived": self.archived, "skipped": self.skipped, "failed": self.failed}


def sweep(
    vault: Vault,
    entry: str,
    grid: Mapping[str, Any],
    *,
    random: int | None,
    executor: str | None,
    workers: int | None,
    dask: str | None,
    vectorized: bool,
    progress: Progress | None,
    said: Mapping[str, Any],
) -> Swept:
    """Run an entry for every combination of a grid; see `Vault.sweep`."""
    request = SweepRequest(
        run=request_of(vault, said),
        grid=grid,
        draw=as_count(random, "random"),
        executor=_executor(executor, dask),
        workers=as_count(workers, "workers"),
        address=dask,
        vectorized=vectorized,
    )

    def watch(outcome: SweepOutcome) -> None:
        if progress is not None:
            progress(outcome.done, outcome.total)

    return Swept(run_sweep(vault.stores, entry, request, lambda: provenance(vault.stores), watch))


def _executor(said: str | None, dask: str | None) -> str:
    """Return the executor that is meant: the address of a scheduler says enough."""
    if dask is not None and said not in (None, "dask"):
        raise ConfigError(f"the executor {said!r} knows no address {dask!r}", hint="leave one of them out")
    return said or ("processes" if dask is None else "dask")
