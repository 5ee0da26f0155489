"""Verifying an archive, beside git's own check of the same objects."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import runvault
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.measure import seconds_of
from benchmarks.repositories import git

LIMITS = {10_000: 5.0}


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what `verify` costs without reading tables.

    The objects of forged runs are not there, so each run has findings: looked for is what would be read.
    """
    for size in bench.sizes:
        path = bench.archives.copy(size)
        vault = runvault.open(path)
        vault.count()
        ours, plain = [], []
        for _ in range(bench.repeat):
            ours.append(seconds_of(vault.verify))
            plain.append(seconds_of(lambda at=path: git(at, "fsck", "--full", "--no-dangling")))
        limit = LIMITS.get(size)
        target = Target(f"{limit:g} s", most=limit) if limit else None
        beside = ("git fsck", statistics.median(plain))
        yield Figure("verify, without reading tables", statistics.median(ours), size=size, plain=beside, target=target)
