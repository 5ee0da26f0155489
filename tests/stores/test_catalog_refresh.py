"""Keeping up with an archive: what is caught up equals what is built anew, whatever happened in between."""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from catalogs import REF, whole
from forge import ForgedRun, forge_run
from memory import MemoryArchive

from runvault.model.annotations import Annotations
from runvault.model.query import Selection
from runvault.model.records import dump_json
from runvault.model.run_json import run_members
from runvault.stores.catalog import Catalog
from runvault.stores.catalog.catalog import MANY

NOW = "2024-06-01T00:00:00.000000Z"


def tree_of(*runs: ForgedRun) -> dict[str, bytes | None]:
    return {f"{run.path}/{name}": data for run in runs for name, data in run.files().items()}


def fresh(source: MemoryArchive, tip: str, folder: Path) -> dict[str, Any]:
    catalog = Catalog(folder / f"fresh-{random.random()}.db")
    catalog.refresh(source, REF, tip)
    return whole(catalog)


def annotated(run: ForgedRun, change: Callable[[Annotations], Annotations]) -> ForgedRun:
    annotations = Annotations.from_bytes(dump_json(run.annotations)) if run.annotations else Annotations()
    return ForgedRun(run.id, run.manifest, change(annotations).to_dict())


def revised(run: ForgedRun, at: str, value: float = 0.5) -> ForgedRun:
    metrics = {**run.manifest["metrics"], "sharpe_ratio": value}
    return ForgedRun(run.id, {**run.manifest, "created_at": at, "metrics": metrics}, run.annotations)


@pytest.fixture
def source() -> MemoryArchive:
    return MemoryArchive()


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog.db")


def listed(catalog: Catalog) -> list[str]:
    return [run["id"] for run in catalog.select(REF, Selection())]


def test_a_run_is_listed_as_the_json_of_the_command_line(source: MemoryArchive, catalog: Catalog) -> None:
    run = annotated(
        forge_run(100), lambda a: a.with_alias("best", NOW, "Ada").with_tags(["new"], ["golden"], NOW, "Ada")
    )
    commit = source.commit(tree_of(run))
    catalog.refresh(source, REF, commit)
    expected = {**run_members(run.manifest, run.annotations), "revision": 1, "commit": commit}
    assert catalog.run(REF, run.id) == expected
    assert list(catalog.select(REF, Selection())) == [expected]
    members = (
        "id short_id alias config_hash seed strategy engine params settings data symbols interval start end tags note"
    )
    members += " created_at author metrics revision commit code lineage artifacts"
    assert set(expected) == set(members.split())
    assert (expected["alias"], expected["tags"]) == ("best", ["new", "sweep"])
    assert expected["note"] == "run 100: first try with a wider stop"


def test_catching_up_reads_only_what_is_new(source: MemoryArchive, catalog: Catalog) -> None:
    first = source.commit(tree_of(*map(forge_run, range(30))))
    catalog.refresh(source, REF, first)
    source.read.clear()
    catalog.refresh(source, REF, first)
    assert source.read == []
    run = forge_run(1001)
    second = source.commit(tree_of(run), (first,))
    catalog.refresh(source, REF, second)
    assert source.read == [source.commits[second].tree[f"{run.path}/manifest.json"]]
    assert len(listed(catalog)) == 31


def test_a_second_outcome_is_a_second_revision(source: MemoryArchive, catalog: Catalog) -> None:
    run = forge_run(1)
    later = revised(run, "2025-01-01T00:00:00.000000Z")
    first = source.commit(tree_of(run), time=1)
    second = source.commit(tree_of(later), (first,), time=2)
    catalog.refresh(source, REF, first)
    catalog.refresh(source, REF, second)
    found = catalog.run(REF, run.id)
    assert found is not None
    assert (found["revision"], found["commit"]) == (2, second)
    assert found["metrics"]["sharpe_ratio"] == 0.5
    revisions = catalog.revisions(REF, run.id)
    assert [(r.revision, r.commit, r.created_at) for r in revisions] == [
        (1, first, run.manifest["created_at"]),
        (2, second, "2025-01-01T00:00:00.000000Z"),
    ]
    assert source.blobs[revisions[1].blob] == later.files()["manifest.json"]


