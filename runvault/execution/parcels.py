"""A result on its way from one process to another: a folder of Parquet tables and one JSON document, no pickle read.

The engine's own dump travels as the bytes it is, and nobody interprets it on the way.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeAlias

from runvault.engines.result import Outcome, Result, Statistic, Window
from runvault.errors import ReplayError
from runvault.stores.tables import read_table, write_table

Json: TypeAlias = Any

DOCUMENT = "result.json"
DUMP = "portfolio.pkl"


def write_parcel(folder: Path, result: Result, *, dump: bool) -> None:
    """Write a result into a folder, with the engine's dump where `dump` says so; the document goes last."""
    for name, table in result.tables.items():
        (folder / name).write_bytes(write_table(table))
    if dump and result.dump is not None:
        (folder / DUMP).write_bytes(result.dump())
    members = {field.name: getattr(result, field.name) for field in fields(Outcome)}
    members["statistics"] = [asdict(each) for each in result.statistics]
    members["window"] = asdict(result.window)
    rest = {name: getattr(result, name) for name in ("engine", "backend", "packages", "portfolio")}
    document = {**members, **rest, "tables": list(result.tables)}
    (folder / DOCUMENT).write_text(json.dumps(document), "utf-8")  # NaN and infinities are Python's own here


def read_parcel(folder: Path) -> Result:
    """Return the result in a folder; ReplayError where it is not whole."""
    try:
        document: dict[str, Json] = json.loads((folder / DOCUMENT).read_text("utf-8"))
        window = document["window"]
        tables = {name: read_table((folder / name).read_bytes(), Path(name).stem) for name in document.pop("tables")}
        dump = folder / DUMP
        content = dump.read_bytes() if dump.is_file() else None
        return Result(
            **{
                **document,
                "statistics": [Statistic(**each) for each in document["statistics"]],
                "window": Window(**{**window, "symbols": tuple(window["symbols"])}),
                "tables": tables,
                "dump": None if content is None else lambda: content,
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReplayError("the child process left no whole result", hint="run it with --debug to see more") from error
