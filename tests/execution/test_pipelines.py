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


@pytest.mark.parametrize("where", [[], ["--temp"]])
def test_an_experiment_archives_into_the_real_archive(vault: rv.Vault, pipeline: Path, where: list[str]) -> None:
    dvc(pipeline, "repro")
    dvc(pipeline, "exp", "run", "--name", "wider", "--set-param", "fast=4", *where)

    assert [run.params["fast"] for run in vault.list(sort="created_at")] == [3, 4]
    assert vault.replay(vault.get("latest")).verdict == "exact"


@pytest.mark.parametrize("start", [["exp", "run", "--run-all"], ["queue", "start"]], ids=" ".join)
def test_a_queued_experiment_archives_into_the_real_archive(vault: rv.Vault, pipeline: Path, start: list[str]) -> None:
    dvc(pipeline, "repro")
    dvc(pipeline, "exp", "run", "--queue", "--name", "wider", "--set-param", "fast=4")
    before = git(pipeline, "status", "--porcelain")
    assert vault.count() == 1

    dvc(pipeline, *start)
    wait_for(pipeline, "wider")

    assert [run.params["fast"] for run in vault.list(sort="params.fast")] == [3, 4]
    assert vault.get("latest").manifest["recipe"]["stage"]["name"] == "backtest"
    assert vault.replay("latest").verdict == "exact"
    assert git(pipeline, "status", "--porcelain") == before


def wait_for(place: Path, name: str) -> None:
    """Wait until a queued experiment has ended: the worker of `dvc queue start` runs in the background."""
    for _ in range(240):
        status = dvc(place, "queue", "status")
        assert "Failed" not in status, dvc(place, "queue", "logs", name)
        if "Success" in status:
            return
        time.sleep(0.5)
    raise AssertionError(status)
