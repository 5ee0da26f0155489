from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

import pytest
from machine import git
from support import ADA, NOON, archive_in, edit_of, run_files, run_path, saves

from runvault.errors import RunvaultError
from runvault.model.source import ArchiveSource, FileChange, Introduced
from runvault.stores.git import advance, reading
from runvault.stores.git.advance import MOST_COMMITS, Advance, UnusualError, read_advance
from runvault.stores.git.code import code_of, untracked_files
from runvault.stores.git.edits import Edit
from runvault.stores.git.init import FIRST_COMMIT
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.git.snapshots import take_snapshot
from runvault.stores.git.writing import Writer

HOSTILE_CONFIG = {
    "log.showSignature": "true",
    "log.follow": "true",
    "log.decorate": "full",
    "diff.relative": "true",
    "diff.noprefix": "true",
    "diff.renames": "copies",
    "diff.orderFile": "/nowhere/at/all",
    "color.ui": "always",
    "format.pretty": "oneline",
    "core.quotePath": "true",
    "core.abbrev": "7",
}


@pytest.fixture(params=[False, True], ids=["plain", "configured"])
def archive(repo: Path, request: pytest.FixtureRequest) -> Repository:
    """Return an archive, also where the user has configured what git prints."""
    if request.param:
        for key, value in HOSTILE_CONFIG.items():
            git(repo, "config", key, value)
    return archive_in(repo)


def manifest_of(name: str) -> str:
    return f"{run_path(name)}/manifest.json"


def test_changed_files_are_those_of_diff_tree(archive: Repository) -> None:
    writer, reader = Writer(archive), Reader(archive)
    first, second = writer.update(saves("a")), writer.update(saves("b"))
    third = writer.update(lambda _: Edit([(run_path("a"), None), ("data/ü x.dvc", b"1")], "change", ADA, NOON))
    brought = {path for path, _ in run_files("b")}
    assert {path for path, _ in reader.changed_files(first, second)} == brought
    changes = list(reader.changed_files(second, third))
    gone = sorted((path, None) for path, _ in run_files("a"))
    assert sorted((path, blob) for path, blob in changes if blob is None) == gone
    [added] = [(path, blob) for path, blob in changes if blob]
    assert added[0] == "data/ü x.dvc"
    whole = list(reader.changed_files(None, third))
    assert added in whole
    assert len(whole) == len(brought) + 6
    assert [path for path, _ in whole] == sorted(path for path, _ in whole)


def test_introduced_names_each_manifest_with_the_commit_that_brought_it(archive: Repository) -> None:
    writer, reader = Writer(archive), Reader(archive)
    first = writer.update(saves("a", "one"))
    second = writer.update(saves("b"))
    third = writer.update(saves("a", "two"))
    writer.update(lambda _: Edit([(run_path("a"), None)], "remove", ADA, NOON))
    tip = archive.tip()
    found = list(reader.introduced(None, tip))
    expected = [(first, manifest_of("a")), (second, manifest_of("b")), (third, manifest_of("a"))]
    assert [(each.commit, each.path) for each in found] == expected
    assert {each.time for each in found} == {int(NOON.timestamp())}
    assert [content for _, content in reader.read_blobs(each.blob for each in found)] == [
        dict(run_files(name, content))[manifest_of(name)] for name, content in [("a", "one"), ("b", ""), ("a", "two")]
    ]
    assert list(reader.introduced(second, tip)) == found[2:]
    assert list(reader.introduced(tip, tip)) == []


def test_a_merge_brings_only_what_no_parent_had(archive: Repository, repo: Path) -> None:
    writer, reader = Writer(archive), Reader(archive)
    base = writer.update(saves("a", "base"))
    git(repo, "branch", "side", base)
    ours = writer.update(saves("a", "ours"))
    theirs = Writer(Repository.find(repo, "side")).update(saves("a", "theirs"))
    both = Writer(archive).update(saves("a", "both"))
    tree = git(repo, "rev-parse", f"{both}^{{tree}}").strip()
    merge = git(repo, "commit-tree", "-p", ours, "-p", theirs, "-m", "merge", tree).strip()
    taken = git(repo, "commit-tree", "-p", merge, "-p", theirs, "-m", "again", f"{theirs}^{{tree}}").strip()
    brought = [each.commit for each in reader.introduced(None, taken)]
    assert brought[0] == base
    assert sorted(brought[1:3]) == sorted([ours, theirs])
    assert brought[3:] == [merge]


