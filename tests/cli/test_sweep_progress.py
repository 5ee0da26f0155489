"""What a sweep shows on a terminal while it computes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from machine import git

import runvault as rv

pty = pytest.importorskip("pty")  # not on Windows

ENTRY = """
import sys
import time

sys.path.insert(0, {tests!r})
from results import make_result


def backtest(gain):
    time.sleep(0.4)
    return make_result(gain)
"""


def test_a_terminal_is_shown_how_fast_it_goes_and_how_long_it_takes(repo: Path) -> None:
    (repo / "strategy.py").write_text(ENTRY.format(tests=str(Path(__file__).parents[1])))
    git(repo, "commit", "--quiet", "--all", "--message", "strategy: slow")
    rv.init(repo)
    argv = [sys.executable, "-m", "runvault.cli.main", "sweep", "strategy.py:backtest", "--executor", "serial"]
    grid = ["--grid", "gain=0.1:0.9:0.1"]
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    child = subprocess.Popen([*argv, *grid], cwd=repo, env=env, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)

    shown = read_all(ours)
    out, _ = child.communicate(timeout=60)

    assert child.returncode == 0, shown
    assert out == b"8 combinations: 8 archived, 0 skipped, 0 failed\n"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "8/8" in plain
    assert re.search(r"[1-7]/8 +\d+\.\d/s +0:00:0\d", plain), plain


def read_all(terminal: int) -> str:
    """Return what is written to a terminal until nobody has it open."""
    parts = []
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other side is closed
            part = b""
        if not part:
            os.close(terminal)
            return b"".join(parts).decode()
        parts.append(part)