def test_revisions_are_in_the_order_of_their_time_not_of_their_arrival(source: MemoryArchive, catalog: Catalog) -> None:
    run = revised(forge_run(1), "2025-01-01T00:00:00.000000Z")
    earlier = revised(forge_run(1), "2024-01-01T00:00:00.000000Z", 0.1)
    first = source.commit(tree_of(run), time=1)
    other = source.commit(tree_of(earlier), time=1)
    merge = source.commit({}, (first, other), time=2)
    catalog.refresh(source, REF, first)
    catalog.refresh(source, REF, merge)
    found = catalog.run(REF, run.id)
    assert found is not None
    assert (found["revision"], found["commit"]) == (2, first)
    assert [r.commit for r in catalog.revisions(REF, run.id)] == [other, first]


def test_a_removed_run_is_gone_and_keeps_its_history(source: MemoryArchive, catalog: Catalog) -> None:
    run, other = forge_run(100), forge_run(2)
    first = source.commit(tree_of(run, other), time=1)
    removed = source.commit({run.path: None}, (first,), time=2)
    catalog.refresh(source, REF, first)
    catalog.refresh(source, REF, removed)
    assert listed(catalog) == [other.id]
    assert catalog.run(REF, run.id) is None
    assert catalog.ids(REF, run.id) == []
    assert catalog.past_ids(REF, run.id[:6], run.manifest["seed"]) == [run.id]
    assert [r.commit for r in catalog.revisions(REF, run.id)] == [first]
    assert list(catalog.select(REF, Selection(search="stop"))) == []
    assert catalog.values(REF, "tag") == []
    restored = source.commit(tree_of(run), (removed,), time=3)
    catalog.refresh(source, REF, restored)
    found = catalog.run(REF, run.id)
    assert found is not None
    assert (found["revision"], found["commit"]) == (1, first)


def test_annotations_change_without_a_revision(source: MemoryArchive, catalog: Catalog) -> None:
    run = forge_run(7)
    first = source.commit(tree_of(run))
    catalog.refresh(source, REF, first)
    noted = annotated(run, lambda a: a.with_note("an outlier", NOW, "Ada").with_tags(["golden"], [], NOW, "Ada"))
    second = source.commit(tree_of(noted), (first,))
    catalog.refresh(source, REF, second)
    found = catalog.run(REF, run.id)
    assert found is not None
    assert (found["tags"], found["note"], found["revision"], found["commit"]) == (["golden"], "an outlier", 1, first)
    assert [r["id"] for r in catalog.select(REF, Selection(search="outlier", tags=("golden",)))] == [run.id]
    third = source.commit({f"{run.path}/annotations.json": None}, (second,))
    catalog.refresh(source, REF, third)
    assert list(catalog.select(REF, Selection(search="outlier"))) == []
    assert catalog.run(REF, run.id) == {**found, "tags": [], "note": ""}


def test_aliases_and_completion(source: MemoryArchive, catalog: Catalog) -> None:
    run = annotated(forge_run(1), lambda a: a.with_alias("golden-sma", NOW, "Ada"))
    tip = source.commit(tree_of(run, forge_run(2), forge_run(3)))
    catalog.refresh(source, REF, tip)
    assert catalog.by_alias(REF, "golden-sma") == run.id
    assert catalog.by_alias(REF, "golden") is None
    assert catalog.complete(REF, "gol") == ["golden-sma"]
    assert catalog.complete(REF, run.id[:5]) == [f"{run.id[:8]}-{run.manifest['seed']}"]
    assert catalog.complete(REF, run.id[:9]) == [run.id]
    assert len(catalog.complete(REF, "")) == 4
    assert catalog.complete(REF, "zz") == []
    assert catalog.ids(REF, "", limit=2) == sorted(listed(catalog))[:2]


def test_branches_do_not_see_each_other(source: MemoryArchive, catalog: Catalog) -> None:
    mine, theirs = forge_run(10), forge_run(20)
    first, second = source.commit(tree_of(mine)), source.commit(tree_of(theirs))
    other = "refs/heads/team"
    catalog.refresh(source, REF, first)
    catalog.refresh(source, other, second)
    assert listed(catalog) == [mine.id]
    assert [run["id"] for run in catalog.select(other, Selection())] == [theirs.id]
    where = f"params.fast == {theirs.manifest['config']['params']['fast']}"
    assert list(catalog.select(REF, Selection(where=where))) == []
    assert list(catalog.select(REF, Selection(search="20"))) == []
    assert catalog.ids(REF, theirs.id) == catalog.past_ids(REF, theirs.id) == []
    before = whole(catalog, other)
    catalog.refresh(source, REF, source.commit({}, (second,)))  # another history: built anew
    assert listed(catalog) == [theirs.id]
    assert whole(catalog, other) == before
    assert list(catalog.select("refs/heads/none", Selection())) == []


