from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from machine import git

from runvault.errors import ConfigError, RunvaultError, VaultNotFoundError
from runvault.stores.git.init import FIRST_COMMIT, check_writable, init_archive
from runvault.stores.git.repository import Repository


def test_the_first_commit_is_the_same_object_everywhere(repo: Path) -> None:
    assert init_archive(Repository.find(repo))
    assert git(repo, "rev-parse", "runvault").strip() == FIRST_COMMIT
    raw = git(repo, "cat-file", "commit", "runvault")
    assert raw.splitlines()[1:] == [
        "author runvault <runvault@localhost> 0 +0000",
        "committer runvault <runvault@localhost> 0 +0000",
        "",
        "runvault archive, format 1",
    ]
    listed = git(repo, "ls-tree", "-r", "--name-only", "runvault").split()
    assert listed == [".dvc/config", ".dvcignore", ".gitignore", "README.md", "runvault.json"]


def test_init_is_idempotent_and_leaves_a_reflog(repo: Path) -> None:
    repository = Repository.find(repo)
    assert [init_archive(repository), init_archive(repository)] == [True, False]
    assert git(repo, "reflog", "show", "--format=%H", "runvault").split() == [FIRST_COMMIT]


def test_archives_made_apart_merge_with_plain_git(repo: Path, tmp_path: Path) -> None:
    init_archive(Repository.find(repo))
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    init_archive(Repository.find(other))
    git(repo, "fetch", "--quiet", str(other), "runvault:theirs")
    assert git(repo, "merge-base", "runvault", "theirs").strip() == FIRST_COMMIT


def test_a_branch_that_holds_something_else_is_refused(repo: Path) -> None:
    git(repo, "branch", "runvault")
    with pytest.raises(RunvaultError, match="holds no archive"):
        init_archive(Repository.find(repo))


@pytest.mark.parametrize(
    "name",
    ["", "-x", "a..b", "a b", "a.lock", "a/.b", "/a", "a/", "@", "HEAD", "a@{b", "a\\b", "a*", "a\n", "a/-b", "a."],
)
def test_an_impossible_branch_name_is_refused(repo: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        Repository.find(repo, name)


@pytest.mark.parametrize("name", ["team/alpha", "Übung", "金庫", "a'b", "x#1"])
def test_any_other_branch_name_works(repo: Path, name: str) -> None:
    assert init_archive(Repository.find(repo, name))
    found = Repository.find(repo, name)
    assert found.found_tip == found.tip() == FIRST_COMMIT


def test_no_repository_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(VaultNotFoundError, match="no Git repository"):
        Repository.find(tmp_path)


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RunvaultError, match="there is no folder"):
        Repository.find(tmp_path / "nowhere")


def test_a_sha256_repository_is_refused_at_init(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    repository = Repository.find(tmp_path)
    with pytest.raises(RunvaultError, match="uses sha256 object ids"):
        init_archive(repository)
    assert repository.tip() is None


def test_a_partial_clone_is_refused_at_init(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", repo.as_uri(), str(clone))
    with pytest.raises(RunvaultError, match="partial clone"):
        init_archive(Repository.find(clone))


def test_a_reftable_repository_is_refused_at_init(tmp_path: Path) -> None:
    made = subprocess.run(["git", "init", "--quiet", "--ref-format=reftable", str(tmp_path)], capture_output=True)
    if made.returncode:
        pytest.skip("this git knows no reftable")
    with pytest.raises(RunvaultError, match="reftable"):
        init_archive(Repository.find(tmp_path))


def test_a_dirty_checkout_of_the_archive_is_an_error_at_opening(repo: Path, tmp_path: Path) -> None:
    repository = Repository.find(repo)
    init_archive(repository)
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "seen"), "runvault")
    check_writable(repository)
    (tmp_path / "seen" / "README.md").write_text("mine\n")
    with pytest.raises(RunvaultError, match="checked out with changes"):
        check_writable(repository)
