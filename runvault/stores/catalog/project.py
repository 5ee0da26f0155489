"""One run's files → its rows. No database here: bytes in, plain values out, or the reason why the run is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, NamedTuple, TypeAlias

import orjson

from runvault.errors import FormatError, RunvaultError
from runvault.model.canonical import config_hash
from runvault.model.paths import join
from runvault.model.records import MAX_NOTE_BYTES, parse_own_form
from runvault.model.run_json import run_members
from runvault.model.times import is_instant
from runvault.stores.catalog.schema import METRIC_COLUMNS, MOMENTS

Json: TypeAlias = Any
Fact: TypeAlias = tuple[str, float | int | str | bytes | None]

_COLUMNS = frozenset(METRIC_COLUMNS)
_NUMBER_TYPES = frozenset({int, float, type(None)})
_INT64 = 1 << 63


class Projection(NamedTuple):
    """What the catalog keeps of one run.

    `row` follows `SUMMED`; `members` is the run as JSON but for `revision` and
    `commit`; `facts` are its parameters and the metrics without a column, under dotted names.
    """

    row: tuple[Json, ...]
    members: dict[str, Json]
    document: bytes
    definitions: bytes
    facts: list[Fact]
    tags: list[str]
    symbols: list[str]
    note: str


def project(run: str, manifest: bytes, annotations: bytes | None, files: Collection[str]) -> Projection:
    """Return the rows of a run whose folder is called `run` and holds `files`.

    Raises
    ------
    FormatError
        The run is damaged; the message is one line for people.
    """
    try:
        return _project(run, manifest, annotations, files)
    except RunvaultError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        # Whatever shape a hostile record has, it damages its own run and no listing.
        raise FormatError(f"manifest.json cannot be used: {type(error).__name__}: {_line(error)}") from error


def _project(run: str, data: bytes, notes: bytes | None, files: Collection[str]) -> Projection:
    manifest = _read_manifest(data)
    members = run_members(manifest, {} if notes is None else _read_annotations(notes))
    if members["id"] != run:
        raise FormatError(f"manifest.json belongs to another run, {members['id']}")
    if not is_instant(members["created_at"]):
        raise FormatError(f"created_at is no UTC time with six digits: {members['created_at']!a}")
    _check_address(manifest["config"], run)
    _check_files(members["artifacts"], files)
    moments = manifest.get("moments") or {}
    _check_numbers("moments", moments)
    _check_numbers("metrics", members["metrics"])
    definitions = manifest.get("metric_definitions") or {}
    if type(definitions) is not dict or type(members["lineage"]) is not dict:
        raise FormatError(f"{'lineage' if type(definitions) is dict else 'metric_definitions'} is not of type dict")
    symbols = _texts("symbols", members["symbols"])
    return Projection(
        row=_row(members, moments, symbols),
        members=members,
        document=orjson.dumps(members),
        definitions=orjson.dumps(definitions, option=orjson.OPT_SORT_KEYS),
        facts=own_facts(members),
        tags=members["tags"],
        symbols=symbols,
        note=members["note"],
    )


def _row(members: dict[str, Json], moments: dict[str, Json], symbols: list[str]) -> tuple[Json, ...]:
    metrics = members["metrics"]
    return (
        members["id"],
        members["created_at"],
        members["seed"],
        members["strategy"],
        members["engine"],
        symbols[0] if symbols else None,
        members["interval"],
        members["start"],
        members["end"],
        members["author"],
        members["alias"],
        *map(metrics.get, METRIC_COLUMNS),
        *map(moments.get, MOMENTS),
    )


def own_facts(members: dict[str, Json]) -> list[Fact]:
    """Return the leaves of the parameters, and the metrics that have no column, under dotted names."""
    facts = leaves("params", members["params"])
    metrics = members["metrics"]
    if not _COLUMNS.issuperset(metrics):
        facts += [(f"metrics.{name}", value) for name, value in metrics.items() if name not in _COLUMNS]
    return facts


def column_metrics(members: dict[str, Json]) -> tuple[str, ...]:
    """Return the names of the metrics that have a column."""
    metrics = members["metrics"]
    return tuple(metrics) if _COLUMNS.issuperset(metrics) else tuple(name for name in metrics if name in _COLUMNS)


def leaves(path: str, value: Json) -> list[Fact]:
    """Return what a member holds, however deep, under dotted names."""
    found: list[Fact] = []
    _gather(path, value, found)
    return found


def _gather(path: str, value: Json, found: list[Fact]) -> None:
    kind = type(value)
    if kind is dict:
        for name, inner in value.items():
            _gather(f"{path}.{name}", inner, found)
    elif kind is list:
        found.append((path, orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))  # bytes: equal to no number or text
    elif kind is int and not -_INT64 <= value < _INT64:
        found.append((path, float(value)))
    else:
        found.append((path, value))


def _read_manifest(data: bytes) -> dict[str, Json]:
    """Parse a manifest; one that is not in our own form is read by the full reader, which takes its time."""
    members = parse_own_form(data)
    if members is not None:
        return members
    from runvault.model.manifest import Manifest  # not for every listing: it imports pydantic

    return Manifest.from_bytes(data).to_dict()


def _read_annotations(data: bytes) -> dict[str, Json]:
    members = parse_own_form(data, max_text_bytes=MAX_NOTE_BYTES)
    if members is not None:
        return members
    from runvault.model.annotations import Annotations  # not for every listing: it imports pydantic

    Annotations.from_bytes(data)
    read = orjson.loads(data)
    return read if isinstance(read, dict) else {}


def _check_address(config: Json, run: str) -> None:
    """Compare the config with the address that it stands under.

    Sorted compact JSON is the canonical form of nearly every config; where its hash differs, the real one decides. That
    an address may be the hash of such JSON where it is not the canonical form is found by whoever reads the run.
    """
    expected = run[:64]
    if hashlib.sha256(orjson.dumps(config, option=orjson.OPT_SORT_KEYS)).hexdigest() == expected:
        return
    actual = config_hash(config)
    if actual != expected:
        raise FormatError(f"the config's hash is {actual[:8]}…, not the {expected[:8]}… of the run")


def _check_files(artifacts: dict[str, Json], files: Collection[str]) -> None:
    missing = [name for name in artifacts if f"{name}.dvc" not in files and name not in files]
    if missing:
        raise FormatError(f"{join('', missing[0])}.dvc is missing")


def _check_numbers(member: str, numbers: Json) -> None:
    if type(numbers) is not dict:
        raise FormatError(f"{member} is not of type dict")
    if not _NUMBER_TYPES.issuperset(map(type, numbers.values())):
        name = next(name for name, value in numbers.items() if type(value) not in _NUMBER_TYPES)
        raise FormatError(f"{join(member, name)} is no number")


def _texts(member: str, values: Json) -> list[str]:
    if not all(type(value) is str for value in values):
        raise FormatError(f"{member} holds something else than text")
    return list(values)


def _line(error: Exception) -> str:
    return " ".join(ascii(str(error)).strip("'\"").split())[:200]
