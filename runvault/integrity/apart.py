"""Processes of their own that check the statistics of many runs, while everything else is looked at.

Whoever looks has the contents already and hands them over, some runs at a time; the processes read no archive, import
little, and answer with findings alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

from runvault.integrity import statistics
from runvault.integrity.statistics import Problem
from runvault.model.metrics import Number
from runvault.stores.processes import Child, started

MANY = 1_000  # runs; a process of its own is worth its start from there on
MOST_PROCESSES = 4
_TOGETHER = 64  # runs that are handed over at once, or as many as have so many bytes: a file may have 4 MB
_TOGETHER_BYTES = 256 << 10
_WAITING = 64  # such parcels, of some 200 KB each, before whoever looks waits as well


class _Told(NamedTuple):
    folder: str
    statistics: bytes
    metrics: Mapping[str, Number] | None


class Apart:
    """Takes the statistics of runs, and tells in the end what is wrong with them, in the order in which they came.

    It is a context: the processes start with it, and are gone behind it.
    """

    def __init__(self) -> None:
        self._runs: list[_Told] = []
        self._bytes = 0
        self._parcels = 0
        self._workers: list[Child] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Apart:
        # This process is busy with all the rest, and takes a processor for itself
        for _ in range(max(1, min(MOST_PROCESSES, (os.cpu_count() or 1) - 1))):
            child = started("checks statistics", statistics.__name__, waiting=_WAITING)
            self._workers.append(self._stack.enter_context(child))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def check(self, folder: str, statistics: bytes, metrics: Mapping[str, Number] | None) -> None:
        """Have the statistics of a run checked, against its `metrics` where there are any."""
        self._runs.append(_Told(folder, statistics, metrics))
        self._bytes += len(statistics)
        if len(self._runs) >= _TOGETHER or self._bytes >= _TOGETHER_BYTES:
            self._send()

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong, when all of it is known."""
        self._send()
        for worker in self._workers:
            worker.finish()
        answers = [answer for worker in self._workers for answer in worker.answers()]
        yield from (Problem(*problem) for _, *problem in sorted(answers, key=lambda answer: answer[0]))

    def _send(self) -> None:
        if self._runs:
            least = min(self._workers, key=lambda worker: worker.parcels.qsize())
            least.parcels.put(_parcel(self._parcels, self._runs))
            self._runs, self._bytes, self._parcels = [], 0, self._parcels + 1


def _parcel(number: int, runs: list[_Told]) -> bytes:
    """Return a line of JSON and the statistics behind it, as `runvault.integrity.statistics.main` takes them."""
    head = [number, [(run.folder, len(run.statistics), run.metrics) for run in runs]]
    return b"".join([orjson.dumps(head), b"\n", *(run.statistics for run in runs)])
