"""The objects of a save, written together: what has a name is on disk, and nothing stays behind."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pygit2
import pytest
from machine import git, unpack
from pygit2.enums import ObjectType
from support import ADA, NOON, archive_in, run_files, run_path, saves

from runvault.errors import RunvaultError
from runvault.stores.git import additions
from runvault.stores.git.additions import NewObjects
from runvault.stores.git.branch import Branch
from runvault.stores.git.edits import Edit
from runvault.stores.git.journal import LockHeldError
from runvault.stores.git.objects import open_repository
from runvault.stores.git.packs import pack_of, pack_with_index
from runvault.stores.git.repository import Repository
from runvault.stores.git.soundness import file_damage
from runvault.stores.git.writing import Writer


def folder_of(repository: Repository) -> Path:
    return repository.common_dir / "objects" / "pack"


def packs(repository: Repository) -> set[Path]:
    return set(folder_of(repository).glob("*.pack"))


def left_behind(repository: Repository) -> set[str]:
    folder = folder_of(repository)
    return {path.name for pattern in ("tmp_*", "*.keep") for path in folder.glob(pattern)}


def dead_writer(repository: Repository) -> set[Path]:
    """Leave what writers leave that are killed: before a pack has its name, before its index has, and after."""
    folder = folder_of(repository)
    unnamed = [folder / f"{additions.TEMPORARY}0123456789abcdef-{kind}" for kind in ("pack", "idx")]
    without_index, keep = (folder / f"pack-{'1' * 40}.{kind}" for kind in ("pack", "keep"))
    for path, content in {**dict.fromkeys(unnamed, b"torn"), without_index: pack_of([])}.items():
        path.write_bytes(content)
        path.chmod(0o444)
    whole = max(packs(repository), key=lambda pack: pack.stat().st_mtime_ns).with_suffix(".keep")
    for path in (keep, whole):
        path.write_bytes(additions._NOTE)
    return {*unnamed, without_index, keep, whole}


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_what_a_dead_writer_left_is_removed_by_the_next(repo: Path, bulk: bool) -> None:
    repository = archive_in(repo)
    [whole] = packs(repository)
    dead_writer(repository)
    theirs = {folder_of(repository) / "tmp_pack_Ab12Cd", folder_of(repository) / f"pack-{'2' * 40}.keep"}
    for path in theirs:  # of a git that receives a push beside us, and what a user wants to be kept
        path.write_bytes(b"theirs")
    assert Writer(repository).update(lambda _: Edit(run_files("a"), "save", ADA, NOON, bulk))
    assert left_behind(repository) == {path.name for path in theirs}
    assert whole in packs(repository)
    assert len(packs(repository)) == 2


def test_what_a_dead_writer_left_is_nothing_to_anybody(repo: Path) -> None:
    repository = archive_in(repo)
    Writer(repository).update(saves("a"))
    left = dead_writer(repository)
    assert git(repo, "fsck", "--strict", "--full") == ""
    git(repo, "multi-pack-index", "write")
    assert list(file_damage(repository)) == []
    git(repo, "gc", "--quiet")
    assert all(path.exists() for path in left)  # not stale yet: its writer could be alive
    git(repo, "prune", "--expire=now")
    assert not list(folder_of(repository).glob("tmp_*"))


def test_what_cannot_be_removed_is_left(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    left = dead_writer(repository)
    unlink = Path.unlink

    def closed(path: Path, missing_ok: bool = False) -> None:
        if path in left:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", closed)
    assert Writer(repository).update(saves("a"))
    assert all(path.exists() for path in left)


@pytest.mark.parametrize("failing", ["sync_open", "start_writing", "_name", "sync_folder", "_create"])
def test_a_save_that_fails_before_its_objects_are_on_disk_leaves_none(
    repo: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    repository = archive_in(repo)
    shared = run_files("a")[1]
    Writer(repository).update(lambda _: Edit([shared], "an object that is there", ADA, NOON))
    unpack(repo)
    tip = repository.tip()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(additions, failing, full)
    with pytest.raises(RunvaultError, match="No space left on device"):
        Writer(repository).update(lambda _: Edit([*run_files("b"), ("x", shared[1])], "save", ADA, NOON))
    assert (left_behind(repository), repository.tip()) == (set(), tip)
    # The folder is synced last: what is complete by then may be wanted by somebody who saw it.
    assert bool(packs(repository)) == (failing == "sync_folder")
    monkeypatch.undo()
    assert Writer(repository).update(saves("b"))
    assert git(repo, "fsck", "--strict", "--full", "--no-dangling") == ""


def test_a_pack_without_its_index_goes_with_the_save_that_fails(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    before, name = packs(repository), additions._name

    def full(temporary: Path, place: Path) -> None:
        if place.suffix == ".idx":
            assert packs(repository) > before
            raise OSError(28, "No space left on device")
        name(temporary, place)

    monkeypatch.setattr(additions, "_name", full)
    with pytest.raises(RunvaultError, match="No space left on device"):
        Writer(repository).update(saves("a"))
    assert (packs(repository), left_behind(repository)) == (before, set())


def test_nothing_has_its_name_before_all_is_synced_nor_is_free_before_the_branch_moves(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = archive_in(repo)
    before, synced, named = packs(repository), [], []

    def look(file: object) -> None:
        assert packs(repository) == before
        synced.append(file)

    name, settle = additions._name, Branch.settle

    def naming(temporary: Path, place: Path) -> None:
        assert len(synced) == 2
        assert place.with_suffix(".keep").exists()
        named.append(place)
        name(temporary, place)

    def settling(branch: Branch) -> None:
        assert {Path(each).stem for each in left_behind(repository)} == {place.stem for place in named}
        settle(branch)

    monkeypatch.setattr(additions, "sync_open", look)
    monkeypatch.setattr(additions, "_name", naming)
    monkeypatch.setattr(Branch, "settle", settling)
    Writer(repository).update(saves("a"))
    assert [place.suffix for place in named] == [".pack", ".idx"]
    assert packs(repository) - before == {named[0]}
    assert left_behind(repository) == set()


def test_an_object_that_was_there_is_written_all_the_same(repo: Path) -> None:
    """Another program may have written it, blob, tree or commit, and git syncs no loose object by itself."""
    repository = archive_in(repo)
    tip = repository.tip()
    commit = str(Writer(repository).update(saves("a")))
    unpack(repo)
    git(repo, "update-ref", repository.ref, str(tip))  # as if git had written all that and nothing named it yet
    assert Writer(repository).update(saves("a")) == commit
    needed = git(repo, "rev-list", "--objects", "--no-object-names", commit, f"^{tip}").split()
    [pack] = packs(repository)
    listed = git(repo, "show-index", stdin=pack.with_suffix(".idx")).splitlines()
    assert {line.split()[1] for line in listed} == set(needed)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_signed_commit_is_written_though_git_wrote_it_and_held_with_the_rest(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = archive_in(repo)
    settle, held = Branch.settle, set[Path]()

    def settling(branch: Branch) -> None:
        held.update(keep.with_suffix(".pack") for keep in folder_of(repository).glob("*.keep"))
        settle(branch)

    before = packs(repository)
    monkeypatch.setattr(Branch, "settle", settling)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name, value in {"commit.gpgsign": "true", "gpg.format": "ssh", "user.signingkey": str(key)}.items():
        git(repo, "config", name, value)
    commit = str(Writer(Repository.find(repo)).update(saves("a")))
    listed = [git(repo, "show-index", stdin=pack.with_suffix(".idx")).split() for pack in packs(repository)]
    assert any(len(words) == 3 * 9 for words in listed)  # 5 files and 4 trees
    assert any(commit in words and len(words) == 3 for words in listed)
    assert held == packs(repository) - before
    assert left_behind(repository) == set()


def test_a_file_that_a_prune_removes_costs_an_attempt(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    sync_all, pruned = additions.sync_all, []

    def prune_once(*args: object) -> None:
        sync_all(*args)  # type: ignore[arg-type]
        if not pruned:
            pruned.append(left_behind(repository))
            git(repo, "prune", "--expire=now")

    monkeypatch.setattr(additions, "sync_all", prune_once)
    assert Writer(repository).update(saves("a"))
    assert len(pruned[0]) == 2
    assert git(repo, "fsck", "--strict") == ""
    assert git(repo, "ls-tree", "-r", "--name-only", "runvault", run_path("a")).count("\n") == 5


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_no_pack_is_called_like_one_that_was_there(repo: Path, monkeypatch: pytest.MonkeyPatch, bulk: bool) -> None:
    """A repack that has listed the pack of an attempt would drop that of the next, whose objects it saw to be held."""
    repository = archive_in(repo)
    swap, seen = Branch._swap, [packs(repository)]

    def locked_twice(branch: Branch, *args: Any) -> bool:
        [made, *more] = packs(repository) - seen[-1]
        assert more == [] or bulk
        assert bulk or made.with_suffix(".keep").exists()
        seen.append(packs(repository))
        if len(seen) < 4:
            raise LockHeldError(repository.common_dir / f"{repository.ref}.lock")
        return swap(branch, *args)

    monkeypatch.setattr(Branch, "_swap", locked_twice)
    edit = Edit(run_files("a"), "save", ADA, NOON, bulk)
    commit = Writer(repository).update(lambda _: edit)
    assert len(seen) == 4
    assert commit == repository.tip()
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_are_git_s(repo: Path, umask: int) -> None:
    repository = archive_in(repo)
    before = packs(repository)
    kept = os.umask(umask)
    try:
        Writer(repository).update(saves("a"))
    finally:
        os.umask(kept)
    [pack] = packs(repository) - before
    assert {stat.S_IMODE(path.stat().st_mode) for path in (pack, pack.with_suffix(".idx"))} == {0o444 & ~umask}


def test_objects_are_found_before_they_are_written_and_after(repo: Path) -> None:
    repository = archive_in(repo)
    handle, before = open_repository(repository.common_dir), packs(repository)
    new = NewObjects.of(handle)
    blob = handle.odb.write(ObjectType.BLOB, b"new")
    assert handle.odb.write(ObjectType.BLOB, b"new") == blob
    for _ in range(2):
        assert blob in handle.odb
        assert "1" * 40 not in handle.odb
        assert handle.odb.read(blob) == (ObjectType.BLOB, b"new")
        assert handle.odb.read_header(blob) == (ObjectType.BLOB, 3)
        with pytest.raises(KeyError):
            handle.odb.read("1" * 40)
        assert handle[str(blob)[:10]].id == blob if not new.objects else str(blob)[:10] not in handle
        new.write(repository.common_dir / "objects", dict(new.objects))
    assert new.objects == {}
    assert len(packs(repository) - before) == 1
    assert pygit2.Repository(str(repo))[blob].data == b"new"
    new.release()
    assert left_behind(repository) == set()


@pytest.mark.parametrize("far", [1 << 31, 5_000], ids=["near", "a table for what lies far behind"])
def test_an_index_is_what_git_makes_of_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: int) -> None:
    objects: dict[str, tuple[ObjectType, bytes]] = {}
    for number in range(300):
        content = os.urandom(number) + b"x" * 7 * number
        objects[str(pygit2.hash(content))] = (ObjectType.BLOB, content)
    monkeypatch.setattr("runvault.stores.git.packs._FAR", far)
    pack, index = pack_with_index(objects)
    (tmp_path / "made.pack").write_bytes(pack)
    (tmp_path / "made.idx").write_bytes(index)
    git(tmp_path, "index-pack", f"--index-version=2,{far - 1:#x}", "-o", "theirs.idx", "made.pack")
    assert index == (tmp_path / "theirs.idx").read_bytes()
