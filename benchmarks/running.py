"""Running and replaying: beside the function called plainly, git's own worktree, and a single replay."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import runvault
from benchmarks import sweep_entry
from benchmarks.backtests import closes
from benchmarks.bench import Bench
from benchmarks.commands import RUNVAULT
from benchmarks.figures import Figure, Target
from benchmarks.measure import run_process, seconds_of
from benchmarks.repositories import git
from runvault.execution import children
from runvault.stores.git.repository import Repository
from runvault.stores.git.worktrees import temporary_worktree

FILES, COMMITS, CALLS = 10_000, 256, 30
MEMORY = Path("/dev/shm")  # noqa: S108 - Linux; a folder of our own is made in it
PLAIN = """
import sys

import pandas

sys.path.insert(0, ".")
from strategy import dual_sma

pf = dual_sma(pandas.read_parquet("prices.parquet"), fast=10, slow=50)
"""


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what recording, running, replaying and searching cost."""
    yield recorded(bench)
    yield from whole_process(bench)
    yield from worktrees(bench)
    yield repeated(bench)
    yield searched(bench)


def repository(bench: Bench, name: str) -> Path:
    """Return a repository with a strategy, prices and an empty archive."""
    path = bench.archives.empty(name)
    shutil.copy(str(sweep_entry.__file__), path / "strategy.py")
    closes().to_frame("close").to_parquet(path / "prices.parquet")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "strategy: two averages")
    return path


def recorded(bench: Bench) -> Figure:
    """Call a function of a clean repository through `record`; what it and vectorbt's own work take is taken off."""
    path = repository(bench, "record")
    prices, slows = closes().to_frame("close"), itertools.count(50)
    sys.path.insert(0, str(path))
    import strategy  # type: ignore[import-not-found]

    call = runvault.record(vault=runvault.open(path))(strategy.dual_sma)
    call(prices, 10, next(slows))
    costs, plains = [], []
    for slow in itertools.islice(slows, max(bench.repeat, CALLS)):
        plain = seconds_of(lambda slow=slow: own_work(strategy.dual_sma(prices, 10, slow)))
        costs.append(seconds_of(lambda slow=slow: call(prices, 10, slow)) - plain)
        plains.append(plain)
    sys.path.remove(str(path))
    del sys.modules["strategy"]
    beside = ("the function, pf.stats() and pf.dumps()", statistics.median(plains))
    goal = Target("30 ms", most=0.030)
    work = "@record, besides the backtest, its stats and dump"
    return Figure(work, statistics.median(costs), plain=beside, target=goal)


def own_work(pf: Any) -> None:
    """Ask for what is archived of a portfolio and costs the same without an archive."""
    pf.stats()
    pf.dumps()


def whole_process(bench: Bench) -> Iterator[Figure]:
    """Run a function from the command line, each time into the archive, and as a script that keeps nothing."""
    path = repository(bench, "run")
    words = ["run", "strategy.py:dual_sma", "--data", "prices=prices.parquet", "--param", "fast=10"]
    ours = [RUNVAULT, *words, "--param", "slow=50", "--force", "--strategy"]
    plain, with_stats = ([sys.executable, "-c", text] for text in (PLAIN, f"{PLAIN}pf.stats(), pf.dumps()\n"))
    # Another strategy each time: what is archived already would not be saved again. The first round fills caches.
    rounds = [
        [run_process(argv, path).seconds for argv in ([*ours, f"s{number}"], plain, with_stats)]
        for number in range(max(bench.repeat, 3) + 1)
    ]
    whole, bare, own = (statistics.median(taken) for taken in zip(*rounds[1:], strict=True))
    goal = Target("0.5 s", most=0.5)
    yield Figure("runvault run, over the function by plain Python", whole - bare, plain=("that", bare), target=goal)
    yield Figure("the same, over the function with its stats and dump", whole - own, plain=("that", own))