def test_blobs_come_in_the_order_asked_and_missing_ones_are_left_out(archive: Repository) -> None:
    commit = Writer(archive).update(
        lambda _: Edit([(f"f/{n}", b"%d\n" % n * n) for n in range(700)], "m", ADA, NOON, bulk=True)
    )
    reader = Reader(archive)
    ids = [blob for path, blob in reader.changed_files(None, commit) if path.startswith("f/")]
    asked = [*ids, "0" * 40, commit, *reversed(ids)]
    assert [blob for blob, _ in reader.read_blobs(asked)] == [*ids, *reversed(ids)]
    for blob, content in reader.read_blobs(iter(asked)):
        assert blob == ids[0]
        assert content == b""
        break  # leaving early must not hang or leave a process


def test_files_of_a_commit(archive: Repository) -> None:
    commit = Writer(archive).update(saves("a"))
    reader = Reader(archive)
    assert reader.read_file(commit, manifest_of("a")) == dict(run_files("a"))[manifest_of("a")]
    assert reader.read_file(commit, run_path("a")) is None
    assert reader.read_file(commit, "no/such\nfile") is None
    assert reader.read_file(FIRST_COMMIT, manifest_of("a")) is None
    assert reader.read_run(commit, run_path("b")) == {}
    assert reader.read_files(commit, ["runvault.json", "x"]) == {"runvault.json": b'{"format": 1}\n'}
    blob = reader.blob_of(commit, manifest_of("a"))
    assert [content for _, content in reader.read_blobs([blob])] == [dict(run_files("a"))[manifest_of("a")]]
    assert reader.blob_of(commit, "x") is None


@pytest.mark.parametrize("text", ["", "-x", "--all", "0" * 40, "no\nsuch", "a\0b", "@{-1}", "^", "zzzz"])
def test_what_names_no_commit_resolves_to_none(archive: Repository, text: str) -> None:
    assert Reader(archive).resolve_commit(text) is None


def test_a_prefix_resolves_to_its_commit(archive: Repository) -> None:
    assert Reader(archive).resolve_commit(FIRST_COMMIT[:7]) == FIRST_COMMIT


def test_ancestors(archive: Repository) -> None:
    commit = Writer(archive).update(saves("a"))
    reader = Reader(archive)
    assert [reader.is_ancestor(FIRST_COMMIT, commit), reader.is_ancestor(commit, commit)] == [True, True]
    assert [reader.is_ancestor(commit, FIRST_COMMIT), reader.is_ancestor("0" * 40, commit)] == [False, False]


def test_two_commits_have_the_same_at_a_path(archive: Repository) -> None:
    writer, reader = Writer(archive), Reader(archive)
    first, second = writer.update(saves("a")), writer.update(saves("b"))
    third = writer.update(saves("a", "two"))
    early, late = (first, second), (second, third)
    asked = [(early, "a"), (late, "a"), (early, "b"), (late, "b"), ((third, third), "c")]
    assert [reader.is_same(*commits, run_path(name)) for commits, name in asked] == [True, False, False, True, True]
    assert not reader.is_same("0" * 40, third, run_path("c"))
    assert not reader.is_same("--all", third, run_path("c"))


