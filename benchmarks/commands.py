"""Commands as a user waits for them: whole processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import runvault
from benchmarks.backtests import single
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Target
from benchmarks.machine import program
from benchmarks.measure import median_processes, medians
from benchmarks.saving import save_portfolio

MB = 2.0**20
RUNVAULT = program("runvault") or Path("runvault")
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
        commands = Commands(path, size, bench.repeat)
        yield from about_runs(commands)
        yield from listing(commands)
        yield from whole_listing(bench, commands)
        yield in_process(bench, path, size)


@dataclass(frozen=True)
class Commands:
    """Runs commands on one archive, each in turns with a Python that does nothing."""

    path: Path
    size: int
    repeat: int

    def figure(
        self,
        work: str,
        args: Sequence[str],
        most: float | None,
        env: Mapping[str, str] | None = None,
        wanted: bytes = b"",
    ) -> Figure:
        """Return the time of a command whose output holds `wanted`; `most` is its target in seconds."""
        usage, floor = median_processes(
            self.repeat, self.path, [RUNVAULT, *args], [sys.executable, "-c", "pass"], env=env
        )
        assert wanted in usage.output, usage.output
        target = Target(f"{most} s", most=most) if most else None
        return Figure(work, usage.seconds, size=self.size, plain=("python -c pass", floor.seconds), target=target)


def about_runs(commands: Commands) -> Iterator[Figure]:
    """Yield commands about one run or two, and those that ask nothing of the archive."""
    one, other = (run.id for run in runvault.open(commands.path, read_only=True).list(limit=2))
    yield commands.figure("runvault --help", ["--help"], 0.15)
    asked = {"_RUNVAULT_COMPLETE": "bash_complete", "COMP_WORDS": f"runvault show {one[:5]}", "COMP_CWORD": "2"}
    yield commands.figure("completion of a run id", [], 0.15, env=asked, wanted=one[:8].encode())
    yield commands.figure("runvault show RUN", ["show", one], 0.2, wanted=one.encode())
    yield commands.figure("runvault log --limit 50", ["log", "--limit", "50"], 0.2)
    yield commands.figure("runvault log RUN", ["log", one], 0.2)
    work = "runvault diff A B, with trades and equity"
    yield commands.figure(work, ["diff", "--json", one, other], 0.4, wanted=b"max_abs_gap")


def listing(commands: Commands) -> Iterator[Figure]:
    """Yield listings of fifty runs."""
    limit = LIST_LIMITS.get(commands.size)
    yield commands.figure("runvault list --where --sort --limit 50", ["list", *FILTERED], limit)
    yield commands.figure("runvault list --limit 50", ["list", "--limit", "50"], None)


def whole_listing(bench: Bench, commands: Commands) -> Iterator[Figure]:
    """Yield listings of every run, with their memory."""
    for form in ("table", "json", "csv"):
        (usage,) = median_processes(3, commands.path, [RUNVAULT, "list", "--format", form])
        yield Figure(f"runvault list --format {form}, every run", usage.seconds, size=commands.size)
        most = Target("150 MB", most=150 * MB) if commands.size == max(bench.sizes) else None
        yield Figure("its largest memory", usage.max_rss_bytes, "bytes", commands.size, target=most)


def in_process(bench: Bench, path: Path, size: int) -> Figure:
    """List with a condition, an order and a limit from a vault that is open."""
    vault = runvault.open(path, read_only=True)

    def ask() -> None:
        vault.list(where=FILTERED[1], sort=FILTERED[3], limit=50)

    ask()
    (seconds,) = medians(max(bench.repeat, 15), ask)
    goal = Target("5 ms", most=0.005)
    return Figure("Vault.list(where=…, sort=…, limit=50)", seconds, size=size, target=goal)
