"""Commands as a user waits for them: whole processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import runvault
from benchmarks.backtests import single
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.machine import program
from benchmarks.measure import Usage, median_process, medians
from benchmarks.saving import save_portfolio

MB = 2.0**20
FILTERED = ("--where", "sharpe_ratio > 0 and params.fast < 20", "--sort", "-total_return", "--limit", "50")
LIST_LIMITS = {10_000: 0.15, 100_000: 0.2}


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what commands cost."""
    for size in bench.sizes:
        path = bench.archives.copy(size)
        vault = runvault.open(path)
        for symbol in ("GOOG", "IBM"):
            save_portfolio(vault, single(symbol))
        vault.count()
        floor = median_process(bench.repeat, [sys.executable, "-c", "pass"], path).seconds
        yield from small_commands(bench, path, size, floor)
        yield from listing(bench, path, size, floor)
        yield in_process(bench, path, size)


def _run(bench: Bench, path: Path, *args: str, env: dict[str, str] | None = None) -> Usage:
    return median_process(bench.repeat, [program("runvault") or "runvault", *args], path, env=env)


def listing(bench: Bench, path: Path, size: int, floor: float) -> Iterator[Figure]:
    """Yield a filtered and sorted listing, and listings of everything with their memory."""
    limit = LIST_LIMITS.get(size)
    target = Target(f"{limit} s", most=limit) if limit else None
    plain = ("python -c pass", floor)
    filtered = _run(bench, path, "list", *FILTERED)
    yield Figure("runvault list --where --sort --limit 50", filtered.seconds, size=size, plain=plain, target=target)
    yield Figure("runvault list --limit 50", _run(bench, path, "list", "--limit", "50").seconds, size=size, plain=plain)
    for form in ("table", "json", "csv"):
        usage = _run(bench, path, "list", "--format", form)
        yield Figure(f"runvault list --format {form}, every run", usage.seconds, size=size)
        most = Target("150 MB", most=150 * MB) if size == max(bench.sizes) else None
        yield Figure(
            f"memory of runvault list --format {form}, every run", usage.max_rss_bytes, "bytes", size, target=most
        )


def small_commands(bench: Bench, path: Path, size: int, floor: float) -> Iterator[Figure]:
    """Yield commands about one run or two, and those that ask nothing of the archive."""
    quick, slow = Target("0.15 s", most=0.15), Target("0.4 s", most=0.4)
    one, other = (run.id for run in runvault.open(path, read_only=True).list(limit=2))
    plain = ("python -c pass", floor)
    yield Figure("runvault --help", _run(bench, path, "--help").seconds, size=size, plain=plain, target=quick)
    asked = {"_RUNVAULT_COMPLETE": "bash_complete", "COMP_WORDS": f"runvault show {one[:5]}", "COMP_CWORD": "2"}
    completed = _run(bench, path, env=asked)
    assert one[:8].encode() in completed.output
    yield Figure("completion of a run id", completed.seconds, size=size, plain=plain, target=quick)
    two = Target("0.2 s", most=0.2)
    yield Figure("runvault show", _run(bench, path, "show", one).seconds, size=size, plain=plain, target=two)
    yield Figure(
        "runvault log --limit 50", _run(bench, path, "log", "--limit", "50").seconds, size=size, plain=plain, target=two
    )
    yield Figure("runvault log RUN", _run(bench, path, "log", one).seconds, size=size, plain=plain, target=two)
    difference = _run(bench, path, "diff", "--json", one, other)
    assert json.loads(difference.output)["equity"]
    yield Figure("runvault diff, with trades and equity", difference.seconds, size=size, plain=plain, target=slow)


def in_process(bench: Bench, path: Path, size: int) -> Figure:
    """List with a condition, an order and a limit from a vault that is open."""
    vault = runvault.open(path, read_only=True)

    def ask() -> None:
        vault.list(where=FILTERED[1], sort=FILTERED[3], limit=50)

    ask()
    (seconds,) = medians(max(bench.repeat, 15), ask)
    goal = Target("5 ms", most=0.005)
    return Figure("Vault.list(where=…, sort=…, limit=50)", seconds, size=size, target=goal)
