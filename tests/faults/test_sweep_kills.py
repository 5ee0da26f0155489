"""SIGKILL of a sweep wherever it is: what is listed stays whole, and the next start computes what is missing."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import FULL_COUNTS, full_counts, git

import runvault as rv

pytestmark = [pytest.mark.faults, pytest.mark.engine]

TOTAL = 24
ENTRY = """
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, {tests!r})
from results import make_result


def backtest(number):
    with open(Path(__file__).with_name("calls.txt"), "a") as log:
        log.write(f"{{os.getpid()}}\\n")
    time.sleep(0.05)
    return make_result(number / 100)
"""
# Small batches, so that a sweep of a few seconds commits often.
SWEEP = """
import sys
import runvault
import runvault.execution.sweep as sweep
sweep.BATCH, sweep.TICK_S = 4, 0.02
swept = runvault.open().sweep("strategy.py:backtest", {"number": range(int(sys.argv[1]))}, workers=2)
print(swept.archived, swept.skipped, len(swept.failed))
"""


@pytest.fixture
def vault(repo: Path) -> rv.Vault:
    (repo / "strategy.py").write_text(ENTRY.format(tests=str(Path(__file__).parents[1])))
    (repo / ".gitignore").write_text("calls.txt\n__pycache__/\n")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "strategy: made by hand")
    return rv.init(repo)


def start(repo: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", SWEEP, str(TOTAL)]
    return subprocess.Popen(argv, cwd=repo, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def called(repo: Path) -> list[int]:
    path = repo / "calls.txt"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("point", range(full_counts(1, 20)))
def test_a_killed_sweep_loses_nothing_that_was_listed(vault: rv.Vault, repo: Path, point: int) -> None:
    draw = random.Random(time.time_ns() if FULL_COUNTS else point)
    calls, pause_s = draw.randrange(TOTAL), draw.uniform(0, 0.1)
    child = start(repo)
    ends = time.monotonic() + 120
    while len(called(repo)) < calls:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < ends
        time.sleep(0.002)
    time.sleep(pause_s)
    listed = {run.id for run in rv.open(repo).list()}
    child.kill()
    child.communicate()

    where = f"killed {pause_s:.3f} s after call {calls}"
    known = {run.id for run in vault.list()}
    assert listed <= known, where
    assert vault.verify(artifacts=True).findings == [], where
    while any(map(is_running, set(called(repo)))):
        assert time.monotonic() < ends, f"workers outlive the sweep {where}"
        time.sleep(0.02)
    (repo / "calls.txt").unlink(missing_ok=True)

    again = start(repo)
    out, err = again.communicate(timeout=120)
    assert out == f"{TOTAL - len(known)} {len(known)} 0\n", (where, err)
    assert len(called(repo)) == TOTAL - len(known), where
    assert known <= {run.id for run in vault.list()}, where
    assert vault.count() == TOTAL
    assert vault.verify(artifacts=True).findings == []
    assert not list((repo / ".git" / "refs").rglob("*.lock"))
