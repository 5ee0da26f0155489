"""A commit may hold anything: writing it out runs nothing, leads nowhere else, and leaves the user's checkout alone."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import git

from runvault.errors import ReplayError
from runvault.stores.git.code import blob_at, blob_of_file, describe_code
from runvault.stores.git.owncode import is_own_code
from runvault.stores.git.repository import Repository
from runvault.stores.git.snapshots import take_snapshot
from runvault.stores.git.worktrees import temporary_worktree

HOOKS = (
    "post-checkout",
    "post-index-change",
    "reference-transaction",
    "post-commit",
    "pre-commit",
    "fsmonitor-watchman",
    "pre-auto-gc",
)


pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """Return a file that exists as soon as anything of the commit or of the configuration has run."""
    return tmp_path / "ran"


HOSTILE_FILES = {
    ".gitattributes": (
        "*.py filter=evil\n*.proc filter=evilprocess\n*.crlf text eol=crlf\n*.id ident\n*.sub export-subst\n"
        "*.u16 text working-tree-encoding=UTF-16LE\n*.not export-ignore\n*.d diff=evil\n"
    ),
    "sitecustomize.py": "open({sentinel!r}, 'w')\n",
    "conftest.py": "open({sentinel!r}, 'w')\n",
    "a.proc": "a\n",
    "a.crlf": "a\nb\n",
    "a.id": "$Id$\n",
    "a.sub": "$Format:%H$\n",
    "a.u16": "plain\n",
    "a.not": "here\n",
    "a.d": "d\n",
}


@pytest.fixture
def hostile(repo: Path, tmp_path: Path, sentinel: Path) -> str:
    """Return a commit with everything in it that git would act on, in a repository that is configured to."""
    inner = tmp_path / "inner"
    git(tmp_path, "clone", "--quiet", str(repo), str(inner))
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    for name, text in HOSTILE_FILES.items():
        (repo / name).write_text(text.format(sentinel=str(sentinel)) if "{" in text else text)
    (repo / "passwd").symlink_to("/etc/passwd")
    (repo / "up").symlink_to("..")
    git(repo, "-c", "core.attributesFile=/dev/null", "add", "--all")
    git(repo, "commit", "--quiet", "--message", "hostile")
    touch = f"touch '{sentinel}'"
    for hook in HOOKS:
        place = repo / ".git" / "hooks" / hook
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/bin/sh\n{touch}\n")
        place.chmod(0o755)
    for driver in ("evil", "evilprocess"):
        for what in ("clean", "smudge") if driver == "evil" else ("process",):
            git(repo, "config", f"filter.{driver}.{what}", f"{touch}; cat")
        git(repo, "config", f"filter.{driver}.required", "true")
    git(repo, "config", "diff.evil.command", touch)
    git(repo, "config", "diff.evil.textconv", touch)
    git(repo, "config", "diff.external", touch)
    git(repo, "config", "core.fsmonitor", str(repo / ".git" / "hooks" / "fsmonitor-watchman"))
    git(repo, "config", "core.autocrlf", "true")
    git(repo, "config", "submodule.recurse", "true")
    sentinel.unlink(missing_ok=True)
    return git(repo, "rev-parse", "HEAD").strip()


def test_nothing_runs_and_every_byte_is_the_blob(repo: Path, hostile: str, sentinel: Path) -> None:
    repository = Repository.find(repo)
    lines = git(repo, "ls-tree", "-r", "-z", hostile).split("\0")[:-1]
    entries = {line.split("\t")[1]: line.split("\t")[0].split(" ") for line in lines}
    with temporary_worktree(repository, hostile) as place:
        for path, (mode, _, blob) in entries.items():
            written = place / path
            assert not written.is_symlink()
            if mode == "160000":
                assert list(written.iterdir()) == []
            else:
                raw = subprocess.run(["git", "cat-file", "blob", blob], cwd=repo, check=True, capture_output=True)
                assert written.read_bytes() == raw.stdout
        assert {"passwd", "up", "sub", "a.not"} <= entries.keys()
        assert (place / "passwd").read_text() == "/etc/passwd"
        assert (place / "a.id").read_text() == "$Id$\n"
        assert not sentinel.exists()
        # The configuration is the user's own, but a status of untouched files has no reason to start a filter.
        plain = ["-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.symlinks=false"]
        assert git(place, *plain, "status", "--porcelain", "--ignore-submodules") == ""
    assert not sentinel.exists()


def test_looking_at_foreign_code_runs_nothing(repo: Path, hostile: str, sentinel: Path) -> None:
    repository = Repository.find(repo)
    assert "hostile" in describe_code(repository, hostile)
    assert blob_at(repository, hostile, ["conftest.py", "sub", "passwd"]).keys() == {"conftest.py", "passwd"}
    assert is_own_code(repository, hostile)
    assert not sentinel.exists()


def test_a_snapshot_runs_no_hook(repo: Path, hostile: str, sentinel: Path) -> None:
    for driver in ("evil", "evilprocess"):  # git's own status asks the user's filters
        git(repo, "config", "--remove-section", f"filter.{driver}")
    (repo / "a.d").write_text("changed\n")
    made = take_snapshot(Repository.find(repo), every_untracked=True)
    assert made.base == hostile != made.commit
    assert blob_at(Repository.find(repo), made.commit, ["a.d"]) == {"a.d": blob_of_file(repo / "a.d")}
    assert not sentinel.exists()


def tree_of(repo: Path, *entries: tuple[str, bytes, str]) -> str:
    """Store a tree that git itself would not make."""
    raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(blob) for mode, name, blob in entries)
    args = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    return subprocess.run(args, cwd=repo, check=True, capture_output=True, input=raw).stdout.decode().strip()


def blob_of(repo: Path, text: bytes = b"x\n") -> str:
    args = ["git", "hash-object", "-w", "--stdin"]
    return subprocess.run(args, cwd=repo, check=True, capture_output=True, input=text).stdout.decode().strip()


UNSAFE = [
    b".git",
    b".GIT",
    b".Git",
    b"git~1",
    b"GIT~2",
    b".git ",
    b".git.",
    b".git. .",
    b".git::$INDEX_ALLOCATION",
    ".g\u200cit".encode(),
    "\ufeff.git".encode(),
    b".",
    b"..",
    b"../up.py",
    b"a/../../up.py",
    b"/etc/x",
    b"a//b",
    b"a/.git/hooks/x",
]


@pytest.mark.parametrize("name", UNSAFE, ids=repr)
@pytest.mark.parametrize("deep", [False, True], ids=["top", "deep"])
def test_a_path_that_leads_elsewhere_is_refused(
    repo: Path, temporary: Path, tmp_path: Path, name: bytes, deep: bool
) -> None:
    tree = tree_of(repo, ("100644", name, blob_of(repo)))
    if deep:
        tree = tree_of(repo, ("40000", b"deep", tree))
    commit = git(repo, "commit-tree", "-m", "hostile", tree).strip()
    before = {path for path in tmp_path.rglob("*") if ".git" not in path.parts}
    with (
        pytest.raises(ReplayError, match="a path that no checkout may have"),
        temporary_worktree(Repository.find(repo), commit),
    ):
        pass
    assert {path for path in tmp_path.rglob("*") if ".git" not in path.parts} == before
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", [b".gitignore", b".github", b".git-x", b"git~", b"agit~1", b"...", b"a.git", b"..a"])
def test_a_path_that_only_looks_like_one_is_written(repo: Path, name: bytes) -> None:
    commit = git(repo, "commit-tree", "-m", "x", tree_of(repo, ("100644", name, blob_of(repo)))).strip()
    with temporary_worktree(Repository.find(repo), commit) as place:
        assert (place / os.fsdecode(name)).read_text() == "x\n"


LINKS = {
    "inside": "a.id",
    "deep/inside": "../a.id",
    "deep/sub/folder": "../../deep",
    "deep/dangling": "nothing",
    "outside": "../elsewhere",
    "deep/outside": "../../elsewhere",
    "absolute": "/etc",
    "git": ".git",
    "git_too": "GIT~1/config",
    "own": "../repo/a.id",
    "behind": "deep/../../elsewhere",
    "here": ".",
}


def test_links_that_stay_inside_are_links_and_no_others(repo: Path) -> None:
    (repo / "a.id").write_text("a file\n")
    for name, target in LINKS.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).symlink_to(target)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "links")
    with temporary_worktree(Repository.find(repo), git(repo, "rev-parse", "HEAD").strip()) as place:
        made = {name for name in LINKS if (place / name).is_symlink()}
        assert made == {"inside", "deep/inside", "deep/sub/folder", "deep/dangling"}
        assert (place / "deep/sub/folder/inside").read_text() == "a file\n"
        assert {name: (place / name).read_text() for name in LINKS.keys() - made} == {
            name: target for name, target in LINKS.items() if name not in made
        }
        changed = git(place, "status", "--porcelain").splitlines()
        assert {line[3:] for line in changed} == {name for name in LINKS if name not in made}


def test_links_behind_links_lead_nowhere_else(repo: Path) -> None:
    """Each of these is inside by itself; what one leads to, another may not leave."""
    for name, target in {"a/b/up": "../..", "a/chain": "b/up", "twice": "a/chain/a/chain"}.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).symlink_to(target)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "links")
    with temporary_worktree(Repository.find(repo), git(repo, "rev-parse", "HEAD").strip()) as place:
        found = {(place / name).resolve() for name in ("a/b/up", "a/chain", "twice")}
        assert found == {place.resolve()}


def test_a_link_and_a_folder_of_one_name_write_nothing_elsewhere(repo: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = blob_of(repo, bytes(elsewhere))
    below = tree_of(repo, ("100644", b"x.py", blob_of(repo)))
    tree = tree_of(repo, ("120000", b"a", link), ("40000", b"a", below))
    commit = git(repo, "commit-tree", "-m", "hostile", tree).strip()
    with pytest.raises(ReplayError, match="cannot write"), temporary_worktree(Repository.find(repo), commit):
        pass
    twice = tree_of(repo, ("100644", b"a", link), ("100644", b"a", link))
    commit = git(repo, "commit-tree", "-m", "hostile", twice).strip()
    with pytest.raises(ReplayError, match="cannot write"), temporary_worktree(Repository.find(repo), commit):
        pass
    assert list(elsewhere.iterdir()) == []


# A process that holds a worktree until it is told otherwise.
CHILD = """
import sys, time
from pathlib import Path
from runvault.stores.git.repository import Repository
from runvault.stores.git.worktrees import temporary_worktree
with temporary_worktree(Repository.find(Path(sys.argv[1])), sys.argv[2]) as place:
    print(place, flush=True)
    time.sleep(60)
