"""Processes of their own that check the statistics of many runs, while everything else is looked at.

Whoever looks has the contents already and hands them over, some runs at a time; the processes read no archive, import
little, and answer with findings alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import Queue
from typing import IO, NamedTuple, TypeAlias, cast

import orjson

from runvault.errors import RunvaultError
from runvault.integrity import statistics
from runvault.integrity.statistics import Problem
from runvault.model.metrics import Number

MANY = 1_000  # runs; a process of its own is worth its start from there on
MOST_PROCESSES = 4
_TOGETHER = 64  # runs that are handed over at once, or as many as have so many bytes: a file may have 4 MB
_TOGETHER_BYTES = 256 << 10
_WAITING = 64  # such parcels, of some 200 KB each, before whoever looks waits as well

_HOME = Path(__file__).resolve().parents[2]

Parcels: TypeAlias = Queue[bytes | None]


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
        self._workers: list[_Worker] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Apart:
        # This process is busy with all the rest, and takes a processor for itself
        for _ in range(max(1, min(MOST_PROCESSES, (os.cpu_count() or 1) - 1))):
            self._workers.append(self._stack.enter_context(_started()))
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
        answers = [answer for worker in self._workers for answer in worker.answers()]
        yield from (problem for _, problem in sorted(answers, key=lambda answer: answer[0]))

    def _send(self) -> None:
        if self._runs:
            least = min(self._workers, key=lambda worker: worker.parcels.qsize())
            least.parcels.put(_parcel(self._parcels, self._runs))
            self._runs, self._bytes, self._parcels = [], 0, self._parcels + 1


def _parcel(number: int, runs: list[_Told]) -> bytes:
    """Return a line of JSON and the statistics behind it, as `runvault.integrity.statistics.main` takes them."""
    head = [number, [(run.folder, len(run.statistics), run.metrics) for run in runs]]
    return b"".join([orjson.dumps(head), b"\n", *(run.statistics for run in runs)])


class _Worker:
    """A process, and the thread that hands it what is waiting: neither waits for the other before `_WAITING`."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes], errors: IO[bytes]) -> None:
        self.process = process
        self.parcels: Parcels = Queue(_WAITING)
        self._said = said
        self._errors = errors
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        pipe = cast(IO[bytes], self.process.stdin)
        while (parcel := self.parcels.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended: why, its status and words say
                pipe.write(parcel)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()

    def stop(self) -> None:
        """Let the process end once it has checked what it was given."""
        if self._thread.is_alive():
            self.parcels.put(None)
            self._thread.join()

    def answers(self) -> Iterator[tuple[int, Problem]]:
        """Yield the number of a parcel and a problem in it, when the process has ended.

        Raises
        ------
        RunvaultError
            It did not do its work; the message has its last words.
        """
        self.stop()
        if self.process.wait():
            self._errors.seek(0)
            last = self._errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RunvaultError(f"the process that checks statistics ended with {self.process.returncode}: {last}")
        self._said.seek(0)
        for line in self._said:
            number, *problem = orjson.loads(line)
            yield number, Problem(*problem)


@contextlib.contextmanager
def _started() -> Iterator[_Worker]:
    argv = [sys.executable, "-P", "-m", statistics.__name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_HOME), *_python_path()]))}
    with (
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=said, stderr=errors, env=environment) as process,
    ):
        worker = _Worker(process, said, errors)
        try:
            yield worker
        finally:
            process.kill()
            worker.stop()


def _python_path() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)
