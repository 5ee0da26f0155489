"""Whatever a manifest and tables hold, a rebuild gives a portfolio or one of our errors: it never crashes or hangs."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from typing import Any

import corpus
import numpy as np
import pytest
from machine import full_counts

from runvault.engines.result import PortfolioTables
from runvault.errors import RunvaultError
from runvault.model.table import Table

pytestmark = [
    pytest.mark.engine,
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore"),  # mutated frequencies and labels make pandas warn
]

SEEDS = (
    *("signals, two", "sweep", "signals, calls", "signals, logs", "index of levels", "columns of 120 levels"),
    *("hours in London of pytz", "sharing cash by levels", "index of many holidays", "columns of categories"),
    *("selected columns turned", "init_cash each its own", "index of periods", "grouped by text array"),
)
VALUES: list[Any] = [
    *(None, 0, -1, 1, 3, 10**6, 10**12, 2**63, -(2**63), 2**70, 1.5, float("nan"), True, False),
    *("", "x", "auto", "int64", "multi", "datetime", "range", "str", "mixed", "D", "UTC", "../x", "pyarrow"),
    *([], {}, [[]], [1], [None], {"a": 1}, {"table": "columns.0"}, {"float": "nan"}, {"kind": "multi"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i in range(min(len(value), 5)):
            yield from places(value[i], (*path, i))


def mutated_member(member: Any, draw: random.Random) -> Any:
    changed = copy.deepcopy(member)
    for _ in range(draw.choice([1, 1, 2, 3])):
        path = draw.choice([p for p in places(changed) if p and p[0] not in ("format", "rebuildable")])
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        if draw.random() < 0.15 and isinstance(inner, dict):
            del inner[path[-1]]
        else:
            inner[path[-1]] = copy.deepcopy(draw.choice(VALUES))
    return changed


def mutated_table(table: Table, draw: random.Random) -> Table:
    columns = {name: values.copy() for name, values in table.columns.items()}
    name = draw.choice(list(columns))
    values, kind = columns[name], draw.random()
    if kind < 0.1:
        del columns[name]
    elif kind < 0.2:
        columns = {other: array[: len(array) // 2] for other, array in columns.items()}
    elif kind < 0.3:
        columns[name] = values.astype(object)
    elif len(values):
        odd: dict[str, list[Any]] = {
            "f": [0.0, -1.0, np.nan, np.inf, 1e308],
            "O": [None, "x", "columns.0"],
            "M": [np.datetime64("NaT")],
            "b": [True, False],
        }
        values[draw.randrange(len(values))] = draw.choice(odd.get(values.dtype.kind, [0, -1, 1, 5, 100]))
    return Table(columns, table.time_zones)


@pytest.mark.parametrize("name", SEEDS)
def test_a_mutated_record_is_refused_or_rebuilt(name):
    from runvault.engines.vectorbt.inputs import read_inputs
    from runvault.engines.vectorbt.rebuild import rebuild

    draw, inputs = random.Random(name), read_inputs(corpus.BUILDERS[name]())
    refused = 0
    for _ in range(full_counts(60, 7200)):
        member, tables = inputs.portfolio, dict(inputs.tables)
        if draw.random() < 0.7:
            member = mutated_member(member, draw)
        else:
            table = draw.choice(list(tables))
            tables[table] = mutated_table(tables[table], draw)
        begun = time.monotonic()
        try:
            rebuild(PortfolioTables(member, tables, draw.choice([None, None, 0, 1, 99])))
        except RunvaultError:
            refused += 1
        assert time.monotonic() - begun < 1
    assert refused