def test_equal_content_on_two_sides_came_with_the_earlier_commit(source: MemoryArchive, tmp_path: Path) -> None:
    run = forge_run(5)
    base = source.commit({"README.md": b"x"}, time=1)
    late = source.commit(tree_of(run), (base,), time=9)
    early = source.commit(tree_of(run), (base,), time=3)
    merge = source.commit({}, (late, early), time=10)
    catalog = Catalog(tmp_path / "catalog.db")
    for tip in (late, merge):
        catalog.refresh(source, REF, tip)
    found = catalog.run(REF, run.id)
    assert found is not None
    assert found["commit"] == early
    assert whole(catalog) == fresh(source, merge, tmp_path)


@pytest.mark.parametrize("value", range(6))
def test_of_equal_content_within_a_second_the_first_to_arrive_is_not_the_first(
    source: MemoryArchive, tmp_path: Path, value: int
) -> None:
    run = forge_run(value)
    base = source.commit({"README.md": b"x"}, time=1)
    sides = []
    for _ in range(2):  # each saves, removes and restores it within the second
        saved = source.commit(tree_of(run), (base,), time=9)
        removed = source.commit({run.path: None}, (saved,), time=9)
        sides.append((saved, source.commit(tree_of(run), (removed,), time=9)))
    (first, a), (second, b) = sides
    merge = source.commit({}, (a, b), time=9)
    commits = set()
    for number, way in enumerate(([merge], [a, merge], [b, merge], [first, a, merge], [second, merge])):
        catalog = Catalog(tmp_path / f"{number}.db")
        for tip in way:
            catalog.refresh(source, REF, tip)
        commits |= {revision.commit for revision in catalog.revisions(REF, run.id)}
        assert whole(catalog) == fresh(source, merge, tmp_path)
    assert len(commits) == 1
    assert commits < {first, second}


@pytest.mark.parametrize("seed", range(4))
def test_any_history_ends_as_if_built_anew(source: MemoryArchive, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    catalog = Catalog(tmp_path / "catalog.db")
    tips = [source.commit({"README.md": b"x"}, time=0)]
    for step in range(1, 45):
        tips.append(_next(source, chance, chance.choice(tips[-4:]), tips, step))
        if chance.random() < 0.5:
            # Mostly forward; now and then back, or to a branch that was forced.
            tip = tips[-1] if chance.random() < 0.8 else chance.choice(tips)
            catalog.refresh(source, REF, tip)
            assert whole(catalog) == fresh(source, tip, tmp_path)


def _next(source: MemoryArchive, chance: random.Random, tip: str, tips: list[str], step: int) -> str:
    """Commit something on top of `tip`: saves, revisions, annotations, removals, restores, damage, merges."""
    run = forge_run(chance.randrange(8) * 50)
    kind = chance.choice(["save", "save", "sweep", "revise", "annotate", "remove", "damage", "stray", "merge"])
    at = f"2024-0{1 + chance.randrange(9)}-01T00:00:00.000000Z"
    if kind == "merge":
        return source.commit(tree_of(run), (tip, chance.choice(tips)), time=step)
    changes: dict[str, dict[str, bytes | None]] = {
        "save": tree_of(run),
        "sweep": tree_of(*map(forge_run, range(chance.randrange(6)))),
        "revise": tree_of(revised(run, at, chance.random())),
        "annotate": tree_of(annotated(run, lambda a: a.with_note(f"step {step} stop", at, "Ada"))),
        "remove": {run.path: None},
        "damage": {f"{run.path}/manifest.json": chance.choice([b"{", None, b"[]\n"])},
        "stray": {f"runs/{chance.choice(['aa', 'zz'])}/what": chance.choice([b"x", None])},
    }
    return source.commit(changes[kind], (tip,), time=step)


def test_moving_back_and_forth_costs_what_differs(source: MemoryArchive, catalog: Catalog, tmp_path: Path) -> None:
    first = source.commit(tree_of(*map(forge_run, range(20))), time=1)
    second = source.commit(tree_of(forge_run(1000)), (first,), time=2)
    for tip in (second, first):
        catalog.refresh(source, REF, tip)
    source.read.clear()
    catalog.refresh(source, REF, second)
    catalog.refresh(source, REF, first)
    assert len(source.read) == 2  # manifest and annotations of the one run
    assert whole(catalog) == fresh(source, first, tmp_path)


def test_a_column_is_indexed_when_many_runs_are_first_sorted_by_it(source: MemoryArchive, tmp_path: Path) -> None:
    files = tree_of(*[ForgedRun(run.id, {**run.manifest, "artifacts": {}}, {}) for run in map(forge_run, range(MANY))])
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, source.commit(files))

    def indexes() -> set[str]:
        with sqlite3.connect(tmp_path / "catalog.db") as db:
            found = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        db.close()
        return found

    before = indexes()
    expected = sorted(
        (run for run in catalog.select(REF, Selection())), key=lambda run: -run["metrics"]["total_return"]
    )
    holder = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")  # somebody writes: the index can wait, the listing cannot
    best = [run["id"] for run in catalog.select(REF, Selection(sort="-total_return", limit=9))]
    assert best == [run["id"] for run in expected[:9]]
    holder.execute("ROLLBACK")
    holder.close()
    assert indexes() == before
    assert best == [run["id"] for run in catalog.select(REF, Selection(sort="-total_return", limit=9))]
    assert indexes() - before == {"by metrics.total_return"}
    assert best == [run["id"] for run in catalog.select(REF, Selection(sort="-total_return", limit=9))]


