"""The catalog from nothing and after one new run, beside reading and parsing the manifests."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import orjson

import runvault
from benchmarks.bench import Bench
from benchmarks.blobs import manifest_blobs, read_blobs
from benchmarks.figures import Figure, Target
from benchmarks.measure import medians, seconds_of
from benchmarks.repositories import save_prepared

REBUILD_LIMITS = {10_000: 0.8, 100_000: 8.0}


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what the catalog costs."""
    for size in bench.sizes:
        path = bench.archives.copy(size)
        yield rebuild(bench, path, size)
        yield catch_up(bench, path, size)


def rebuild(bench: Bench, path: Path, size: int) -> Figure:
    """Make the catalog from nothing."""
    vault = runvault.open(path)
    ours, plain = medians(bench.repeat, vault.stores.rebuild_catalog, lambda: parse_manifests(path, size))
    limit = REBUILD_LIMITS.get(size)
    words = f"{limit} s, 2 times" if limit else "2 times"
    target = Target(words, most=limit, most_ratio=2.0)
    return Figure("catalog from nothing", ours, size=size, plain=("reading and parsing", plain), target=target)


def parse_manifests(path: Path, size: int) -> None:
    """Read all manifests through git and parse them."""
    parsed = [orjson.loads(data)["id"] for _, data in read_blobs(path, manifest_blobs(path))]
    assert len(parsed) == size


def catch_up(bench: Bench, path: Path, size: int) -> Figure:
    """Bring the catalog up after each of several saves."""
    vault = runvault.open(path)
    vault.stores.catalog()
    taken = []
    for _ in range(max(bench.repeat, 9)):
        save_prepared(vault, bench.prepared)
        taken.append(seconds_of(vault.stores.catalog))
    goal = Target("5 ms", most=0.005)
    return Figure("catalog after one new run", statistics.median(taken), size=size, target=goal)
