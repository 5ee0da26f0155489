"""Medians of work in this process and of whole processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Usage:
    """What one process took, and what it printed."""

    seconds: float
    max_rss_bytes: int
    output: bytes


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(repeat: int, *works: Callable[[], Any]) -> list[float]:
    """Return the median time of each work; they take turns, so that a slow minute of the machine is everybody's."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for times, work in zip(taken, works, strict=True):
            times.append(seconds_of(work))
    return [statistics.median(times) for times in taken]


def run_process(argv: Sequence[str | Path], cwd: Path, *, env: Mapping[str, str] | None = None) -> Usage:
    """Run a program to its end; its output goes to a file, as a shell's redirection would have it.

    Raises
    ------
    RuntimeError
        It failed.
    """
    with tempfile.NamedTemporaryFile() as output:
        launched = [sys.executable, "-I", "-S", LAUNCHER, output.name, *argv]
        done = subprocess.run(
            [str(word) for word in launched],
            cwd=cwd,
            check=True,
            capture_output=True,
            env={**os.environ, **(env or {})},
        )
        seconds, max_rss_bytes, status = json.loads(done.stdout)
        text = Path(output.name).read_bytes()
    if status:
        raise RuntimeError(f"{' '.join(map(str, argv))} ended with {status}: {text[-2000:].decode()}")
    return Usage(seconds, max_rss_bytes, text)


def median_processes(
    repeat: int, cwd: Path, *commands: Sequence[str | Path], env: Mapping[str, str] | None = None
) -> list[Usage]:
    """Return the median time and memory of programs that take turns, after one run each to fill caches."""
    first = [run_process(argv, cwd, env=env) for argv in commands]
    usages: list[list[Usage]] = [[] for _ in commands]
    for _ in range(repeat):
        for taken, argv in zip(usages, commands, strict=True):
            taken.append(run_process(argv, cwd, env=env))
    return [_median_usage(taken, before.output) for taken, before in zip(usages, first, strict=True)]


def _median_usage(usages: Sequence[Usage], output: bytes) -> Usage:
    return Usage(
        statistics.median(usage.seconds for usage in usages),
        int(statistics.median(usage.max_rss_bytes for usage in usages)),
        output,
    )
