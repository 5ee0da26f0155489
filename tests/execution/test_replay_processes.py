"""Replays as processes of their own: several at once, ended by a hand, ended by the system, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import full_counts, git

import runvault as rv

ENTRY = """
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, {tests!r})
from results import make_result


def backtest(gain=0.1):
    if Path({waits!r}).exists():
        Path({pids!r}, str(os.getpid())).write_text(os.getcwd())
        time.sleep(600)
    return make_result(gain)
"""


class Place:
    """A repository with an archive, and the folder that its replays have for their worktrees."""

    def __init__(self, repo: Path, home: Path) -> None:
        self.repo = repo
        self.waits, self.pids, self.temporary = home / "waits", home / "pids", home / "temporary"
        self.pids.mkdir()
        self.temporary.mkdir()
        names = {"tests": str(Path(__file__).parents[1]), "waits": str(self.waits), "pids": str(self.pids)}
        self.text = ENTRY.format(**names)
        (repo / "strategy.py").write_text(self.text)
        git(repo, "commit", "--quiet", "--all", "--message", "strategy: made by hand")
        self.vault = rv.init(repo)
        git(repo, "add", ".")
        git(repo, "commit", "--quiet", "--message", "dvc: init")

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "runvault.cli.main", "replay", *words]
        env = {**os.environ, "TMPDIR": str(self.temporary)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, cwd=self.repo, env=env, text=True, stdout=pipe, stderr=pipe, start_new_session=True
        )

    def waiting(self, started: subprocess.Popen[str], known: set[Path] = frozenset()) -> tuple[int, Path]:  # type: ignore[assignment]
        """Wait until the recipe of a replay hangs; return its process and its worktree."""
        until(lambda: set(self.pids.iterdir()) - known or started.poll() is not None)
        (new,) = set(self.pids.iterdir()) - known
        until(lambda: new.read_text())
        return int(new.name), Path(new.read_text())

    def left(self) -> list[str]:
        """Return what replays have left: worktrees that git knows, files in their folder, changes in the user's."""
        worktrees = git(self.repo, "worktree", "list").splitlines()[1:]
        return [
            *worktrees,
            *(path.name for path in self.temporary.iterdir()),
            *git(self.repo, "status", "--porcelain").splitlines(),
        ]


@pytest.fixture
def place(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (repo / ".gitignore").write_text("__pycache__/\n")
    git(repo, "add", ".gitignore")
    yield Place(repo, tmp_path)
    sys.modules.pop("strategy", None)


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_replays_at_once_each_give_their_verdict(place: Place) -> None:
    one, other = (place.vault.run("strategy.py:backtest", params={"gain": gain}).run for gain in (0.1, 0.2))
    (place.repo / "strategy.py").write_text(place.text.replace("make_result(gain)", "make_result(2 * gain)"))
    git(place.repo, "commit", "--quiet", "--all", "--message", "strategy: twice")
    (place.repo / "strategy.py").write_text("def backtest(gain\n")
    git(place.repo, "commit", "--quiet", "--all", "--message", "strategy: broken")
    asked = [
        *[((one.id, "--record"), "exact", 0)] * full_counts(2, 6),
        *[((other.id,), "exact", 0)] * full_counts(1, 6),
        *[((one.id, "--at", "HEAD~1"), "drift", 1)] * full_counts(1, 6),
        *[((other.id, "--at", "HEAD"), "failed", 50)] * full_counts(1, 6),
    ]

    started = [place.start(*words, "--json") for words, *_ in asked]
    told = [each.communicate(timeout=300) for each in started]

    assert [each.returncode for each in started] == [status for *_, status in asked], told
    verdicts = [json.loads(out)["verdict"] for out, _ in told]
    assert verdicts == [verdict for _, verdict, _ in asked]
    assert place.left() == []
    assert [each["verdict"] for each in place.vault.get(one.id).replays] == ["exact"] * full_counts(2, 6)
    assert place.vault.verify().findings == []


@pytest.fixture
def heard() -> Iterator[None]:
    """Let children hear of a hang-up: one that nohup keeps from the tests is kept from them, and rightly."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("number", "whole_group", "status"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143), (signal.SIGHUP, False, 129)],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_a_replay_that_is_ended_leaves_nothing(
    place: Place, number: signal.Signals, whole_group: bool, status: int
) -> None:
    place.vault.run("strategy.py:backtest")
    place.waits.touch()
    started = place.start("latest")
    recipe, tree = place.waiting(started)
    assert tree.is_relative_to(place.temporary)

    os.killpg(started.pid, number) if whole_group else started.send_signal(number)
    _, err = started.communicate(timeout=60)

    assert (started.returncode, err.strip().splitlines()[-1]) == (status, "error: interrupted")
    assert "Traceback" not in err
    assert not is_running(recipe)
    assert place.left() == []


def test_what_a_killed_replay_leaves_goes_and_that_of_a_living_one_stays(place: Place) -> None:
    run = place.vault.run("strategy.py:backtest").run
    place.waits.touch()
    killed = place.start(run.id)
    orphan, left = place.waiting(killed)
    living = place.start(run.id)
    recipe, kept = place.waiting(living, set(place.pids.iterdir()))

    killed.kill()
    killed.communicate()

    until(lambda: not is_running(orphan))  # nobody would ever ask it for its result
    assert left.is_dir()
    place.waits.unlink()
    again = place.start(run.id)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert not left.exists()
    assert (kept / "strategy.py").is_file()
    assert is_running(recipe)
    living.send_signal(signal.SIGTERM)
    living.communicate(timeout=60)
    assert not is_running(recipe)
    assert place.left() == []
