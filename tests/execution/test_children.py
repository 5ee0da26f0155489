"""The processes of replays: forks of a server that is kept, or one started for each."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import git

import runvault as rv

ENTRY = """
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, {tests!r})
from results import make_result

CHANCE = np.random.random()


def backtest(gain=0.1):
    order = Path({order!r})
    told = {{"chance": CHANCE, "pid": os.getpid(), "parent": os.getppid(), "home": os.environ.get("HOME")}}
    told |= {{"zone": time.tzname[0], "temporary": tempfile.gettempdir()}}
    told |= {{"input": os.read(0, 1).decode() if os.path.samefile(0, os.devnull) else None}}
    if order.exists() and order.read_text() == "leave":
        told["left"] = subprocess.Popen(["sleep", "600"]).pid
    with open({log!r}, "a") as log:
        log.write(json.dumps(told) + "\\n")
    if order.exists() and order.read_text() == "kill":
        os.kill(os.getppid(), 9)
        time.sleep(600)
    if order.exists() and order.read_text() == "die":
        os.kill(os.getpid(), 11)
    return make_result(gain)
"""


class Backtest:
    """A run whose entry tells of the process that it is in, and does as it is ordered."""

    def __init__(self, repo: Path, home: Path) -> None:
        self.log, self.order = home / "log", home / "order"
        names = {"tests": str(Path(__file__).parents[1]), "log": str(self.log), "order": str(self.order)}
        self.repo = repo
        (repo / "strategy.py").write_text(ENTRY.format(**names))
        git(repo, "commit", "--quiet", "--all", "--message", "strategy: tells of itself")
        self.vault = rv.init(repo)
        self.run = self.vault.run("strategy.py:backtest").run

    def replay(self, order: str = "", **more: Any) -> dict[str, Any]:
        """Replay the run, and return what its process told."""
        self.order.write_text(order)
        assert self.vault.replay(self.run, **more).verdict == "exact"
        return self.told()

    def fails(self, order: str) -> tuple[str, dict[str, Any]]:
        """Replay the run in vain, and return the reason and what its process told."""
        self.order.write_text(order)
        failed = self.vault.replay(self.run)
        assert failed.verdict == "failed"
        return failed.reason[0], self.told()

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.log.read_text().splitlines()[-1])
        return told


@pytest.fixture
def backtest(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backtest]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    home = tmp_path / "told"
    home.mkdir()
    yield Backtest(repo, home)
    sys.modules.pop("strategy", None)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for_end(pid: int) -> None:
    """Wait for a process that was killed to be gone."""
    ends = time.monotonic() + 20
    while is_there(pid):
        assert time.monotonic() < ends
        time.sleep(0.01)


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each job has a process that is started for it")


@linux
def test_jobs_are_forks_of_one_server(backtest: Backtest) -> None:
    first, second, third = (backtest.replay() for _ in range(3))

    assert first["parent"] == second["parent"] == third["parent"] != os.getpid()
    assert len({told["pid"] for told in (first, second, third)}) == 3


@linux
def test_a_fork_has_the_environment_of_its_time_and_no_number_of_another(
    backtest: Backtest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backtest.replay()
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    for name, value in (("HOME", str(home)), ("TMPDIR", str(temporary)), ("TZ", "Asia/Tokyo")):
        monkeypatch.setenv(name, value)
    second = backtest.replay()

    assert (second["home"], second["temporary"], second["zone"]) == (str(home), str(temporary), "JST")
    assert second["parent"] == first["parent"]
    assert second["chance"] != first["chance"]
    assert second["input"] == ""


@linux
def test_what_libraries_read_at_their_start_has_a_server_of_its_own(
    backtest: Backtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backtest.replay()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    second = backtest.replay()

    assert second["parent"] != first["parent"]
    wait_for_end(first["parent"])  # nor is the other one kept


@linux
def test_a_process_with_many_open_files_replays(backtest: Backtest, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 4096), limits[1]))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        monkeypatch.setenv("NUMBA_NUM_THREADS", "1")  # a server that is started now
        assert backtest.replay()["parent"] != os.getpid()
    finally:
        for each in many:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@linux
def test_code_with_settings_of_numba_has_a_process_that_starts_there(backtest: Backtest) -> None:
    (backtest.repo / ".numba_config.yaml").write_text("num_threads: 1\n")
    git(backtest.repo, "add", ".")
    git(backtest.repo, "commit", "--quiet", "--message", "numba: one thread")

    assert backtest.replay(at="HEAD")["parent"] == os.getpid()


@linux
def test_a_server_that_is_gone_is_replaced(backtest: Backtest) -> None:
    first = backtest.replay()
    os.kill(first["parent"], signal.SIGKILL)

    assert backtest.replay()["parent"] != first["parent"]


@linux
def test_a_job_that_kills_its_server_is_ended_and_told(backtest: Backtest) -> None:
    reason, told = backtest.fails("kill")

    assert "ended with status -9" in reason
    wait_for_end(told["pid"])
    assert backtest.replay()["parent"] != told["parent"]


@pytest.mark.parametrize("forks", [pytest.param(True, marks=linux), False], ids=["forked", "started"])
def test_what_a_job_leaves_running_is_ended(
    backtest: Backtest, monkeypatch: pytest.MonkeyPatch, *, forks: bool
) -> None:
    monkeypatch.setattr("runvault.execution.children.FORKS", forks)

    wait_for_end(backtest.replay("leave")["left"])


@pytest.mark.parametrize("forks", [pytest.param(True, marks=linux), False], ids=["forked", "started"])
def test_a_job_that_dies_is_told_by_its_status(
    backtest: Backtest, monkeypatch: pytest.MonkeyPatch, *, forks: bool
) -> None:
    monkeypatch.setattr("runvault.execution.children.FORKS", forks)

    reason, _ = backtest.fails("die")
    assert reason == "the recipe ended with status -11: it said nothing"
