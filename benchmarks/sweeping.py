"""Saving a sweep, beside `git fast-import` of the same files."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runvault
from benchmarks.backtests import SETTINGS, sweep
from benchmarks.bench import Bench
from benchmarks.blobs import files_at
from benchmarks.figures import Figure, Target
from benchmarks.measure import run_process, seconds_of
from benchmarks.repositories import new_repository
from runvault.engines import extract_sweep

STRATEGY = "dual_sma"
TUNED = ("-c", "pack.compression=1")


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what a sweep costs: time, bytes and memory."""
    path = bench.archives.empty("sweep")
    runvault.open(path).save_sweep(sweep(bench.columns), strategy=STRATEGY, settings=SETTINGS)
    files = files_at(path)
    yield from times(bench, files)
    yield bytes_on_disk(bench)
    yield memory(bench)


def times(bench: Bench, files: dict[str, bytes]) -> Iterator[Figure]:
    """Yield the time of a sweep into an empty archive, of its parts, and of the bare import of its files."""
    rounds = [_Round.take(bench, files) for _ in range(bench.repeat)]
    runs = f"{bench.columns:,} columns"
    own = _median(each.without_pickles - each.stats for each in rounds)
    without, stats = _median(each.without_pickles for each in rounds), _median(each.stats for each in rounds)
    bare, tuned = _median(each.bare for each in rounds), _median(each.tuned for each in rounds)
    goal = Target("1.5 times", most_ratio=1.5)
    plain = ("git fast-import of the same files", bare)
    yield Figure(f"save_sweep of {runs}, besides stats and dumps", own, plain=plain, target=goal)
    yield Figure("the same", own, plain=("fast-import with pack.compression=1", tuned))
    prepared = _median(each.prepared for each in rounds)
    yield Figure("archiving a sweep whose numbers are computed", prepared, plain=plain)
    yield Figure("save_sweep whole, without pickles", without, plain=("pf.stats(agg_func=None)", stats))
    yield Figure("save_sweep whole, with the pickles of `auto`", _median(each.whole for each in rounds))


@dataclass(frozen=True)
class _Round:
    """One time of everything that is compared."""

    bare: float
    tuned: float
    stats: float
    without_pickles: float
    whole: float
    prepared: float

    @classmethod
    def take(cls, bench: Bench, files: dict[str, bytes]) -> _Round:
        pf = sweep(bench.columns)
        return cls(
            bare=seconds_of(lambda: import_files(bench, files)),
            tuned=seconds_of(lambda: import_files(bench, files, TUNED)),
            stats=seconds_of(lambda: pf.stats(agg_func=None)),
            without_pickles=save_sweep(bench, portfolio=False),
            whole=save_sweep(bench, portfolio=True),
            prepared=save_prepared_sweep(bench),
        )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def save_sweep(bench: Bench, *, portfolio: bool) -> float:
    """Return how long a fresh portfolio takes into an archive of no runs."""
    vault, pf = runvault.open(bench.archives.empty("sweep")), sweep(bench.columns)
    return seconds_of(lambda: vault.save_sweep(pf, strategy=STRATEGY, settings=SETTINGS, portfolio=portfolio))


def save_prepared_sweep(bench: Bench) -> float:
    """Return how long the archive takes for a sweep of which everything is computed."""
    vault, prepared = runvault.open(bench.archives.empty("sweep")), extract_sweep(sweep(bench.columns))
    return seconds_of(lambda: vault.save_sweep(prepared, strategy=STRATEGY, settings=SETTINGS, portfolio=False))


def import_files(bench: Bench, files: dict[str, bytes], options: tuple[str, ...] = ()) -> None:
    """Put files into one commit of a new repository, as plainly as git can."""
    path = new_repository(bench.archives.folder("bare"))
    args = ["git", *options, "fast-import", "--quiet"]
    with subprocess.Popen(args, cwd=path, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"commit refs/heads/runvault\ncommitter A <a@b> 1800000000 +0000\ndata 5\nsweep\n")
        for name, data in files.items():
            process.stdin.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))
    assert process.returncode == 0


def bytes_on_disk(bench: Bench) -> Figure:
    """Save a sweep without pickles and weigh what it adds: packs, tables in the cache."""
    path = bench.archives.empty("sweep")
    before = _bytes_below(path)
    runvault.open(path).save_sweep(sweep(bench.columns), strategy=STRATEGY, settings=SETTINGS, portfolio=False)
    after = _bytes_below(path)
    goal = Target("25 MB", most=25 * 2.0**20)
    return Figure("a whole sweep on disk, without pickles", after - before, "bytes", target=goal)


def _bytes_below(path: Path) -> int:
    """Return the bytes of all files below a folder; a file with several names counts once."""
    found = {(stat.st_dev, stat.st_ino): stat.st_size for stat in map(_stat, path.rglob("*"))}
    return sum(found.values())


def _stat(path: Path) -> Any:
    return path.lstat()


def memory(bench: Bench) -> Figure:
    """Compare the largest memory of a process that saves a sweep with one that asks the portfolio for its stats."""
    path = bench.archives.empty("sweep")
    child = Path(__file__).with_name("sweep_child.py")
    root = str(Path(__file__).parents[1])
    peaks = {
        what: statistics.median(
            run_process([sys.executable, child, what, str(bench.columns)], path, env={"PYTHONPATH": root}).max_rss_bytes
            for _ in range(3)
        )
        for what in ("stats", "save")
    }
    plain = ("the portfolio and its stats alone", peaks["stats"])
    goal = Target("1.5 times", most_ratio=1.5)
    return Figure("largest memory of save_sweep", peaks["save"], "bytes", plain=plain, target=goal)
