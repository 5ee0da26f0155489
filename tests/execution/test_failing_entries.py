"""An entry with a syntax error, one that is missing, returns None, exits or never ends: each command says which."""

from __future__ import annotations

import json
import os
import signal
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
import sys
import time
from pathlib import Path

sys.path.insert(0, {tests!r})
from results import make_result


def backtest(gain=0.1):
{body}
"""
BODIES = {
    "fine": "    return make_result(gain)",
    "syntax": "    return make_result(gain",
    "none": "    make_result(gain)",
    "exits": "    sys.exit(0)",
    "script": "    pass\n\n\nsys.exit(7)",
    "endless": "    Path({started!r}).touch()\n    time.sleep(600)",
}
WORDS = {
    "syntax": "'strategy.py:backtest' cannot be imported: '(' was never closed (strategy.py, line 11)",
    "missing": "there is no function 'backtest' in strategy",
    "none": "backtest returned None",
    "exits": "backtest ended the program with status 0",
    "script": "'strategy.py:backtest' cannot be imported: it ends the program with status 7",
}


class Strategy:
    """A file of the repository that holds one kind of entry or another."""

    def __init__(self, repo: Path, started: Path) -> None:
        self.repo, self.started = repo, started

    def write(self, kind: str) -> None:
        body = BODIES.get(kind, BODIES["fine"]).replace("{started!r}", repr(str(self.started)))
        text = ENTRY.format(tests=str(Path(__file__).parents[1]), body=body)
        (self.repo / "strategy.py").write_text(text.replace("backtest", "other") if kind == "missing" else text)
        git(self.repo, "commit", "--quiet", "--all", "--allow-empty", "--message", f"strategy: {kind}")


@pytest.fixture
def strategy(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Strategy]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(repo)
    rv.init(repo)
    yield Strategy(repo, tmp_path / "started")
    for name in [name for name in sys.modules if name.endswith("strategy")]:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("kind", WORDS)
def test_run_says_what_is_wrong(strategy: Strategy, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    strategy.write(kind)
    assert program(["run", "strategy.py:backtest"]) == 50
    assert WORDS[kind] in capsys.readouterr().err
    assert rv.open(strategy.repo).count() == 0


@pytest.mark.parametrize("kind", WORDS)
def test_sweep_says_what_is_wrong(strategy: Strategy, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    strategy.write(kind)
    status = program(["sweep", "strategy.py:backtest", "--grid", "gain=0.1,0.2", "--executor", "serial"])
    err = capsys.readouterr().err
    told_of_each = kind in ("none", "exits")
    assert status == (1 if told_of_each else 50)
    assert err.count(WORDS[kind]) == (2 if told_of_each else 1)
    assert rv.open(strategy.repo).count() == 0


@pytest.mark.parametrize("kind", WORDS)
def test_replay_says_what_is_wrong(strategy: Strategy, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    strategy.write("fine")
    assert program(["run", "strategy.py:backtest"]) == 0
    strategy.write(kind)
    capsys.readouterr()
    assert program(["replay", "latest", "--at", "HEAD", "--json"]) == 50
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "failed"
    assert WORDS[kind] in told["reason"][0]


@pytest.mark.parametrize(
    "words", [["run"], ["sweep", "--grid", "gain=0.1,0.2", "--workers", "1"]], ids=["run", "sweep"]
)
def test_what_never_ends_is_ended_by_ctrl_c(strategy: Strategy, words: list[str]) -> None:
    strategy.write("endless")
    argv = [sys.executable, "-m", "runvault.cli.main", words[0], "strategy.py:backtest", *words[1:]]
    pipe = subprocess.PIPE
    started = subprocess.Popen(argv, cwd=strategy.repo, text=True, stdout=pipe, stderr=pipe, start_new_session=True)
    ends = time.monotonic() + 120
    while not strategy.started.exists():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < ends
        time.sleep(0.05)

    os.killpg(started.pid, signal.SIGINT)
    _, err = started.communicate(timeout=60)

    assert started.returncode == 130
    assert err.strip() == "error: interrupted"
    assert rv.open(strategy.repo).count() == 0


def test_a_replay_that_never_ends_is_ended_by_its_timeout(
    strategy: Strategy, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy.write("fine")
    assert program(["run", "strategy.py:backtest"]) == 0
    strategy.write("endless")
    capsys.readouterr()
    assert program(["replay", "latest", "--at", "HEAD", "--timeout", "5", "--json"]) == 50
    assert json.loads(capsys.readouterr().out)["reason"] == [
        "the recipe did not end within 5 s",
        "hint: give it longer: --timeout",
    ]
    assert strategy.started.exists()
