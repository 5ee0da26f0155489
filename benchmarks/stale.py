"""Asking which runs no longer describe the code and the data of the working tree."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import runvault
from benchmarks.backtests import SETTINGS, new_params
from benchmarks.bench import Bench
from benchmarks.commands import RUNVAULT
from benchmarks.figures import Figure, Target
from benchmarks.forge import Template, forge_archive
from benchmarks.measure import median_processes
from runvault.execution.recipe import FUNCTION, Input, Recipe
from runvault.stores.git.code import blob_of_file

LIMITS = {10_000: 1.0}


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what `runvault stale` costs where no run is stale and where all are."""
    for size in bench.sizes:
        path = _archive(bench, size)
        target = Target(f"{LIMITS[size]} s", most=LIMITS[size]) if size in LIMITS else None
        for work, code in (("runvault stale, none is", "FAST = 10\n"), ("runvault stale, all are", "FAST = 11\n")):
            (path / "strategy.py").write_text(code, encoding="utf-8")
            usage, floor = median_processes(
                bench.repeat, path, [RUNVAULT, "stale", "--json"], [sys.executable, "-c", "pass"]
            )
            assert usage.output.count(b'"run"') == (size if "all" in work else 0)
            yield Figure(work, usage.seconds, size=size, plain=("python -c pass", floor.seconds), target=target)


def _archive(bench: Bench, size: int) -> Path:
    """Return a repository with an archive of so many runs whose recipes name one file of code and one of data."""
    path = bench.archives.empty(f"stale-{size}")
    vault = runvault.open(path)
    (path / "prices.csv").write_text("close\n1.0\n", encoding="utf-8")
    saved = vault.save(bench.prepared.new(), strategy="dual_sma", params=new_params(), settings=SETTINGS)
    template = Template.read(vault.stores.repository.common_dir, saved.id)
    md5 = vault.stores.objects.name_of(path / "prices.csv")
    recipe = Recipe(
        kind=FUNCTION,
        entry="strategy.py:backtest",
        inputs={"prices": Input("prices.csv", md5, f"{md5}.csv")},
        files={"strategy.py": blob_of_file(path / "strategy.py") or ""},
    )
    vault.remove(saved.id)
    forge_archive(path, size, replace(template, manifest={**template.manifest, "recipe": recipe.to_dict()}))
    vault.count()  # the catalog is there, as it is where runs were listed before
    return path
