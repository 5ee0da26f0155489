"""Whether the statistics of each run can be read, and are those that its manifest tells.

Reading a small table well takes half a millisecond, which is most of what a verification does. Where there are many,
processes of their own read them while everything else is looked at; they read the archive by themselves, and answer
with findings alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import orjson

from runvault.archive.compose import MANIFEST, STATS
from runvault.errors import RunvaultError
from runvault.integrity.contents import Contents
from runvault.model.manifest import Manifest
from runvault.model.metrics import METRICS, Number, to_metric
from runvault.model.table import Table
from runvault.stores.git.repository import Repository
from runvault.stores.git.soundness import SoundReader
from runvault.stores.tables import read_table

MANY = 1_000  # runs; a process of its own is worth its start from there on
MOST_PROCESSES = 4

_NO_TIME = np.iinfo(np.int64).min  # as NumPy writes NaT
_HOME = Path(__file__).resolve().parents[2]


class Told(NamedTuple):
    """A run's folder, and the blobs of its statistics and its manifest; the latter is empty where there is none."""

    folder: str
    statistics: str
    manifest: str


class Problem(NamedTuple):
    """What a finding is made of: `runvault.integrity.findings.Report.found` takes it."""

    folder: str
    file: str
    problem: str
    hint: str | None


def problems_of(folder: str, statistics: bytes, metrics: Mapping[str, Number] | None) -> Iterator[Problem]:
    """Yield what is wrong with the statistics of a run, and which of its `metrics` are others."""
    try:
        told = headline_metrics(read_table(statistics, "stats"))
    except RunvaultError as error:
        yield Problem(folder, STATS, error.message, error.hint)
        return
    known = metrics or {}
    for name, value in told.items():
        if name in known and known[name] != value:
            yield Problem(folder, MANIFEST, f"metric {name} is {known[name]}, in {STATS} it is {value}", None)


def headline_metrics(statistics: Table) -> dict[str, Number]:
    """Return the metrics that the statistics of the whole portfolio give, as the manifest has them."""
    columns = statistics.columns
    metrics = {}
    for row in np.flatnonzero([column is None for column in columns["column"]]).tolist():
        metric = METRICS.get(columns["name"][row])
        if metric is not None and metric.unit != "timestamp":
            nanoseconds = int(columns["value_ns"][row]) if metric.unit == "duration" else None
            undefined = nanoseconds == _NO_TIME
            value = None if undefined else to_metric(metric, float(columns["value"][row]), nanoseconds)
            metrics[metric.name] = value
    return metrics


@contextlib.contextmanager
def checked_apart(repository: Repository, runs: Sequence[Told]) -> Iterator[Iterator[Problem]]:
    """Check the statistics of runs in other processes, and give the problems, which end when the last has ended."""
    count = min(MOST_PROCESSES, os.cpu_count() or 1)
    size = -(-len(runs) // count)
    with contextlib.ExitStack() as stack:
        shares = [runs[start : start + size] for start in range(0, len(runs), size)] if runs else []
        processes = [stack.enter_context(_process(repository, share)) for share in shares]
        yield (problem for process, answers in processes for problem in _answers(process, answers))


@contextlib.contextmanager
def _process(repository: Repository, runs: Iterable[Told]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile() as questions, tempfile.TemporaryFile() as answers:
        questions.writelines(f"{' '.join(told)}\n".encode() for told in runs)
        questions.seek(0)
        argv = [sys.executable, "-P", "-m", __spec__.name, os.fspath(repository.common_dir)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_HOME), *_python_path()]))}
        with subprocess.Popen(
            argv, stdin=questions, stdout=answers, stderr=subprocess.PIPE, env=environment
        ) as process:
            try:
                yield process, answers
            finally:
                process.kill()


def _python_path() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)


def _answers(process: subprocess.Popen[bytes], answers: IO[bytes]) -> Iterator[Problem]:
    _, said = process.communicate()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RunvaultError(f"the process that checks statistics ended with {process.returncode}: {last}")
    answers.seek(0)
    yield from (Problem(*orjson.loads(line)) for line in answers)


def main() -> None:
    """Check the runs that standard input names, of the repository that the one argument names."""
    runs = [Told(*line.rstrip("\n").split(" ")) for line in sys.stdin]
    blobs = [blob for told in runs for blob in (told.statistics, told.manifest) if blob]
    contents = Contents(SoundReader(Repository.find(Path(sys.argv[1]))).read_blobs(blobs), Counter(blobs))
    for told in runs:
        statistics, manifest = (contents.take(blob) if blob else None for blob in (told.statistics, told.manifest))
        if statistics is not None:  # what is not there is found by who asks
            for problem in problems_of(told.folder, statistics, _metrics_of(manifest)):
                sys.stdout.buffer.write(orjson.dumps(list(problem)) + b"\n")


def _metrics_of(manifest: bytes | None) -> Mapping[str, Number] | None:
    try:
        return None if manifest is None else Manifest.from_bytes(manifest).metrics
    except RunvaultError:  # a finding of its own
        return None


if __name__ == "__main__":
    main()
