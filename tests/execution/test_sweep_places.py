"""A sweep on a cluster of somebody else's, and at an address where there is none."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import git

import runvault as rv
from runvault.cli.main import run as program

ENTRY = """
import os
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from results import make_result


def backtest(number):
    Path({pids!r}, str(os.getpid())).touch()
    return make_result(number / 100)
"""


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    path = tmp_path / "pids"
    path.mkdir()
    return path


@pytest.fixture
def vault(repo: Path, pids: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[rv.Vault]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(repo)
    (repo / "strategy.py").write_text(ENTRY.format(tests=str(Path(__file__).parents[1]), pids=str(pids)))
    git(repo, "commit", "--quiet", "--all", "--message", "strategy: made by hand")
    yield rv.init(repo)
    sys.modules.pop("strategy", None)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Start a scheduler without workers, as a program of its own, and return its address."""
    pytest.importorskip("distributed")
    argv = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
    log = tmp_path / "scheduler.log"
    with log.open("wb") as sink:
        started = subprocess.Popen([sys.executable, "-m", *argv], cwd=tmp_path, stdout=sink, stderr=sink)
    ends = time.monotonic() + 60
    while (found := re.search(r"tcp://127\.0\.0\.1:\d+", log.read_text())) is None:
        assert started.poll() is None, log.read_text()
        assert time.monotonic() < ends
        time.sleep(0.1)
    yield found[0]
    started.terminate()
    started.wait(60)


def test_a_scheduler_is_found_by_its_address(
    vault: rv.Vault, scheduler: str, pids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    argv = ["distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    log = (tmp_path / "worker.log").open("wb")
    worker = subprocess.Popen([sys.executable, "-m", *argv], cwd=elsewhere, stdout=log, stderr=log)
    try:
        assert program(["sweep", "strategy.py:backtest", "--grid", "number=1:6:1", "--dask", scheduler]) == 0
    finally:
        worker.terminate()
        worker.wait(60)
        log.close()

    assert "5 archived" in capsys.readouterr().out
    assert vault.count() == 5
    assert [int(path.name) for path in pids.iterdir()] == [worker.pid]


def test_a_scheduler_without_workers_is_an_error(
    vault: rv.Vault, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        status = program(["sweep", "strategy.py:backtest", "--grid", "number=1,2", "--dask", scheduler])

    err = capsys.readouterr().err
    assert status == 13, err
    assert f"error: the Dask scheduler at '{scheduler}' has no workers" in err
    assert f"hint: start some: dask worker {scheduler}" in err


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_an_address_without_a_scheduler_is_an_error(
    vault: rv.Vault, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        status = program(["sweep", "strategy.py:backtest", "--grid", "number=1,2", "--dask", address])

    err = capsys.readouterr().err
    assert status == 13, err
    assert f"error: there is no Dask scheduler at '{address}'" in err
    assert "hint: is 'dask scheduler' running there?" in err
    assert "Traceback" not in err
