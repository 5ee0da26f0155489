"""Whether the statistics of each run can be read, and are those that its manifest tells.

As a program, it checks those that `runvault.integrity.apart` hands over. Its start is part of a verification: nothing
is imported that reads Git, or the typed records.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import orjson

from runvault.errors import RunvaultError
from runvault.integrity.findings import RESTORE
from runvault.model.metrics import METRICS, Number, to_metric
from runvault.model.records import MANIFEST, STATS
from runvault.model.table import Table
from runvault.stores.tables import read_table

_NO_TIME = np.iinfo(np.int64).min  # as NumPy writes NaT


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
        yield Problem(folder, STATS, error.message, error.hint or RESTORE)
        return
    known = metrics or {}
    for name, value in told.items():
        if name in known and known[name] != value:
            yield Problem(folder, MANIFEST, f"metric {name} is {known[name]}, in {STATS} it is {value}", None)


def headline_metrics(statistics: Table) -> dict[str, Number]:
    """Return the metrics that the statistics of the whole portfolio give, as the manifest has them."""
    columns = statistics.columns
    names, values = columns["name"].tolist(), columns["value"].tolist()  # numbers of Python's, all of them at once
    nanoseconds = columns["value_ns"].tolist()
    metrics: dict[str, Number] = {}
    for row, column in enumerate(columns["column"].tolist()):
        metric = METRICS.get(names[row]) if column is None else None
        if metric is not None and metric.unit == "duration":
            undefined = nanoseconds[row] == _NO_TIME
            metrics[metric.name] = None if undefined else to_metric(metric, values[row], nanoseconds[row])
        elif metric is not None and metric.unit != "timestamp":
            metrics[metric.name] = to_metric(metric, values[row])
    return metrics


def main() -> None:
    """Check what comes on standard input: a line of JSON that tells of some runs, then their statistics, and so on."""
    given, told = sys.stdin.buffer, sys.stdout.buffer
    for line in given:
        number, runs = orjson.loads(line)
        for folder, size, metrics in runs:
            for problem in problems_of(folder, given.read(size), metrics):
                told.write(orjson.dumps([number, *problem]) + b"\n")


if __name__ == "__main__":
    main()
