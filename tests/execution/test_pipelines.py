"""Inside DVC: stages that archive, metrics and reports as outs, experiments in throw-away clones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import git

import runvault as rv

pytestmark = pytest.mark.engine

PIPELINE = f"""
stages:
  backtest:
    cmd: >-
      {sys.executable} -m runvault.cli.main run strategy.py:backtest --data prices=data/prices.csv
      --params params.yaml --metrics out/metrics.json --report out/report.html
    deps: [strategy.py, data/prices.csv]
    params: [fast]
    metrics:
      - out/metrics.json
    outs:
      - out/report.html
"""


@pytest.fixture
def pipeline(here: Path) -> Path:
    (here / "dvc.yaml").write_text(PIPELINE)
    (here / "params.yaml").write_text("fast: 3\n")
    (here / ".gitignore").write_text("/out/\n__pycache__/\n")
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message", "pipeline")
    return here


def dvc(place: Path, *args: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(rv.__file__).parents[1]), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *args], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_stage_archives_its_run_and_leaves_metrics_and_a_page(vault: rv.Vault, pipeline: Path) -> None:
    dvc(pipeline, "repro")

    run = vault.get("latest")
    assert run.params == {"fast": 3, "slow": 8}
    assert run.manifest["recipe"]["stage"] == {"name": "backtest", "file": "dvc.yaml"}
    shown = json.loads(dvc(pipeline, "metrics", "show", "--json"))
    assert shown[""]["data"]["out/metrics.json"]["data"]["total_return"] == run.metrics["total_return"]
    assert run.id in (pipeline / "out" / "report.html").read_text("utf-8")
    assert vault.replay(run).verdict == "exact"


def test_experiments_archive_into_the_real_archive(vault: rv.Vault, pipeline: Path) -> None:
    """One of the working tree, and one that runs in a clone that is thrown away."""
    dvc(pipeline, "repro")
    dvc(pipeline, "exp", "run", "--name", "here", "--set-param", "fast=4")
    dvc(pipeline, "exp", "run", "--temp", "--name", "there", "--set-param", "fast=5")

    runs = vault.list(sort="created_at")
    assert [run.params["fast"] for run in runs] == [3, 4, 5]
    assert [vault.replay(run).verdict for run in runs] == ["exact", "exact", "exact"]


def test_queued_experiments_archive_into_the_real_archive(vault: rv.Vault, pipeline: Path) -> None:
    dvc(pipeline, "repro")
    fast = 3
    for name, start in (("all", ["exp", "run", "--run-all"]), ("queued", ["queue", "start"])):
        fast += 1
        dvc(pipeline, "exp", "run", "--queue", "--name", name, "--set-param", f"fast={fast}")
        before = git(pipeline, "status", "--porcelain")
        assert vault.count() == fast - 3

        dvc(pipeline, *start)
        wait_for(vault, fast - 2, pipeline, name)

        assert [run.params["fast"] for run in vault.list(sort="params.fast")] == list(range(3, fast + 1))
        assert vault.get("latest").manifest["recipe"]["stage"]["name"] == "backtest"
        assert vault.replay("latest").verdict == "exact"
        assert git(pipeline, "status", "--porcelain") == before


def wait_for(vault: rv.Vault, runs: int, place: Path, name: str) -> None:
    """Wait until a queued experiment has ended: the worker of `dvc queue start` runs in the background."""
    ends = time.monotonic() + 120
    while vault.count() < runs and time.monotonic() < ends:  # to ask DVC takes seconds
        time.sleep(0.1)
    for _ in range(60):
        (status,) = (line for line in dvc(place, "queue", "status").splitlines() if f" {name} " in line)
        assert "Failed" not in status, dvc(place, "queue", "logs", name)
        if "Success" in status:
            return
        time.sleep(0.5)
    raise AssertionError(status)
