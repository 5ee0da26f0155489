"""The catalog on real Git: histories with merges, and the figures that no machine changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from catalogs import REF, whole
from forge import forge_archive, forge_run, import_commits
from machine import git

from runvault.model.query import Selection
from runvault.model.records import dump_json
from runvault.stores.catalog import Catalog
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "--quiet")
    return path


def source_of(path: Path) -> Reader:
    return Reader(Repository.find(path, "runvault"))


def test_two_sides_and_their_merge(forged: Path, tmp_path: Path) -> None:
    base = forge_archive(forged, 10, runs_per_commit=3)
    git(forged, "branch", "other", base)
    ours = forge_archive(forged, 5, first=100)
    theirs = forge_archive(forged, 7, first=200, branch="other", runs_per_commit=1)
    run = forge_run(4)
    later = {**run.manifest, "created_at": "2025-01-01T00:00:00.000000Z", "results_digest": "0" * 64}
    revised = iter([(f"{run.path}/manifest.json", dump_json(later))])
    theirs = import_commits(forged, iter([revised]), branch="other", time=1_700_001_000)
    tree = git(forged, "merge-tree", "--write-tree", ours, theirs).strip()
    merge = git(forged, "commit-tree", "-p", ours, "-p", theirs, "-m", "merge", tree).strip()
    catalog = Catalog(tmp_path / "catalog.db")
    for tip in (base, ours, merge):
        catalog.refresh(source_of(forged), REF, tip)
    fresh = Catalog(tmp_path / "fresh.db")
    fresh.refresh(source_of(forged), REF, merge)
    assert whole(catalog) == whole(fresh)
    assert catalog.count(REF, Selection()) == 22
    found = catalog.run(REF, run.id)
    assert found is not None
    assert (found["revision"], found["commit"]) == (2, theirs)
    assert [revision.revision for revision in catalog.revisions(REF, run.id)] == [1, 2]
    alone = catalog.run(REF, forge_run(203).id)
    assert alone is not None
    assert alone["commit"] == git(forged, "rev-parse", f"{theirs}~4").strip()


@pytest.mark.parametrize("loaded", [False, True], ids=["program", "library"])
def test_catching_up_starts_one_process_at_most_whatever_there_is(
    forged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    if loaded:
        import pygit2  # noqa: F401 - as where a run was saved
    else:
        monkeypatch.delitem(sys.modules, "pygit2", raising=False)
    first = forge_archive(forged, 400)
    second = forge_archive(forged, 1, first=1_000)
    source = source_of(forged)
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, first)
    started: list[str] = []
    popen = subprocess.Popen

    class Counted(popen):  # type: ignore[type-arg, misc, valid-type]
        def __init__(self, args: list[str], **options: object) -> None:
            started.append(next(word for word in args[1:] if not word.startswith("-") and "=" not in word))
            super().__init__(args, **options)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    catalog.refresh(source, REF, first)
    list(catalog.select(REF, Selection(where="sharpe_ratio > 1", sort="-sharpe_ratio", limit=50)))
    assert started == []
    catalog.refresh(source, REF, second)
    assert started == ([] if loaded else ["cat-file"])
    started.clear()
    Catalog(tmp_path / "new.db").refresh(source, REF, second)
    assert sorted(started) == ["cat-file", "log", "ls-tree"]
