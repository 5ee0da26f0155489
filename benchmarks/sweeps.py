"""Running a sweep: on one and two processes, vectorized, and beside a bare pool that archives nothing."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import runvault
from benchmarks import sweep_entry
from benchmarks.backtests import closes
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.measure import seconds_of
from benchmarks.repositories import git


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what combinations cost, each time into an empty archive; starting the processes is part of it."""
    grid = grid_of(bench.combinations)
    count = len(grid["fast"]) * len(grid["slow"])
    runs = f"{count:,} combinations"
    bare = {workers: seconds_of(lambda workers=workers: bare_pool(bench, grid, workers)) for workers in (1, 2)}
    taken = {}
    for workers in (1, 2):
        path = repository(bench)
        taken[workers] = seconds_of(lambda path=path, workers=workers: run(path, grid, workers=workers))
        plain = ("a bare ProcessPoolExecutor with pf.stats()", bare[workers])
        work = f"sweep of {runs}, {workers} process{'es' if workers > 1 else ''}"
        yield Figure(work, taken[workers], plain=plain, target=Target("1.2 times", most_ratio=1.2))
    one = ("one process", taken[1])
    yield Figure("the same on 2 processes", taken[2], plain=one, target=Target("1.7 times as fast", most_ratio=1 / 1.7))
    yield Figure(f"the same again: {runs} found archived", seconds_of(lambda: run(path, grid)))
    yield from vectorized(bench, count, taken[1])


def vectorized(bench: Bench, count: int, one_s: float) -> Iterator[Figure]:
    """Sweep in arrays: as a whole, and what each further combination costs, beside one process that took `one_s`.

    Starting a process, importing the engine and compiling what its statistics need is the same for any number of them.
    """
    few, many = count // 10, 5 * count
    path, fewer, more = repository(bench), repository(bench), repository(bench)
    whole = seconds_of(lambda: run(path, grid_of(count), "dual_smas", vectorized=True))
    yield Figure(f"vectorized sweep of {count:,} combinations", whole, plain=("one process", one_s))
    one_few = seconds_of(lambda: run(fewer, grid_of(few), workers=1))
    of_many = seconds_of(lambda: run(more, grid_of(many), "dual_smas", vectorized=True))
    each_s, one_each_s = (of_many - whole) / (many - count), (one_s - one_few) / (count - few)
    yield Figure(
        "each further combination of a vectorized sweep",
        each_s,
        plain=("one process", one_each_s),
        target=Target("10 times the rate", most_ratio=0.1),
    )


def grid_of(count: int) -> dict[str, list[int]]:
    """Return a grid of two windows with at least so many combinations."""
    fast = list(range(5, 25))
    return {"fast": fast, "slow": list(range(30, 30 + -(-count // len(fast))))}


def repository(bench: Bench) -> Path:
    """Return a repository with the strategies, the prices and an empty archive."""
    path = bench.archives.empty("sweeps")
    shutil.copy(str(sweep_entry.__file__), path / "strategy.py")
    closes().to_frame("close").to_parquet(path / "prices.parquet")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "strategy: two averages")
    return path


def run(path: Path, grid: dict[str, list[int]], function: str = "dual_sma", **said: Any) -> None:
    """Sweep, and see that nothing failed."""
    swept = runvault.open(path).sweep(f"strategy.py:{function}", grid, data=path / "prices.parquet", **said)
    assert not swept.failed


def bare_pool(bench: Bench, grid: dict[str, list[int]], workers: int) -> None:
    """Compute the same with nothing but the standard library, and keep nothing."""
    prices = bench.archives.folder("bare")
    prices.mkdir(parents=True)
    closes().to_frame("close").to_parquet(prices / "prices.parquet")
    context = multiprocessing.get_context("spawn")
    given = (str(prices / "prices.parquet"),)
    with ProcessPoolExecutor(workers, context, initializer=sweep_entry.start, initargs=given) as pool:
        for _ in pool.map(sweep_entry.stats, itertools.product(*grid.values())):
            pass
