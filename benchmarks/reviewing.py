"""Looking at what a pull request brings, on top of an archive of any size."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import runvault
from benchmarks.bench import Bench
from benchmarks.commands import RUNVAULT
from benchmarks.figures import Figure, Target
from benchmarks.measure import median_processes
from benchmarks.repositories import git, save_prepared

NEW = 100
LIMITS = {10_000: 2.0}
BASE = "refs/remotes/origin/runvault"


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what `runvault review` costs for a hundred new runs with their artifacts, in each format.

    The plain alternative is what a reviewer has without it: `git diff` of the two commits.
    """
    for size in bench.sizes:
        path = bench.archives.copy(size)
        git(path, "update-ref", BASE, "refs/heads/runvault")
        vault = runvault.open(path)
        for _ in range(NEW):
            save_prepared(vault, bench.prepared)
        for form in ("json", "md", "html"):
            usage, plain, floor = median_processes(
                bench.repeat,
                path,
                [RUNVAULT, "review", "--format", form],
                ["git", "diff", BASE, "runvault"],
                [sys.executable, "-c", "pass"],
            )
            assert form != "json" or usage.output.count(b'"place"') == NEW
            work = f"runvault review --format {form}, {NEW} new runs"
            target = Target(f"{LIMITS[size]:g} s", most=LIMITS[size]) if size in LIMITS else None
            yield Figure(work, usage.seconds, size=size, plain=("git diff of the two", plain.seconds), target=target)
            yield Figure(
                "its largest memory",
                usage.max_rss_bytes,
                "bytes",
                size,
                plain=("python -c pass", floor.max_rss_bytes),
            )