def test_the_planner_has_statistics(source: MemoryArchive, catalog: Catalog, tmp_path: Path) -> None:
    catalog.refresh(source, REF, source.commit(tree_of(*map(forge_run, range(300)))))
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        rows = dict(db.execute("SELECT idx, stat FROM sqlite_stat1 WHERE tbl = 'runs'").fetchall())
    db.close()
    assert rows["runs_created"].split()[0] == "300"


def test_the_planners_statistics_are_made_anew_whenever_the_runs_have_doubled(
    source: MemoryArchive, catalog: Catalog, tmp_path: Path
) -> None:
    tip, counted = None, []
    for first, last in [(0, 3), (3, 63), (63, 64), (64, 65)]:
        parents = () if tip is None else (tip,)
        tip = source.commit(tree_of(*map(forge_run, range(first, last))), parents)
        catalog.refresh(source, REF, tip)
        with sqlite3.connect(tmp_path / "catalog.db") as db:
            [[stat]] = db.execute("SELECT stat FROM sqlite_stat1 WHERE idx = 'runs_created'")
        db.close()
        counted.append(int(stat.split()[0]))
    assert counted == [3, 63, 64, 64]


def test_definitions_and_moments_are_at_hand(source: MemoryArchive, catalog: Catalog) -> None:
    run = forge_run(3)
    catalog.refresh(source, REF, source.commit(tree_of(run, forge_run(4))))
    assert catalog.definitions(REF, [run.id]) == {
        run.id: {"metric_definitions": run.manifest["metric_definitions"], "moments": run.manifest["moments"]}
    }


def test_a_foreign_hand_may_write_manifests_differently(source: MemoryArchive, catalog: Catalog) -> None:
    run = forge_run(3)
    files = tree_of(run)
    files[f"{run.path}/manifest.json"] = orjson.dumps(run.manifest)  # compact, unsorted
    tip = source.commit(files)
    catalog.refresh(source, REF, tip)
    expected = {**run_members(run.manifest, run.annotations), "revision": 1, "commit": tip}
    assert catalog.run(REF, run.id) == expected


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
@pytest.mark.parametrize("existing", [False, True])
def test_where_no_file_can_be_written_memory_answers(source: MemoryArchive, tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "catalog.db"
    runs = [forge_run(n) for n in range(12)]
    first = source.commit(tree_of(*runs[:10]))
    second = source.commit(tree_of(*runs[10:]), (first,))
    expected = [fresh(source, tip, tmp_path) for tip in (first, second)]
    if existing:
        Catalog(path).refresh(source, REF, first)
    catalog = Catalog(path)
    with no_file_above(4096):
        for tip, answers in zip((first, second), expected, strict=True):
            catalog.refresh(source, REF, tip)
            assert whole(catalog) == answers
        read = len(source.read)
        catalog.refresh(source, REF, second)
        assert len(source.read) == read  # what was caught up with is kept
        catalog.rebuild(source, REF, second)
        assert whole(catalog) == expected[1]
    later = Catalog(path)
    later.refresh(source, REF, second)
    assert whole(later) == expected[1]
    assert path.stat().st_size > 4096


def test_where_there_is_no_temporary_folder_memory_answers(
    source: MemoryArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = source.commit(tree_of(*[forge_run(n) for n in range(10)]))
    expected = fresh(source, tip, tmp_path)
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    catalog = Catalog(tmp_path / "file" / "catalog.db")
    catalog.refresh(source, REF, tip)
    assert whole(catalog) == expected
