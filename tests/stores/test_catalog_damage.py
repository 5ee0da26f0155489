"""Damaged runs: each is named with its problem, and hides no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from forge import ForgedRun, forge_run
from memory import MemoryArchive

from runvault.model.query import Selection
from runvault.model.records import dump_json
from runvault.stores.catalog import Catalog

REF = "refs/heads/runvault"
GOOD = 999

Files = dict[str, bytes | None]
MANIFEST, NOTES = "manifest.json", "annotations.json"


def changed(**members: Any) -> Callable[[ForgedRun], Files]:
    return lambda run: {MANIFEST: dump_json({**run.manifest, **members})}


def without(member: str) -> Callable[[ForgedRun], Files]:
    return lambda run: {MANIFEST: dump_json({k: v for k, v in run.manifest.items() if k != member})}


def raw(data: bytes) -> Callable[[ForgedRun], Files]:
    return lambda _: {MANIFEST: data}


def edited(old: bytes, new: bytes) -> Callable[[ForgedRun], Files]:
    def edit(run: ForgedRun) -> Files:
        data = dump_json(run.manifest)
        assert old in data
        return {MANIFEST: data.replace(old, new, 1)}

    return edit


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


# kind → what stands in the run's folder, and a part of what is said about it
KINDS: dict[str, tuple[Callable[[ForgedRun], Files], str]] = {
    "empty file": (raw(b""), "no JSON"),
    "cut short": (lambda run: {MANIFEST: dump_json(run.manifest)[:-40]}, "no JSON"),
    "not UTF-8": (raw(b'{"format": 1, "author": "\xff"}'), "no JSON"),
    "zeros": (raw(bytes(4096)), "no JSON"),
    "a list": (raw(b"[1, 2]\n"), "no JSON object"),
    "a leap second": (changed(created_at="2016-12-31T23:59:60.000000Z"), "created_at is no UTC time"),
    "a day that never was": (changed(created_at="2023-02-30T00:00:00.000000Z"), "created_at is no UTC time"),
    "a number": (raw(b"1\n"), "no JSON object"),
    "newer format": (changed(format=99), "newer"),
    "no format": (without("format"), "format"),
    "format is text": (changed(format="1"), "format"),
    "NaN": (edited(b'"bars": 2148', b'"bars": NaN'), "no JSON"),
    "same key twice": (edited(b'"format": 1,', b'"format": 1,\n  "format": 1,'), "twice"),
    "lone surrogate": (edited(b'"strategy": "', b'"strategy": "\\ud800'), "manifest.json"),
    "nested too deep": (changed(recipe=deep(100)), "nested"),
    "nested beyond reason": (raw(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "no JSON"),
    "a megabyte": (changed(warnings=["x" * 4000] * 300), "bytes"),
    "long text": (changed(author="x" * 5000), "5,000 bytes"),
    "another run's id": (lambda _: {MANIFEST: dump_json(forge_run(5555).manifest)}, "another run"),
    "id is no id": (changed(id="../../etc/passwd"), "id"),
    "config edited": (edited(b'"fast": ', b'"fast": 1'), "hash"),
    "seed edited": (changed(seed=4242), "seed"),
    "no config": (without("config"), "config"),
    "params is a list": (lambda run: changed(config={**run.manifest["config"], "params": [1]})(run), "params"),
    "metrics missing": (without("metrics"), "metrics"),
    "metric is text": (changed(metrics={"sharpe_ratio": "high"}), "sharpe_ratio"),
    "moment is text": (changed(moments={"mean": "high"}), "mean"),
    "created at dawn": (changed(created_at="this morning"), "created_at"),
    "created_at is null": (changed(created_at=None), "created_at"),
    "window is null": (changed(window=None), "window"),
    "symbols of numbers": (changed(window={"symbols": [1], "start": None, "end": None, "interval": None}), "symbols"),
    "artifact is text": (changed(artifacts={"orders.parquet": "gone"}), "artifact"),
    "manifest missing": (lambda _: {MANIFEST: None}, "manifest.json is missing"),
    "pointer missing": (lambda _: {"orders.parquet.dvc": None}, "orders.parquet.dvc is missing"),
    "annotations are a list": (lambda _: {NOTES: b"[]\n"}, "annotations.json"),
    "annotations cut short": (lambda _: {NOTES: b'{"tags": {'}, "annotations.json"),
    "tags are a list": (lambda _: {NOTES: dump_json({"tags": ["a"], "notes": [], "replays": []})}, "tags"),
    "note is a number": (lambda _: {NOTES: dump_json({"notes": [{"at": "x", "by": "y", "text": 1}]})}, "text"),
}


@pytest.fixture(scope="module")
def good() -> dict[str, bytes | None]:
    runs = [forge_run(n) for n in range(GOOD)]
    runs = [ForgedRun(run.id, {**run.manifest, "artifacts": {}}, run.annotations) for run in runs]
    return {f"{run.path}/{name}": data for run in runs for name, data in run.files().items()}


def test_one_malformed_run_among_a_thousand_hides_no_other(good: dict[str, bytes | None], tmp_path: Path) -> None:
    source = MemoryArchive()
    base = source.commit(good)
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, base)
    healthy = list(catalog.select(REF, Selection()))
    assert len(healthy) == GOOD
    bad = forge_run(20_000)
    assert len(KINDS) >= 20
    for kind, (make, said) in KINDS.items():
        files = {**bad.files(), **make(bad)}
        tip = source.commit({f"{bad.path}/{name}": data for name, data in files.items()}, (base,))
        catalog.refresh(source, REF, tip)
        damaged = catalog.damaged(REF)
        assert [run for run, _ in damaged] == [bad.id], kind
        problem = damaged[0][1]
        assert said in problem, (kind, problem)
        assert "\n" not in problem
        assert len(problem) < 400
        assert list(catalog.select(REF, Selection())) == healthy, kind
        assert catalog.count(REF, Selection(where="sharpe_ratio > -100 or not (sharpe_ratio > -100)")) == GOOD
        assert catalog.run(REF, bad.id) is None
        catalog.refresh(source, REF, base)
        assert catalog.damaged(REF) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_run_is_listed_once_it_is_mended(kind: str, tmp_path: Path) -> None:
    source = MemoryArchive()
    run = forge_run(3)
    path = {name: f"{run.path}/{name}" for name in run.files()} | {NOTES: f"{run.path}/{NOTES}"}
    broken = {**run.files(), **KINDS[kind][0](run)}
    first = source.commit({path[name]: data for name, data in broken.items()})
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, first)
    assert [damaged for damaged, _ in catalog.damaged(REF)] == [run.id]
    assert list(catalog.select(REF, Selection())) == []
    mended = source.commit({path[NOTES]: None, **{path[name]: data for name, data in run.files().items()}}, (first,))
    catalog.refresh(source, REF, mended)
    assert catalog.damaged(REF) == []
    assert [found["id"] for found in catalog.select(REF, Selection())] == [run.id]


def test_a_blob_that_is_not_in_the_repository_damages_its_run_alone(tmp_path: Path) -> None:
    source = MemoryArchive()
    runs = [forge_run(n) for n in range(0, 60, 10)]
    tip = source.commit({f"{run.path}/{name}": data for run in runs for name, data in run.files().items()})
    tree = source.commits[tip].tree
    del source.blobs[tree[f"{runs[1].path}/manifest.json"]]
    del source.blobs[tree[f"{runs[3].path}/annotations.json"]]
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, tip)
    assert dict(catalog.damaged(REF)) == {
        runs[1].id: "manifest.json is not in the repository",
        runs[3].id: "annotations.json is not in the repository",
    }
    assert {run["id"] for run in catalog.select(REF, Selection())} == {runs[n].id for n in (0, 2, 4, 5)}


STRAY = [
    "runs/README",
    "runs/aa/README",
    "runs/aa/notarun/manifest.json",
    f"runs/ab/{'a' * 64}-1/manifest.json",  # the wrong shard
    f"runs/AA/{'A' * 64}-1/manifest.json",
    f"runs/aa/{'a' * 64}-01/manifest.json",
    f"runs/aa/{'a' * 64}-9999999999999999999/manifest.json",  # beyond 2^63-1
    f"runs/aa/{'a' * 64}/manifest.json",
    f"runs/aa/{'a' * 63}\n-1/manifest.json",
    "runs/\udcff/x",
]


@pytest.mark.parametrize("path", STRAY)
def test_what_belongs_to_no_run_is_told_by_its_path(path: str, tmp_path: Path) -> None:
    source = MemoryArchive()
    run = forge_run(1)
    first = source.commit({**{f"{run.path}/{name}": data for name, data in run.files().items()}, path: b"{}"})
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, first)
    [(name, problem)] = catalog.damaged(REF)
    assert name.encode() == path.encode("utf-8", "backslashreplace")
    assert problem == "does not belong to a run"
    assert len(list(catalog.select(REF, Selection()))) == 1
    catalog.refresh(source, REF, source.commit({path: None}, (first,)))
    assert catalog.damaged(REF) == []


def test_files_beside_runs_are_nobodys_business(tmp_path: Path) -> None:
    source = MemoryArchive()
    tip = source.commit({"README.md": b"x", "data/ab/x.dvc": b"x", "runvault.json": b"{}", "runs.txt": b"x"})
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, tip)
    assert catalog.damaged(REF) == []


def with_params(params: dict[str, Any]) -> ForgedRun:
    """Return a run as others may write it: our own writers refuse some parameters."""
    config = {**forge_run(1).manifest["config"], "params": params}
    digest = hashlib.sha256(orjson.dumps(config, option=orjson.OPT_SORT_KEYS)).hexdigest()
    members = {"id": f"{digest}-1", "config_hash": digest, "config": config}
    return ForgedRun(f"{digest}-1", {**forge_run(1).manifest, **members}, {})


@pytest.mark.parametrize(
    "params",
    [
        {"a.b": 1, "a": {"b": 2}},
        {"": 1, "\u202e": 2, "'; DROP TABLE runs; --": 3, "x" * 300: 4},
        {"text": "\x00\x1b[31m", "list": [[1, [2]], {"a": None}], "empty": {}},
        {str(n): n for n in range(2_000)},
    ],
)
def test_odd_parameters_are_rows_like_others(params: dict[str, Any], tmp_path: Path) -> None:
    forged = with_params(params)
    source = MemoryArchive()
    catalog = Catalog(tmp_path / "catalog.db")
    first = source.commit({f"{forged.path}/{name}": data for name, data in forged.files().items()})
    catalog.refresh(source, REF, first)
    [listed] = catalog.select(REF, Selection())
    assert listed["params"] == params
    second = source.commit({forged.path: None}, (first,))
    catalog.refresh(source, REF, second)
    assert catalog.names(REF) == []


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63 - 1])
def test_a_parameter_without_a_canonical_form_damages_its_run(number: int, tmp_path: Path) -> None:
    forged, source = with_params({"big": number}), MemoryArchive()
    tip = source.commit({f"{forged.path}/{name}": data for name, data in forged.files().items()})
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, tip)
    assert list(catalog.select(REF, Selection())) == []
    [(run, problem)] = catalog.damaged(REF)
    assert run == forged.id
    assert "config.params.big is an integer beyond 2^53" in problem
