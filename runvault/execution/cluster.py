"""What a worker of a Dask cluster keeps of a sweep; imported only where one is used, since it imports Dask."""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from runvault.execution.workers import Job, forget, keep


class Keeper(WorkerPlugin):
    """Keeps a job in every worker, those included that start later in place of one that died."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def setup(self, worker: Any) -> None:  # noqa: ARG002 - Dask's interface
        """Keep the job in a worker that starts, or that hears of the sweep."""
        keep(self.job)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Forget it."""
        forget(self.job.key)
