"""MLflow in a Python of its own: logging one run, and searching many by a metric."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.measure import run_process

CHILD = Path(__file__).with_name("mlflow_child.py")


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield MLflow's figures."""
    if bench.peers is None:
        bench.skip("MLflow was not measured: name a Python that has it with --peers or RUNVAULT_BENCH_PEERS.")
        return
    for size in bench.experiments:
        path = bench.archives.folder("mlflow")
        path.mkdir(parents=True)
        usage = run_process([bench.peers, CHILD, str(size), str(bench.repeat)], path)
        said = json.loads(usage.output.splitlines()[-1])
        name = f"MLflow {said['version']}, SQLite, in process"
        yield Figure(f"{name}: log a run with a 200 KB artifact", said["log_s"], size=size)
        yield Figure(f"{name}: search, order by a metric, first 50", said["search_s"], size=size)