def test_the_log_has_subjects_and_trailers(archive: Repository) -> None:
    writer = Writer(archive)
    message = 'sweep: ünïcode | "x"\n\nA body: with a colon.\n\nRun: one\nRun: two\nStrategy: dual\nKind: sweep'
    first = writer.update(lambda _: Edit(run_files("a"), message, ADA, NOON))
    second = writer.update(saves("b"))
    reader = Reader(archive)
    entries = list(reader.log(second))
    assert [entry.commit for entry in entries] == [second, first, FIRST_COMMIT]
    assert entries[1].subject == 'sweep: ünïcode | "x"'
    assert (entries[1].kind, entries[1].runs, entries[1].values("Strategy")) == ("sweep", ["one", "two"], ["dual"])
    assert (entries[1].author, entries[1].email, entries[1].time, entries[1].parents) == (
        ADA.name,
        ADA.email,
        NOON,
        (FIRST_COMMIT,),
    )
    assert (entries[2].kind, entries[2].runs) == (None, [])
    assert [entry.commit for entry in reader.log(second, 1)] == [second]
    assert [entry.commit for entry in reader.log(second, path=run_path("a"))] == [first]


def test_a_failure_of_git_is_ours(archive: Repository) -> None:
    with pytest.raises(RunvaultError, match="git ls-tree failed"):
        list(Reader(archive).changed_files(None, "0" * 40))
    with pytest.raises(RunvaultError, match="git log failed"):
        list(Reader(archive).log("0" * 40))


def test_the_reader_is_an_archive_source(archive: Repository) -> None:
    source: ArchiveSource = Reader(archive)
    assert list(source.introduced(None, FIRST_COMMIT)) == []


def test_diff_stat_of_the_users_code(repo: Path) -> None:
    old = git(repo, "rev-parse", "HEAD").strip()
    (repo / "strategy.py").write_text("FAST = 20\n")
    git(repo, "commit", "--quiet", "--all", "--message", "faster")
    new = git(repo, "rev-parse", "HEAD").strip()
    reader = Reader(Repository.find(repo))
    assert "strategy.py | 2 +-" in (reader.diff_stat(old, new) or "")
    assert reader.diff_stat(old, "0" * 40) is None
    assert reader.diff_stat("--output=x", new) is None


def test_code_state_follows_tracked_files_alone(repo: Path, tmp_path: Path) -> None:
    head = git(repo, "rev-parse", "HEAD").strip()
    index = (repo / ".git" / "index").stat().st_mtime_ns
    repository = Repository.find(repo)
    assert repository.head() == head
    (repo / "notes.txt").write_text("untracked\n")
    assert code_of(repository, head) == {"commit": head, "base": None, "branch": "main", "dirty": False}
    (repo / "strategy.py").write_text("FAST = 11\n")
    assert code_of(repository, head)["dirty"] is True
    assert (repo / ".git" / "index").stat().st_mtime_ns == index
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    linked = Repository.find(tmp_path / "linked")
    assert linked.head() == head
    assert code_of(linked, head) == {"commit": head, "base": None, "branch": None, "dirty": False}


def test_the_head_of_an_unborn_branch_and_of_a_bare_repository(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "unborn")
    unborn = Repository.find(tmp_path / "unborn")
    assert unborn.head() is None
    assert code_of(unborn, None) == {"commit": None, "base": None, "branch": "main", "dirty": False}
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    bare = Repository.find(tmp_path / "bare.git")
    assert bare.head() == git(repo, "rev-parse", "HEAD").strip()
    assert code_of(bare, bare.head())["dirty"] is None
    git(repo, "pack-refs", "--all")
    assert Repository.find(repo).head() == bare.head()


def test_the_tip_is_found_loose_and_packed(archive: Repository, repo: Path) -> None:
    loose = archive.tip()
    git(repo, "pack-refs", "--all")
    assert archive.tip() == loose == FIRST_COMMIT
    git(repo, "update-ref", "-d", "refs/heads/runvault")
    assert archive.tip() is None


def test_settings_come_from_git_config(repo: Path) -> None:
    git(repo, "config", "runvault.periodsPerYear", "252")
    git(repo, "config", "runvault.pickles", "none")
    repository = Repository.find(repo)
    assert repository.setting("periodsPerYear") == "252"
    assert repository.setting("branch") is None


@pytest.mark.parametrize("where", [".", "sub/folder"])
def test_the_repository_is_found_from_below(repo: Path, where: str) -> None:
    (repo / "sub" / "folder").mkdir(parents=True)
    found = Repository.find(repo / where)
    assert (found.work_tree, found.common_dir) == (repo.resolve(), (repo / ".git").resolve())


