"""Runs under a Python that has MLflow, and prints its figures as JSON: ``mlflow_child.py RUNS REPEAT``."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow  # type: ignore[import-not-found,unused-ignore]

PARAMS, METRICS = 10, 30


def log_run(artifact: Path | None) -> None:
    """Log one run with as many parameters and metrics as a backtest has."""
    with mlflow.start_run():
        mlflow.log_params({f"param_{n}": random.random() for n in range(PARAMS)})
        mlflow.log_metrics({f"metric_{n}": random.random() for n in range(METRICS)})
        if artifact is not None:
            artifact.write_bytes(random.randbytes(200_000))
            mlflow.log_artifact(str(artifact))


def search() -> None:
    """Ask for the best runs by a metric that satisfy a condition."""
    found = mlflow.search_runs(
        filter_string="metrics.metric_1 > 0.1", order_by=["metrics.metric_0 DESC"], max_results=50, output_format="list"
    )
    assert found


def median(repeat: int, work: Callable[[], None]) -> float:
    """Return the median time of a call."""
    taken = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    """Fill a store and measure it."""
    runs, repeat = int(sys.argv[1]), int(sys.argv[2])
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("bench")
    for _ in range(runs):
        log_run(None)
    artifact = Path("portfolio.pkl")
    figures = {
        "version": mlflow.__version__,
        "log_s": median(max(repeat, 15), lambda: log_run(artifact)),
        "search_s": median(repeat, search),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
