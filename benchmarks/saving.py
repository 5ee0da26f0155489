"""Saving one run, on top of archives of every size."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runvault
from benchmarks.backtests import SETTINGS, new_params, single
from benchmarks.bench import Bench
from benchmarks.blobs import files_of_tip
from benchmarks.figures import Figure, Target
from benchmarks.measure import medians, seconds_of
from benchmarks.repositories import save_prepared
from runvault.api.vault import Vault

WARM_UP = 3
DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what a save costs."""
    on_empty = None
    for size in [0, *bench.sizes]:
        figures = list(prepared_result(bench, size, on_empty))
        on_empty = on_empty or figures[0].value
        yield from figures
    yield portfolio(bench)


def prepared_result(bench: Bench, size: int, on_empty: float | None) -> Iterator[Figure]:
    """Save a prepared result; beside it, the same blobs by one `git fast-import` and the same bytes, all synced."""
    path = bench.archives.copy(size)
    vault = runvault.open(path)
    for _ in range(WARM_UP):
        save_prepared(vault, bench.prepared)
    files = files_of_tip(path)
    save, imported, bare = medians(
        max(bench.repeat, 15),
        lambda: save_prepared(vault, bench.prepared),
        FastImport(path, "bare", files, durable=True),
        FastImport(path, "quick", files, durable=False),
    )
    synced = ("git fast-import, synced", imported)
    yield Figure("save a prepared result, synced", save, size=size, plain=synced, target=Target("25 ms", most=0.025))
    yield Figure("git fast-import of its files, not synced", bare, size=size)
    if on_empty is not None:
        target = Target("1.3 times an empty archive", most_ratio=1.3)
        yield Figure("the same save", save, size=size, plain=("on an empty archive", on_empty), target=target)


def portfolio(bench: Bench) -> Figure:
    """Save a portfolio that nothing was computed of; what vectorbt's own stats and dump take is taken off."""
    vault = runvault.open(bench.archives.empty())
    save_portfolio(vault, single())
    own, saved = [], []
    for _ in range(max(bench.repeat, 9)):
        own.append(seconds_of(_own_work(single())))
        saved.append(seconds_of(_saving(vault, single())))
    theirs, ours = _median(own), _median([a - b for a, b in zip(saved, own, strict=True)])
    return Figure(
        "Vault.save(pf), besides pf.stats() and pf.dumps()",
        ours,
        size=0,
        plain=("those two", theirs),
        target=Target("35 ms", most=0.035),
    )


def save_portfolio(vault: Vault, pf: Any) -> None:
    """Save a portfolio as a new run."""
    vault.save(pf, strategy="dual_sma", params=new_params(), settings=SETTINGS)


def _saving(vault: Vault, pf: Any) -> Callable[[], None]:
    return lambda: save_portfolio(vault, pf)


def _own_work(pf: Any) -> Callable[[], None]:
    def work() -> None:
        pf.stats()
        pf.dumps()

    return work


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


@dataclass
class FastImport:
    """Puts files into a commit on a branch of its own beside the archive, each time as a new run's."""

    path: Path
    branch: str
    files: dict[str, bytes]
    durable: bool
    number: int = 0

    def __call__(self) -> None:
        self.number += 1
        args = ["git", *(DURABLE if self.durable else ()), "fast-import", "--quiet"]
        subprocess.run(args, cwd=self.path, input=b"".join(self._commands()), check=True)

    def _commands(self) -> Iterator[bytes]:
        ref = f"refs/heads/{self.branch}"
        start = f"from {ref}^0\n" if self.number > 1 else "from refs/heads/runvault^0\n"
        yield f"commit {ref}\ncommitter A <a@b> {1_800_000_000 + self.number} +0000\ndata 4\nsave\n{start}".encode()
        for name, data in self.files.items():
            changed = data + b"%d\n" % self.number
            path = name.replace("runs/", f"runs/{self.number:x}/").encode()
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(changed), changed)
