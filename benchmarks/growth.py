"""How the repository grows by single saves and by sweeps, artifacts apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import runvault
from benchmarks.backtests import SETTINGS, sweep
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.repositories import git, save_prepared
from runvault.api.vault import Vault
from runvault.stores.git.maintenance import Maintenance

GOAL = Target("4 KB a run", most=4 * 2.0**10)
PACKING_S = 120.0


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield bytes a run."""
    yield from by_single_saves(bench)
    yield by_sweeps(bench)


def by_single_saves(bench: Bench) -> Iterator[Figure]:
    """Save one by one, with the packing that saves start by themselves; then pack everything as `git gc` does."""
    path = bench.archives.empty("growth")
    vault = runvault.open(path)
    started = time.perf_counter()
    for _ in range(bench.growth):
        save_prepared(vault, bench.prepared, dump=False)
    each = (time.perf_counter() - started) / bench.growth
    yield Figure("one of many saves in a row, packing beside them", each, size=bench.growth)
    _wait_for_packing(vault)
    packed, loose = _bytes_a_run(path, bench.growth)
    yield Figure("growth by single saves: packs", packed, "bytes", bench.growth, target=GOAL)
    yield Figure("growth by single saves: loose objects left", loose, "bytes", bench.growth)
    count = len(list((path / ".git" / "objects" / "pack").glob("*.pack")))
    bench.notes.append(f"The single saves left {count} packs.")
    git(path, "gc", "--quiet")
    yield Figure("… after `git gc`: packs", _bytes_a_run(path, bench.growth)[0], "bytes", bench.growth, target=GOAL)


def by_sweeps(bench: Bench) -> Figure:
    """Save a sweep and weigh its pack."""
    path = bench.archives.empty("growth")
    saved = runvault.open(path).save_sweep(
        sweep(bench.columns), strategy="dual_sma", settings=SETTINGS, portfolio=False
    )
    return Figure("growth by a sweep: packs", _bytes_a_run(path, len(saved))[0], "bytes", len(saved), target=GOAL)


def _bytes_a_run(path: Path, runs: int) -> tuple[float, float]:
    """Return the bytes in packs and in loose objects, a run; what a file takes on disk is not rounded to blocks."""
    objects = path / ".git" / "objects"
    packs = sum(file.stat().st_size for file in (objects / "pack").iterdir())
    loose = sum(file.stat().st_size for file in objects.glob("[0-9a-f][0-9a-f]/*"))
    return packs / runs, loose / runs


def _wait_for_packing(vault: Vault) -> None:
    """Wait until no packing runs any more that a save has started."""
    maintenance = Maintenance(vault.stores.repository)
    deadline = time.monotonic() + PACKING_S
    while maintenance.runs() and time.monotonic() < deadline:
        time.sleep(0.1)
