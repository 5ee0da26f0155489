"""A folder of pickles, which is what most people have: quick to write, and every question opens every file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.backtests import single
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.measure import medians

SIZE = 100  # files; ten times as many take ten times as long


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what a folder of pickles costs."""
    folder = bench.archives.folder("pickles")
    folder.mkdir(parents=True)
    pf = single()
    pf.stats()
    numbers = iter(range(10**9))

    def save() -> None:
        pf.save(folder / f"run-{next(numbers):05}.pkl")

    [saved] = medians(bench.repeat, save)
    while len(list(folder.iterdir())) < SIZE:
        save()
    [listed] = medians(bench.repeat, lambda: _ten_best(folder))
    yield Figure("pf.save into a folder, not synced", saved)
    yield Figure("the ten best by Sharpe ratio: every file is unpickled", listed, size=SIZE)


def _ten_best(folder: Path) -> list[Any]:
    import vectorbt as vbt

    ratios = [(vbt.Portfolio.load(path).sharpe_ratio(), path.name) for path in folder.iterdir()]
    return sorted(ratios, reverse=True)[:10]