def test_git_dir_is_honoured(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(repo / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repo))
    found = Repository.find(tmp_path)
    assert (found.common_dir, found.work_tree) == ((repo / ".git").resolve(), repo.resolve())
    archive_in(tmp_path)
    assert edit_of("a").message.startswith("save")
    assert Writer(found).update(saves("a")) == found.tip()


@pytest.mark.parametrize("place", ["configured", "named", "named from below"])
def test_a_checkout_may_lie_anywhere(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    git(repo, "clone", "--quiet", "--no-checkout", str(repo), str(tmp_path / "other"))
    root = tmp_path / "there"
    (root / "sub").mkdir(parents=True)
    start = {"configured": tmp_path / "other", "named": root, "named from below": root / "sub"}[place]
    if place == "configured":
        git(start, "config", "core.worktree", str(root))
    else:
        monkeypatch.setenv("GIT_DIR", os.path.relpath(tmp_path / "other" / ".git", start))
        monkeypatch.setenv("GIT_WORK_TREE", os.path.relpath(root, start))
    monkeypatch.chdir(start)
    git(start, "checkout", "--quiet", "--force", "main")
    (root / "strategy.py").write_text("FAST = 20\n")
    (root / "new.py").write_text("")

    found = Repository.find(start)
    assert found.work_tree == root.resolve()
    assert code_of(found, found.head())["dirty"]
    assert untracked_files(found, "*.py") == ["new.py"]
    kept = take_snapshot(found, ["new.py"])
    assert git(start, "show", f"{kept.commit}:strategy.py").strip() == "FAST = 20"
    assert git(start, "ls-tree", "--full-tree", "--name-only", kept.commit).split() == ["new.py", "strategy.py"]


@pytest.fixture(params=[False, True], ids=["program", "library"])
def loaded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Say whether this process has libgit2 loaded, as one that saves has."""
    if not request.param:
        monkeypatch.delitem(sys.modules, "pygit2")
    return request.param


Told: TypeAlias = tuple[bool, list[FileChange], list[Introduced]]


def told_of(repository: Repository, pairs: list[tuple[str, str]]) -> list[Told]:
    def told(reader: Reader, old: str, new: str) -> Told:
        changes = sorted(reader.changed_files(old, new))
        assert dict(reader.read_blobs([blob for _, blob in changes if blob])) is not None
        return reader.is_ancestor(old, new), changes, list(reader.introduced(old, new))

    return [told(Reader(repository), old, new) for old, new in pairs]


def straight(repository: Repository, pairs: list[tuple[str, str]]) -> int:
    return sum(Reader(repository)._advance(old, new) is not None for old, new in pairs)


@pytest.mark.usefixtures("loaded")
def test_a_short_straight_way_is_told_as_long_ones_are(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the objects of a few commits in a row tell is what git's own programs tell of any two."""
    repository = archive_in(repo)
    tips = [repository.tip()]
    for number, files in enumerate(
        [
            {"runs/aa/x/manifest.json": b"1", "runs/aa/x/stats.parquet": b"s"},
            {"runs/aa/x/manifest.json": b"2", "runs/bb/y/manifest.json": b"3"},
            {"runs/aa/x/manifest.json": None, "note": b"n"},
        ]
    ):
        edit = Edit(tuple(files.items()), f"{number}\n", ADA, NOON)
        tips.append(Writer(repository).update(lambda _, edit=edit: edit))
    pairs = [(old, new) for old in tips for new in tips]
    assert straight(repository, pairs) == 10
    short = told_of(repository, pairs)
    monkeypatch.setattr(reading.Reader, "_read_advance", lambda *_: None)
    assert short == told_of(repository, pairs)


ODD_CHANGES = [
    "M 100644 inline runs/aa/x/manifest.json\ndata 1\n1\nM 100644 inline runs/aa/x/a-b\ndata 1\n1",
    "M 100755 inline runs/aa/x/manifest.json\ndata 1\n5",
    "M 120000 inline runs/aa/x/manifest.json\ndata 1\n6",
    "D runs/aa/x/manifest.json\nM 100644 inline runs/aa/x/manifest.json/deep\ndata 1\n2",
    "D runs/aa/x/manifest.json/deep\nM 160000 1234567890123456789012345678901234567890 runs/aa/x/manifest.json",
    'D runs/aa/x\nM 100644 inline "runs/\\377\\n/y/manifest.json"\ndata 1\n3\nM 100644 inline x\ndata 0\n',
    "",
    "D runs",
]


@pytest.mark.usefixtures("loaded")
def test_odd_changes_are_told_as_git_tells_them(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    stream = "".join(
        f"commit refs/heads/odd\nmark :{number + 2}\ncommitter Ä <a@b> {number}00 +0200\ndata 0\n"
        f"from {f':{number + 1}' if number else FIRST_COMMIT}\n{change}\n"
        for number, change in enumerate(ODD_CHANGES)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo, input=stream.encode(), check=True)
    tips = git(repo, "rev-list", "--reverse", "odd").split()
    pairs = list(combinations(tips, 2))
    assert straight(repository, pairs) == len(pairs)
    short = told_of(repository, pairs)
    monkeypatch.setattr(reading.Reader, "_read_advance", lambda *_: None)
    assert short == told_of(repository, pairs)


def tree(*entries: bytes) -> bytes:
    return b"".join(entries)


def entry(mode: bytes, name: bytes, blob: str) -> bytes:
    return mode + b" " + name + b"\0" + bytes.fromhex(blob)


ONE, OTHER = "1" * 40, "2" * 40
STRANGE = {
    "a broken tree": tree(entry(b"100644", b"x", ONE), b"100644 y"),
    "a name twice": tree(entry(b"100644", b"x", ONE), entry(b"100644", b"x", OTHER)),
    "a mode of old": tree(entry(b"100664", b"x", ONE)),
    "a mode with a zero": tree(entry(b"040000", b"x", ONE)),
    "a folder that is not there": tree(entry(b"40000", b"x", ONE)),
}
COMMIT = "tree {}\n{}author A <a> 1 +0000\ncommitter {} 1 +0000\n\nm\n"


@pytest.mark.parametrize("kind", STRANGE)
def test_objects_that_git_does_not_write_are_left_to_git(kind: str) -> None:
    objects = {
        "a" * 40: ("tree", b""),
        "b" * 40: ("tree", STRANGE[kind]),
        "c" * 40: ("commit", COMMIT.format("a" * 40, "", "A <a>").encode()),
        "d" * 40: ("commit", COMMIT.format("b" * 40, f"parent {'c' * 40}\n", "A <a>").encode()),
        "e" * 40: ("commit", COMMIT.format("a" * 40, f"parent {'c' * 40}\n", "nobody").encode()),
        "f" * 40: ("blob", b""),
    }

    def read(names: Iterable[str]) -> dict[str, tuple[str, bytes]]:
        return {name: objects[name] for name in names if name in objects}

    for new in "def0":
        with pytest.raises(UnusualError):
            read_advance(read, "c" * 40, new * 40)
    assert read_advance(read, "d" * 40, "d" * 40) == Advance(())


def test_a_way_that_changes_very_many_folders_is_left_to_git(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = archive_in(repo)
    first = repository.tip()
    tip = Writer(repository).update(lambda _: Edit([*run_files("a"), *run_files("b")], "two\n", ADA, NOON))
    assert straight(repository, [(first, tip)]) == 1
    monkeypatch.setattr(advance, "MOST_FOLDERS", 1)
    assert straight(repository, [(first, tip)]) == 0


def test_a_long_way_is_left_to_git(repo: Path) -> None:
    repository = archive_in(repo)
    stream = f"reset refs/heads/long\nfrom {FIRST_COMMIT}\n\n" + "".join(
        f"commit refs/heads/long\ncommitter A <a@b> {number} +0000\ndata 0\n" for number in range(MOST_COMMITS + 1)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo, input=stream.encode(), check=True)
    first, *_, last, tip = git(repo, "rev-list", "--reverse", "long").split()
    assert straight(repository, [(first, last), (first, tip)]) == 1
    assert Reader(repository).is_ancestor(first, tip)
