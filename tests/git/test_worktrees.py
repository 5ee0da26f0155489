from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from machine import git
from support import archive_in

from runvault.errors import ReplayError
from runvault.stores.git.repository import Repository
from runvault.stores.git.snapshots import take_snapshot
from runvault.stores.git.worktrees import PREFIX, remove_leftovers, temporary_worktree


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the worktrees a folder of their own, so that what is left can be counted."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path != folder / ".git"}


def commit_of(repo: Path) -> str:
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "more")
    return git(repo, "rev-parse", "HEAD").strip()


def test_files_are_those_of_the_commit_and_gone_afterwards(repo: Path, temporary: Path) -> None:
    (repo / "pkg").mkdir()
    (repo / "pkg" / "a b.py").write_text("1\n")
    (repo / "tool").write_text("#!/bin/sh\n")
    (repo / "tool").chmod(0o755)
    (repo / "empty").write_text("")
    commit = commit_of(repo)
    (repo / "strategy.py").write_text("changed since\n")
    with temporary_worktree(Repository.find(repo), commit) as place:
        assert files_in(place) == {
            "strategy.py": b"FAST = 10\n",
            "pkg/a b.py": b"1\n",
            "tool": b"#!/bin/sh\n",
            "empty": b"",
        }
        assert (place / "tool").stat().st_mode & 0o100
        assert not (place / "strategy.py").stat().st_mode & 0o100
    assert list(temporary.iterdir()) == []


def test_git_and_runvault_work_in_it(repo: Path) -> None:
    tip = archive_in(repo).tip()
    commit = commit_of(repo)
    with temporary_worktree(Repository.find(repo), commit) as place:
        assert git(place, "rev-parse", "HEAD").strip() == commit
        assert git(place, "rev-parse", "--show-toplevel").strip() == str(place.resolve())
        assert git(place, "status", "--porcelain") == ""
        inside = Repository.find(place)
        assert inside.tip() == tip
        assert inside.common_dir == Repository.find(repo).common_dir
        snapshot = take_snapshot(inside)
        assert (snapshot.commit, snapshot.branch, snapshot.dirty) == (commit, None, False)
        (place / "strategy.py").write_text("FAST = 11\n")
        assert git(place, "status", "--porcelain") == " M strategy.py\n"
    assert git(repo, "worktree", "list").count("\n") == 1


def test_only_chosen_paths_are_written(repo: Path) -> None:
    for name in ("pkg/a.py", "pkg/deep/b.py", "pkgs/c.py", "data.csv"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("1\n")
    commit = commit_of(repo)
    with temporary_worktree(Repository.find(repo), commit, ["pkg/", "./data.csv", "missing"]) as place:
        assert set(files_in(place)) == {"pkg/a.py", "pkg/deep/b.py", "data.csv"}
        assert git(place, "status", "--porcelain") == ""
    with temporary_worktree(Repository.find(repo), commit, []) as place:
        assert files_in(place) == {}
    with temporary_worktree(Repository.find(repo), commit, ["."]) as place:
        assert len(files_in(place)) == 5


def test_several_at_once(repo: Path, temporary: Path) -> None:
    first = commit_of(repo)
    (repo / "strategy.py").write_text("FAST = 20\n")
    second = commit_of(repo)
    repository = Repository.find(repo)
    with temporary_worktree(repository, first) as one, temporary_worktree(repository, second) as two:
        remove_leftovers()
        assert files_in(one) == {"strategy.py": b"FAST = 10\n"}
        assert files_in(two) == {"strategy.py": b"FAST = 20\n"}
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_gone_after_a_failure(repo: Path, temporary: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with temporary_worktree(Repository.find(repo), commit_of(repo)) as place:
            (place / "closed").mkdir()
            (place / "closed" / "file").write_text("1")
            (place / "closed").chmod(0o500)
            raise error

    with pytest.raises(error):
        fail()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("commit", ["0" * 40, "HEAD", "--help", ""])
def test_a_commit_that_is_not_here_is_told(repo: Path, temporary: Path, commit: str) -> None:
    with pytest.raises(ReplayError, match="there is no code"), temporary_worktree(Repository.find(repo), commit):
        pass
    assert list(temporary.iterdir()) == []


def test_a_missing_file_is_told(repo: Path, temporary: Path) -> None:
    commit = commit_of(repo)
    blob = git(repo, "rev-parse", "HEAD:strategy.py").strip()
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with (
        pytest.raises(ReplayError, match=r"'strategy\.py' is missing"),
        temporary_worktree(Repository.find(repo), commit),
    ):
        pass
    assert list(temporary.iterdir()) == []


def test_the_index_is_one_that_git_accepts(repo: Path) -> None:
    for number in range(40):  # every length of padding
        (repo / f"{'x' * number}.py").write_text(f"{number}\n")
    commit = commit_of(repo)
    with temporary_worktree(Repository.find(repo), commit, ["x.py"]) as place:
        assert git(place, "fsck", "--no-dangling", check=True) == ""
        assert git(place, "ls-files", "--stage") == git(repo, "ls-files", "--stage")
        tags = dict(reversed(line.split(" ", 1)) for line in git(place, "ls-files", "-t").splitlines())
        assert {path for path, tag in tags.items() if tag == "H"} == {"x.py"}
        assert git(place, "write-tree") == git(repo, "rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_bare_repository_with_an_odd_path_will_do(tmp_path: Path, object_format: str) -> None:
    source, bare = tmp_path / "source", tmp_path / "-odd\n ü.git"
    git(tmp_path, "init", "--quiet", f"--object-format={object_format}", str(source))
    (source / "a.py").write_text("1\n")
    commit = commit_of(source)
    git(tmp_path, "clone", "--quiet", "--bare", "--", str(source), str(bare))
    with temporary_worktree(Repository.find(bare), commit) as place:
        assert files_in(place) == {"a.py": b"1\n"}
        assert git(place, "status", "--porcelain") == ""
        assert Repository.find(place).common_dir == bare


def test_the_next_one_removes_what_a_dead_process_left(repo: Path, temporary: Path) -> None:
    left = temporary / f"{PREFIX}dead"
    (left / "code").mkdir(parents=True)
    (left / "code" / "x.py").write_text("1\n")
    Path(f"{left}.lock").touch()
    with temporary_worktree(Repository.find(repo), commit_of(repo)) as place:
        assert {path.name for path in temporary.iterdir()} == {place.parent.name, f"{place.parent.name}.lock"}
    assert subprocess.run(["git", "fsck"], cwd=repo, check=False, capture_output=True).returncode == 0


def test_without_a_place_for_temporary_files_it_is_told(repo: Path, temporary: Path) -> None:
    commit = commit_of(repo)
    temporary.rmdir()
    temporary.write_text("no folder")
    with pytest.raises(ReplayError, match="cannot write to"), temporary_worktree(Repository.find(repo), commit):
        pass
