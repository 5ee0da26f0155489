from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pygit2
import pytest
from machine import git
from support import ADA, NOON, archive_in, edit_of, run_files, run_path, saves

from runvault.errors import RunvaultError, VaultNotFoundError
from runvault.stores.git.edits import Edit
from runvault.stores.git.objects import Tip, open_repository
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import Writer


def commit_files(writer: Writer, files: list[tuple[str, bytes | None]]) -> str | None:
    return writer.update(lambda _: Edit(files, "change", ADA, NOON))


def test_an_edit_is_one_commit_with_its_files(repo: Path) -> None:
    repository = archive_in(repo)
    commit = Writer(repository).update(saves("a"))
    assert commit == repository.tip()
    assert Reader(repository).read_run(commit, run_path("a")) == {
        path.rsplit("/", 1)[1]: content for path, content in run_files("a")
    }
    assert git(repo, "log", "-1", "--format=%an %ae %cn %s|%b", "runvault") == (
        "Ada Quant ada@example.org Ada Quant save: a|Run: a\nKind: save\n\n"
    )
    assert git(repo, "fsck", "--strict") == ""


def test_saving_the_same_run_twice_makes_one_commit(repo: Path) -> None:
    writer = Writer(archive_in(repo))
    assert writer.update(saves("a")) is not None
    assert writer.update(saves("a")) is None
    assert git(repo, "rev-list", "--count", "runvault") == "2\n"


def test_an_edit_that_changes_nothing_makes_no_commit(repo: Path) -> None:
    writer = Writer(archive_in(repo))
    writer.update(saves("a"))
    assert writer.update(lambda _: edit_of("a")) is None


def test_the_same_run_with_other_content_is_a_second_commit(repo: Path) -> None:
    repository = archive_in(repo)
    writer = Writer(repository)
    commits = [writer.update(saves("a", content)) for content in ("one", "two")]
    log = git(repo, "log", "--format=%H", "--full-history", "--reverse", "runvault", "--", run_path("a")).split()
    assert log == commits


def test_removing_files_and_folders_leaves_no_empty_folder(repo: Path) -> None:
    writer = Writer(archive_in(repo))
    commit_files(writer, [("a/b/c.txt", b"1"), ("a/b/d.txt", b"2"), ("a/e/f.txt", b"3"), ("g.txt", b"4")])
    commit_files(writer, [("a/b/c.txt", None), ("a/e", None), ("never/was", None)])
    assert set(git(repo, "ls-tree", "-r", "--name-only", "runvault").split()) >= {"a/b/d.txt", "g.txt"}
    assert git(repo, "ls-tree", "runvault", "a/").split()[3:] == ["a/b"]
    commit_files(writer, [("a/b/d.txt", None)])
    assert git(repo, "ls-tree", "runvault", "a") == ""


def test_a_file_can_become_a_folder_and_back(repo: Path) -> None:
    writer = Writer(archive_in(repo))
    commit_files(writer, [("x", b"file")])
    commit_files(writer, [("x/y", b"below")])
    assert git(repo, "show", "runvault:x/y") == "below"
    commit_files(writer, [("x", b"file again")])
    assert git(repo, "show", "runvault:x") == "file again"


@pytest.mark.parametrize("path", ["../out", "a/../b", ".git/config", "a//b", "/a", "a/", "", "a/.git"])
def test_a_path_that_git_would_refuse_is_refused(repo: Path, path: str) -> None:
    repository = archive_in(repo)
    before = repository.tip()
    with pytest.raises(RunvaultError, match="cannot write"):
        commit_files(Writer(repository), [(path, b"x")])
    assert repository.tip() == before


def test_a_plan_sees_the_tip(repo: Path) -> None:
    repository = archive_in(repo)
    writer = Writer(repository)
    commit = writer.update(saves("a"))
    seen: list[object] = []

    def plan(tip: Tip) -> Edit | None:
        folder = run_path("a")
        seen.extend([tip.commit, tip.time, tip.exists(folder), tip.exists("nowhere/here")])
        seen.extend([tip.read("runvault.json"), tip.read("nothing"), tip.read(folder), sorted(tip.files(folder))])
        seen.append(tip.files("runvault.json"))
        return None

    assert writer.update(plan) is None
    names = sorted(path.rsplit("/", 1)[1] for path, _ in run_files("a"))
    expected = [commit, int(NOON.timestamp()), True, False, b'{"format": 1}\n', None, None, names, {}]
    assert seen == expected


def test_a_commit_is_never_earlier_than_its_parent(repo: Path) -> None:
    writer = Writer(archive_in(repo))
    late = datetime(2090, 1, 1, tzinfo=UTC)
    writer.update(lambda _: edit_of("late", time=late))
    writer.update(lambda _: edit_of("early", time=late - timedelta(days=90)))
    assert git(repo, "log", "-2", "--format=%ct", "runvault").split() == [str(int(late.timestamp()))] * 2


def test_no_archive_is_said_so(repo: Path) -> None:
    with pytest.raises(VaultNotFoundError, match="there is no archive"):
        Writer(Repository.find(repo)).update(saves("a"))


def test_what_a_plan_raises_reaches_the_caller_and_frees_the_lock(repo: Path) -> None:
    writer = Writer(archive_in(repo))

    def plan(_: Tip) -> Edit | None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        writer.update(plan)
    assert writer.update(saves("a"), timeout_s=1) is not None


def test_a_machine_without_an_identity_gets_the_stated_fallback(repo: Path, sealed: Path) -> None:
    (sealed / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    who = Repository.find(repo).identity()
    assert (who.name, who.email, who.fallback) == ("runvault", "runvault@localhost", True)


def test_the_identity_is_git_s(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Repository.find(repo).identity() == ADA
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace <x> Ünicode")
    assert Repository.find(repo).identity().name == "Grace x Ünicode"


def test_user_hooks_are_not_run(repo: Path) -> None:
    marker = repo / "ran"
    for name in (
        "reference-transaction",
        "post-commit",
        "pre-commit",
        "post-checkout",
        "post-index-change",
        "pre-auto-gc",
    ):
        hook = repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> '{marker}'\n")
        hook.chmod(0o755)
    writer = Writer(archive_in(repo))
    writer.update(saves("a"))
    assert not marker.exists()


def test_the_tree_of_a_large_archive_is_read_once(repo: Path) -> None:
    handle = open_repository(repo / ".git")
    blob = handle.create_blob(b"a run")
    builder = handle.TreeBuilder()
    for number in range(1000):
        builder.insert(f"{number:064d}-0", blob, pygit2.enums.FileMode.BLOB)
    tree = builder.write()
    size = len(handle.odb.read(tree)[1])

    before = pygit2.settings.cached_memory[0]
    assert len(open_repository(repo / ".git")[tree]) == 1000
    assert pygit2.settings.cached_memory[0] - before >= size > 80_000