"""


def holder(repo: Path) -> tuple[subprocess.Popen[str], Path]:
    commit = git(repo, "rev-parse", "HEAD").strip()
    argv = [sys.executable, "-c", CHILD, str(repo), commit]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout
    with child.stdout:
        return child, Path(child.stdout.readline().strip())


def test_ctrl_c_leaves_nothing(repo: Path, temporary: Path) -> None:
    child, place = holder(repo)
    assert (place / "strategy.py").is_file()
    child.send_signal(signal.SIGINT)
    assert child.wait(30) != 0
    assert list(temporary.iterdir()) == []


def test_the_next_start_removes_what_kill_9_left_and_nothing_else(repo: Path, temporary: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD").strip()
    killed, left = holder(repo)
    living, kept = holder(repo)
    try:
        killed.kill()
        killed.wait(30)
        assert (left / "strategy.py").is_file()
        with temporary_worktree(Repository.find(repo), commit) as place:
            assert not left.parent.exists()
            assert (kept / "strategy.py").is_file()
            names = {kept.parent.name, place.parent.name}
            assert {path.name for path in temporary.iterdir()} == names | {f"{name}.lock" for name in names}
    finally:
        living.send_signal(signal.SIGINT)
        living.wait(30)
    assert list(temporary.iterdir()) == []


def test_nothing_of_others_is_removed(repo: Path, temporary: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("1\n")
    (temporary / "runvault-code-x").symlink_to(precious)
    (temporary / "runvault-code-x.lock").touch()
    (temporary / "runvault-code-y.lock").symlink_to(precious / "file")
    (temporary / "runvault-code-z").mkdir()
    with temporary_worktree(Repository.find(repo), git(repo, "rev-parse", "HEAD").strip()):
        pass
    assert (precious / "file").read_text() == "1\n"
    assert (temporary / "runvault-code-z").is_dir()


def dirty(repo: Path) -> Path:
    (repo / "strategy.py").write_text("FAST = 12\n")
    (repo / "new.py").write_text("x = 1\n")
    git(repo, "add", "new.py")
    (repo / "new.py").write_text("x = 2\n")
    (repo / "untracked.py").write_text("y = 1\n")
    return repo


def detached(repo: Path) -> Path:
    git(repo, "checkout", "--quiet", "--detach", "HEAD")
    return dirty(repo)


def merging(repo: Path) -> Path:
    git(repo, "checkout", "--quiet", "-b", "side")
    (repo / "strategy.py").write_text("FAST = 30\n")
    git(repo, "commit", "--quiet", "--all", "--message", "side")
    git(repo, "checkout", "--quiet", "main")
    (repo / "strategy.py").write_text("FAST = 40\n")
    git(repo, "commit", "--quiet", "--all", "--message", "main")
    git(repo, "merge", "--quiet", "side", check=False)
    assert (repo / ".git" / "MERGE_HEAD").exists()
    return repo


def linked(repo: Path) -> Path:
    place = repo.parent / "linked"
    git(repo, "worktree", "add", "--quiet", "-b", "feature", str(place))
    return dirty(place)


def unborn(repo: Path) -> Path:
    git(repo, "checkout", "--quiet", "--orphan", "fresh")
    return dirty(repo)


def split_index(repo: Path) -> Path:
    git(repo, "update-index", "--split-index")
    return dirty(repo)


def touched(repo: Path) -> Path:
    os.utime(repo / "strategy.py", (1, 1))
    return repo


def without_index(repo: Path) -> Path:
    (repo / ".git" / "index").unlink()
    return repo


STATES = [dirty, detached, merging, linked, unborn, split_index, touched, without_index]


def fingerprint(root: Path, ignored: tuple[str, ...]) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of change and content of every file, and mode of every folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        state = path.lstat()
        if name.startswith(ignored):
            continue
        if path.is_file():
            found[name] = (state.st_mode, state.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        else:
            found[name] = (state.st_mode, 0, "")
    return found


OURS = ("repo/.git/objects", "repo/.git/runvault", "repo/.git/refs/runvault", "temporary")


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_snapshots_and_worktrees_leave_the_checkout_as_it_was(
    repo: Path, tmp_path: Path, state: Callable[[Path], Path]
) -> None:
    (repo / "strategy.py").write_text("FAST = 99\n")
    git(repo, "stash", "--quiet")
    place = state(repo)
    # The base of a split index is given a new time whenever git reads it, by a plain status too.
    ours = (*OURS, "repo/.git/sharedindex.")
    before = fingerprint(tmp_path, ours)
    repository = Repository.find(place)
    made = take_snapshot(repository, ["untracked.py", "strategy.py"])
    assert repository.work_tree is not None
    assert blob_at(repository, made.commit, ["strategy.py"]) == {
        "strategy.py": blob_of_file(repository.work_tree / "strategy.py")
    }
    assert is_own_code(repository, made.commit)
    assert describe_code(repository, made.commit)
    with temporary_worktree(repository, made.commit) as code:
        found = {path.name: path.read_bytes() for path in code.glob("*.py")}
        assert found == {path.name: path.read_bytes() for path in place.glob("*.py")}
        assert fingerprint(tmp_path, ours) == before
    assert fingerprint(tmp_path, ours) == before
    refs = git(repo, "for-each-ref", "--format=%(refname)", "refs/runvault").split()
    assert refs == [f"refs/runvault/code/{made.commit}"]
    assert git(repo, "stash", "list").count("\n") == 1


def test_a_worktree_writes_nothing_to_the_repository(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD").strip()
    before = fingerprint(tmp_path, ("temporary",))
    with temporary_worktree(Repository.find(repo), commit):
        assert fingerprint(tmp_path, ("temporary",)) == before
    assert fingerprint(tmp_path, ("temporary",)) == before