def worktrees(bench: Bench) -> Iterator[Figure]:
    """Set up the worktree of a replay, and one by git: on the disk, and where the system has memory for files."""
    path = bench.archives.empty("files")
    for number in range(FILES):
        file = path / f"package{number % 100}" / f"module{number}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"VALUE = {number}\n" * 40, encoding="utf-8")
    git(path, "add", ".")
    git(path, "-c", "gc.auto=0", "commit", "--quiet", "--message", "strategy: many files")
    git(path, "gc", "--quiet")
    yield worktree(bench, path, bench.archives.folder("worktrees"), "on the disk")
    if MEMORY.is_dir():
        yield worktree(bench, path, MEMORY / f"runvault-bench-{os.getpid()}", "in memory")


def worktree(bench: Bench, path: Path, place: Path, where: str) -> Figure:
    """Set up worktrees of a repository in a folder that is made and removed.

    None is removed before the last is there: ext4 passes over files deleted in the last minutes one by one where it
    makes a new one, so that what is measured would be the deletion before it.
    """
    commit, found = git(path, "rev-parse", "HEAD").strip(), Repository.find(path)
    ours, theirs = [], []
    place.mkdir(parents=True)
    usual, tempfile.tempdir = tempfile.tempdir, str(place)
    try:
        with ExitStack() as stack:
            for number in range(bench.repeat):
                context = temporary_worktree(found, commit)
                ours.append(seconds_of(lambda context=context: stack.enter_context(context)))
                add = ["git", "worktree", "add", "--quiet", "--detach", str(place / str(number)), commit]
                theirs.append(seconds_of(lambda add=add: subprocess.run(add, cwd=path, check=True)))
        for number in range(bench.repeat):
            git(path, "worktree", "remove", "--force", str(place / str(number)))
    finally:
        tempfile.tempdir = usual
        shutil.rmtree(place)
    beside = ("git worktree add", statistics.median(theirs))
    work = f"setting up a replay's worktree of {FILES:,} files, {where}"
    return Figure(work, statistics.median(ours), plain=beside, target=Target("1 s", most=1.0))


def repeated(bench: Bench) -> Figure:
    """Replay a run again and again in one process, by forks of a server and by a process for each."""
    path = repository(bench, "replay")
    vault = runvault.open(path)
    run = vault.run("strategy.py:dual_sma", data=path / "prices.parquet", params={"fast": 10, "slow": 50}).run
    taken: dict[bool, list[float]] = {True: [], False: []}
    for forks in (True, True, *[True, False] * bench.repeat):  # the first two make the server ready
        children.FORKS = forks
        taken[forks].append(seconds_of(lambda: vault.replay(run)))
    children.FORKS = True
    beside = ("a process started for it", statistics.median(taken[False]))
    return Figure("one more replay in a process", statistics.median(taken[True][2:]), plain=beside)


def searched(bench: Bench) -> Figure:
    """Search the commit at which a run drifts, with a real replay a step."""
    path = repository(bench, "bisect")
    vault = runvault.open(path)
    run = vault.run("strategy.py:dual_sma", data=path / "prices.parquet", params={"fast": 10, "slow": 50}).run
    good = git(path, "rev-parse", "HEAD").strip()
    bad = lengthen(path, good)
    one = seconds_of(lambda: vault.replay(run))
    found = []
    taken = seconds_of(lambda: found.append(vault.bisect(run, good=good, bad=bad)))
    replays = len(found[0].tested)
    goal = Target("9 replays", most=math.inf if replays <= 9 else 0.0)
    return Figure(f"bisect over {COMMITS} commits: {replays} replays", taken, plain=("one replay", one), target=goal)


def lengthen(path: Path, good: str) -> str:
    """Put commits on top of `good`, of which the later ones trade otherwise; return the last."""
    text = (path / "strategy.py").read_text(encoding="utf-8")
    branch = git(path, "branch", "--show-current").strip()
    stream = []
    for number in range(COMMITS):
        own = text if number < COMMITS * 0.6 else text.replace("fees=0.001", "fees=0.002")
        data = f"{own}\n# change {number}\n".encode()
        start = f"from {good}\n" if number == 0 else ""
        head = f"commit refs/heads/{branch}\ncommitter A <a@b> {1_900_000_000 + number} +0000\ndata 6\nchange\n{start}"
        stream.append(head.encode() + b"M 100644 inline strategy.py\ndata %d\n%s\n" % (len(data), data))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=b"".join(stream), check=True)
    git(path, "reset", "--quiet", "--hard")
    return git(path, "rev-parse", "HEAD").strip()
