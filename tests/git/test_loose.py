"""The objects of a save, written together: what has a name is on disk, and nothing stays behind."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pygit2
import pytest
from machine import git
from pygit2.enums import ObjectType
from support import ADA, NOON, archive_in, run_files, run_path, saves

from runvault.errors import RunvaultError
from runvault.stores.git import loose
from runvault.stores.git.edits import Edit
from runvault.stores.git.objects import open_repository
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.git.soundness import file_damage
from runvault.stores.git.writing import Writer


def objects_of(repository: Repository) -> Path:
    return repository.common_dir / "objects"


def loose_files(repository: Repository) -> set[Path]:
    return set(objects_of(repository).glob("??/*"))


def left_behind(repository: Repository) -> list[Path]:
    return list(objects_of(repository).glob("tmp_*"))


def dead_writer(repository: Repository, name: str = f"{loose.QUARANTINE}0123456789abcdef") -> Path:
    """Leave what a writer leaves that is killed before its objects have names; one of them is torn."""
    folder = objects_of(repository) / name
    folder.mkdir()
    for number in range(3):
        (folder / f"{number:040x}").write_bytes(b"torn")
        (folder / f"{number:040x}").chmod(0o444)
    return folder


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_what_a_dead_writer_left_is_removed_by_the_next(repo: Path, bulk: bool) -> None:
    repository = archive_in(repo)
    dead_writer(repository)
    dead_writer(repository, f"{loose.QUARANTINE}another")
    theirs = dead_writer(repository, "tmp_objdir-incoming-Ab12Cd")  # of a git that receives a push beside us
    assert Writer(repository).update(lambda _: Edit(run_files("a"), "save", ADA, NOON, bulk))
    assert left_behind(repository) == [theirs]
    assert len(list(theirs.iterdir())) == 3


def test_what_a_dead_writer_left_is_nothing_to_anybody(repo: Path) -> None:
    repository = archive_in(repo)
    Writer(repository).update(saves("a"))
    counted = git(repo, "count-objects", "--verbose")
    left = dead_writer(repository)
    assert git(repo, "count-objects", "--verbose") == counted
    assert git(repo, "fsck", "--strict", "--full") == ""
    assert list(file_damage(repository)) == []
    git(repo, "gc", "--quiet")
    assert left.exists()  # not stale yet: its writer could be alive
    git(repo, "prune", "--expire=now")
    assert not left.exists()


def test_what_cannot_be_removed_is_left(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    left = dead_writer(repository)
    unlink = Path.unlink

    def closed(path: Path, missing_ok: bool = False) -> None:
        if path.parent == left:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", closed)
    assert Writer(repository).update(saves("a"))
    assert left_behind(repository) == [left]


@pytest.mark.parametrize("failing", ["sync_open", "sync_file", "start_writing", "_name", "_write"])
def test_a_save_that_fails_before_its_objects_are_synced_leaves_none(
    repo: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    repository = archive_in(repo)
    shared = run_files("a")[1]
    Writer(repository).update(lambda _: Edit([shared], "an object that is there", ADA, NOON))
    before, tip = loose_files(repository), repository.tip()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loose, failing, full)
    with pytest.raises(RunvaultError, match="No space left on device"):
        Writer(repository).update(lambda _: Edit([*run_files("b"), ("x", shared[1])], "save", ADA, NOON))
    assert (loose_files(repository), left_behind(repository), repository.tip()) == (before, [], tip)
    monkeypatch.undo()
    assert Writer(repository).update(saves("b"))
    assert git(repo, "fsck", "--strict", "--full") == ""


def test_no_object_has_its_name_before_all_are_synced(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    before = loose_files(repository)
    written, synced = [], []

    def look(file: object) -> None:
        assert loose_files(repository) == before
        synced.append(file)

    name = loose._name

    def named(temporary: Path, place: Path) -> None:
        written.append(place)
        assert len(synced) == 10
        name(temporary, place)

    monkeypatch.setattr(loose, "sync_open", look)
    monkeypatch.setattr(loose, "_name", named)
    Writer(repository).update(saves("a"))
    assert len(written) == 10
    assert loose_files(repository) - before == set(written)


def test_many_files_are_written_with_few_open(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    monkeypatch.setattr(loose, "_MAX_OPEN", 7)
    files: list[tuple[str, bytes | None]] = [(f"many/{number}", b"%d\n" % number) for number in range(100)]
    commit = str(Writer(repository).update(lambda _: Edit(files, "many", ADA, NOON)))
    assert Reader(repository).read_run(commit, "many") == {str(number): b"%d\n" % number for number in range(100)}
    assert left_behind(repository) == []


def test_an_object_that_was_there_is_synced_and_its_time_renewed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have written it, blob, tree or commit, and git syncs no loose object by itself."""
    repository = archive_in(repo)
    tip = repository.tip()
    commit = str(Writer(repository).update(saves("a")))
    git(repo, "update-ref", repository.ref, str(tip))  # as if git had written all that and nothing named it yet
    files = {path for path in loose_files(repository) if path.stat().st_mtime > 0}
    for path in files:
        os.utime(path, (1, 1))
    synced: set[Path] = set()
    monkeypatch.setattr(loose, "sync_file", synced.add)
    assert Writer(repository).update(saves("a")) == commit
    needed = git(repo, "rev-list", "--objects", "--no-object-names", commit, f"^{tip}").split()
    assert synced == {objects_of(repository) / name[:2] / name[2:] for name in needed}
    assert {path for path in files if path.stat().st_mtime > 1} == synced


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_signed_commit_is_synced_though_git_wrote_it(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = archive_in(repo)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name, value in {"commit.gpgsign": "true", "gpg.format": "ssh", "user.signingkey": str(key)}.items():
        git(repo, "config", name, value)
    synced: list[Path] = []
    monkeypatch.setattr(loose, "sync_file", synced.append)
    commit = str(Writer(Repository.find(repo)).update(saves("a")))
    assert synced == [objects_of(repository) / commit[:2] / commit[2:]]


def test_a_fan_out_folder_that_gc_removes_meanwhile_is_made_again(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    name, removed = loose._name, []

    def raced(temporary: Path, place: Path) -> None:
        if place.parent.exists() and not list(place.parent.iterdir()):
            place.parent.rmdir()
            removed.append(place.parent)
        name(temporary, place)

    for number in range(256):
        (objects_of(repository) / f"{number:02x}").mkdir(exist_ok=True)
    monkeypatch.setattr(loose, "_name", raced)
    assert Writer(repository).update(saves("a"))
    assert removed
    assert git(repo, "fsck", "--strict") == ""


def test_a_quarantine_that_a_prune_removes_costs_an_attempt(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    sync_all, pruned = loose.sync_all, []

    def prune_once(*args: object) -> None:
        sync_all(*args)  # type: ignore[arg-type]
        if not pruned:
            pruned.append(left_behind(repository))
            git(repo, "prune", "--expire=now")

    monkeypatch.setattr(loose, "sync_all", prune_once)
    assert Writer(repository).update(saves("a"))
    assert len(pruned[0]) == 1
    assert git(repo, "fsck", "--strict") == ""
    assert git(repo, "ls-tree", "-r", "--name-only", "runvault", run_path("a")).count("\n") == 5


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_are_git_s(repo: Path, umask: int) -> None:
    repository = archive_in(repo)
    objects = objects_of(repository)
    objects.chmod(0o2775)
    before, folders = loose_files(repository), set(objects.iterdir())
    kept = os.umask(umask)
    try:
        Writer(repository).update(saves("a"))
    finally:
        os.umask(kept)
    assert {stat.S_IMODE(path.stat().st_mode) for path in loose_files(repository) - before} == {0o444 & ~umask}
    # The group's bit is the kernel's to hand down.
    assert {stat.S_IMODE(path.stat().st_mode) for path in set(objects.iterdir()) - folders} == {0o2777 & ~umask}


def test_objects_are_found_before_they_are_written_and_after(repo: Path) -> None:
    handle = open_repository(archive_in(repo).common_dir)
    before = loose_files(Repository.find(repo))
    new = loose.NewObjects.of(handle)
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
        loose.write_loose(objects_of(Repository.find(repo)), new, ())
    assert new.objects == {}
    assert len(loose_files(Repository.find(repo)) - before) == 1
    assert pygit2.Repository(str(repo))[blob].data == b"new"
