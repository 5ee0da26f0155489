"""Drivers, strace and the questions that every fault test asks afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest
from machine import git

from runvault.stores.git.init import init_archive
from runvault.stores.git.maintenance import Maintenance
from runvault.stores.git.repository import Repository

DRIVER = Path(__file__).with_name("driver.py")
STRACE = shutil.which("strace")

needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


@dataclass(frozen=True)
class Outcome:
    """What became of one save: acknowledged (perhaps with no new commit), a typed error, or neither."""

    said: str
    acknowledged: bool
    typed: bool
    status: int


def new_archive(path: Path, branch: str = "runvault") -> Repository:
    repository = Repository.find(path, branch)
    init_archive(repository)
    return repository


def start(*args: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(DRIVER), *args], stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


class Server:
    """A driver that forks a saver a line, so that the imports are paid for once."""

    def __init__(self, repository: Repository, *, threads: bool = False) -> None:
        self.repository = repository
        args = ["serve", str(repository.common_dir.parent), repository.branch, *(["threads"] if threads else [])]
        self._process = start(*args, stdin=subprocess.PIPE)
        assert self._read() == "ready"

    def close(self) -> None:
        cast(IO[str], self._process.stdin).close()
        cast(IO[str], self._process.stdout).close()
        self._process.wait(10)

    def _read(self) -> str:
        return cast(IO[str], self._process.stdout).readline().strip()

    def _write(self, text: str) -> None:
        stdin = cast(IO[str], self._process.stdin)
        stdin.write(f"{text}\n")
        stdin.flush()

    def save(self, name: str, *strace: str, bulk: bool = False) -> Outcome:
        """Save a run in a fresh child, under strace where options for it are given."""
        self._write(f"save {name}{' bulk' if bulk else ''}")
        pid = self._read().removeprefix("pid ")
        tracer = _attach(pid, strace) if strace else None
        self._write("go")
        said = ""
        while not (text := self._read()).startswith("end "):
            said = text
        if tracer is not None:
            tracer.wait(10)
            cast(IO[str], tracer.stderr).close()
        return Outcome(said, said.startswith("ack "), said.startswith("error "), int(text.removeprefix("end ")))


def _attach(pid: str, options: Sequence[str]) -> subprocess.Popen[str]:
    tracer = subprocess.Popen([str(STRACE), "-f", "-p", pid, *options], stderr=subprocess.PIPE, text=True)
    said = cast(IO[str], tracer.stderr).readline()
    if "attached" not in said:
        tracer.kill()
        tracer.wait()
        cast(IO[str], tracer.stderr).close()
        pytest.skip(f"strace cannot attach here: {said.strip()}")
    return tracer


@contextmanager
def serving(repository: Repository, *, threads: bool = False) -> Iterator[Server]:
    server = Server(repository, threads=threads)
    try:
        yield server
    finally:
        server.close()


def count_calls(server: Server, name: str, calls: Sequence[str], trace: Path, *, bulk: bool = False) -> Counter[str]:
    """Return how often one save makes each system call, in that of its processes that makes most of them.

    strace counts by process, too, when it is told to meddle with the call of a certain turn.
    """
    outcome = server.save(name, "-o", str(trace), "-e", f"trace={','.join(calls)}", bulk=bulk)
    assert outcome.acknowledged
    made = Counter(
        tuple(line.split("(")[0].split()) for line in trace.read_text().splitlines() if "resumed" not in line
    )
    most: Counter[str] = Counter()
    for process, call in (made_by for made_by in made if len(made_by) == 2 and made_by[1] in calls):
        most[call] = max(most[call], made[process, call])
    return most


def spread(counts: Counter[str], points: int) -> list[tuple[str, int]]:
    """Return up to `points` pairs of a call and its turn, even over all there are."""
    every = [(call, turn) for call, count in sorted(counts.items()) for turn in range(1, count + 1)]
    step = max(1, len(every) / points)
    return [every[int(place * step)] for place in range(min(points, len(every)))]


def saved_runs(repository: Repository) -> set[str]:
    """Return the names of the runs that are whole at the tip."""
    listed = git(repository.common_dir.parent, "ls-tree", "-r", "--name-only", repository.branch, "runs/").splitlines()
    files = Counter(path.split("/")[2] for path in listed)
    assert set(files.values()) <= {5}, "a run is listed whole or not at all"
    return set(files)


def assert_sound(repository: Repository) -> None:
    deadline = time.monotonic() + 60
    while Maintenance(repository).runs():  # after 30 saves; fsck takes for missing what is packed beside it
        assert time.monotonic() < deadline
        time.sleep(0.02)
    done = subprocess.run(
        ["git", "fsck", "--strict", "--full", "--no-dangling"],
        cwd=repository.common_dir.parent,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
