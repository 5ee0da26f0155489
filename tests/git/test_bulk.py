from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import git
from support import ADA, NOON, archive_in, run_files, run_path, saves

from runvault.errors import RunvaultError
from runvault.stores.git.edits import Edit
from runvault.stores.git.reading import Reader
from runvault.stores.git.writing import Writer


class Sweep:
    """The files of many runs, made as they are asked for."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
        for name in self.names:
            yield from run_files(name)
            yield "data/ab/shared.dvc", b"outs: shared\n"


def sweep_of(names: list[str]) -> Edit:
    return Edit(Sweep(names), "sweep: many\n\nKind: sweep", ADA, NOON, bulk=True)


def test_a_sweep_is_one_commit_of_one_pack(repo: Path) -> None:
    repository = archive_in(repo)
    names = [f"run {n}" for n in range(1500)]
    commit = Writer(repository).update(lambda _: sweep_of(names))
    listed = {path for path, _ in Reader(repository).changed_files(None, commit)}
    assert listed >= {path for name in names for path, _ in run_files(name)}
    assert Reader(repository).read_run(commit, run_path("run 77")) == {
        path.rsplit("/", 1)[1]: content for path, content in run_files("run 77")
    }
    assert git(repo, "log", "--format=%an|%cn|%ct|%s", "-1", "runvault").strip() == (
        f"Ada Quant|Ada Quant|{int(NOON.timestamp())}|sweep: many"
    )
    assert len(list((repo / ".git/objects/pack").glob("*.pack"))) == 2  # with that of the first commit
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""
    assert "dangling" not in git(repo, "fsck")


def test_the_same_sweep_small_and_in_bulk_is_the_same_commit(repo: Path, tmp_path: Path) -> None:
    names = [f"run {n}" for n in range(20)]
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    edits = [Edit(Sweep(names), "sweep", ADA, NOON, bulk=bulk) for bulk in (True, False)]
    commits = [
        Writer(archive_in(path)).update(lambda _, e=edit: e) for path, edit in zip((repo, other), edits, strict=True)
    ]
    assert commits[0] == commits[1]


def test_a_sweep_on_top_of_runs_replaces_adds_and_removes(repo: Path) -> None:
    repository = archive_in(repo)
    writer = Writer(repository)
    writer.update(saves("a", "old"))
    writer.update(saves("b"))
    files = [(run_path("b"), None), *run_files("a", "new"), *run_files("a", "newer"), *run_files("c"), ("x/gone", None)]
    commit = writer.update(lambda _: Edit(files, "sweep", ADA, NOON, bulk=True))
    reader = Reader(repository)
    assert reader.read_run(commit, run_path("b")) == {}
    assert reader.read_file(commit, f"{run_path('a')}/manifest.json") == run_files("a", "newer")[0][1]
    assert reader.read_file(commit, f"{run_path('c')}/manifest.json") == run_files("c")[0][1]


def test_a_folder_that_is_replaced_keeps_nothing_of_the_old_one(repo: Path) -> None:
    repository = archive_in(repo)
    writer = Writer(repository)
    for bulk in (False, True):
        writer.update(lambda _: Edit([("f/old", b"1"), ("f/both", b"1")], "m", ADA, NOON))
        writer.update(lambda _, b=bulk: Edit([("f", None), ("f/both", b"2")], "m", ADA, NOON, bulk=b))
        assert git(repo, "ls-tree", "--name-only", "runvault", "f/").split() == ["f/both"]
        assert git(repo, "show", "runvault:f/both") == "2"


def test_the_same_sweep_twice_makes_one_commit(repo: Path) -> None:
    writer = Writer(archive_in(repo))
    edit = sweep_of([f"run {n}" for n in range(150)])
    assert writer.update(lambda _: edit) is not None
    assert writer.update(lambda _: edit) is None


def test_no_private_ref_stays_behind(repo: Path) -> None:
    repository = archive_in(repo)
    stale = repo / ".git" / "refs" / "runvault" / "tmp"
    stale.mkdir(parents=True)
    (stale / "dead").write_text(git(repo, "rev-parse", "HEAD"))
    git(repo, "pack-refs", "--all")
    stale.mkdir(parents=True, exist_ok=True)
    (stale / "loose").write_text(git(repo, "rev-parse", "HEAD"))
    (stale / "half.lock").write_text("")
    Writer(repository).update(lambda _: sweep_of(["a", "b"]))
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main", "refs/heads/runvault"]
    assert list(stale.iterdir()) == []


@pytest.mark.parametrize("path", ["a/../b", ".git/x", "a\nb", '"quoted', ""])
def test_a_path_that_would_confuse_the_stream_is_refused(repo: Path, path: str) -> None:
    repository = archive_in(repo)
    before = repository.tip()
    with pytest.raises(RunvaultError, match="no path in an archive"):
        Writer(repository).update(lambda _: Edit([(path, b"x")], "m", ADA, NOON, bulk=True))
    assert repository.tip() == before
    assert Writer(repository).update(saves("a"), timeout_s=1)


def test_an_iterator_that_fails_leaves_nothing_behind(repo: Path) -> None:
    repository = archive_in(repo)
    before, packs = sorted((repo / ".git").iterdir()), set((repo / ".git/objects/pack").iterdir())

    class Failing:
        def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
            yield from run_files("a")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Writer(repository).update(lambda _: Edit(Failing(), "m", ADA, NOON, bulk=True))
    assert sorted((repo / ".git").iterdir()) == before
    # What git had begun is named so that its own housekeeping removes it.
    left = set((repo / ".git/objects/pack").iterdir()) - packs
    assert all(path.name.startswith("tmp_pack_") for path in left)
    assert Writer(repository).update(saves("a"), timeout_s=1)


def test_what_a_killed_import_left_is_not_in_the_way(repo: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    git(tmp_path, "init", "--quiet", str(twin))
    edit = sweep_of(["a", "b"])
    writer, packs = Writer(archive_in(twin)), twin / ".git/objects/pack"
    before = set(packs.glob("*.pack"))
    writer.update(lambda _: edit)
    [pack] = set(packs.glob("*.pack")) - before
    repository = archive_in(repo)
    (repo / ".git/objects/pack").mkdir(exist_ok=True)
    (repo / ".git/objects/pack" / f"{pack.stem}.keep").write_text("fast-import")
    assert Writer(repository).update(lambda _: edit) == repository.tip()
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""
