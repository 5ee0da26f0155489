"""The catalog from nothing and after one new run, beside reading and parsing the manifests."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

import runvault
from benchmarks.bench import Bench
from benchmarks.blobs import manifest_blobs, read_blobs
from benchmarks.figures import Figure, Target
from benchmarks.measure import medians, seconds_of
from benchmarks.repositories import save_prepared


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what the catalog costs."""
    for size in bench.sizes:
        path = bench.archives.copy(size)
        yield from rebuild(bench, path, size)
        yield catch_up(bench, path, size)


def rebuild(bench: Bench, path: Path, size: int) -> Iterator[Figure]:
    """Make the catalog from nothing, beside what anybody would write who only wants the numbers.

    The target in seconds, 0.8 for 10,000 runs, was set where reading and parsing took 0.48 s: 1.7 times that.
    """
    vault = runvault.open(path)
    ours, plain, quick = medians(
        bench.repeat,
        vault.stores.rebuild_catalog,
        lambda: parse_manifests(path, size, json.loads),
        lambda: parse_manifests(path, size, orjson.loads),
    )
    goal = Target("1.7 times", most_ratio=1.7) if size >= 10_000 else None
    yield Figure("catalog from nothing", ours, size=size, plain=("reading and parsing", plain), target=goal)
    yield Figure("the same", ours, size=size, plain=("reading and parsing with orjson", quick))


def parse_manifests(path: Path, size: int, parse: Callable[[bytes], Any]) -> None:
    """Read all manifests through git and parse them."""
    parsed = [parse(data)["id"] for _, data in read_blobs(path, manifest_blobs(path))]
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
