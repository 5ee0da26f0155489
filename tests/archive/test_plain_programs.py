"""An archive is an ordinary branch: plain git and plain dvc, the real programs, read all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine import git
from results import make_result

import runvault as rv

DVC = Path(sys.executable).with_name("dvc")


def dvc(path: Path, *args: str) -> str:
    done = subprocess.run([DVC, *args], cwd=path, env=os.environ.copy(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run(vault: rv.Vault) -> rv.Run:
    return vault.save(make_result(dump=b"the engine's own"), strategy="s", params={"fast": 10}).run


def folder_of(run: rv.Run) -> str:
    return f"runs/{run.id[:2]}/{run.id}"


def test_git_finds_nothing_wrong(vault: rv.Vault, repo: Path, run: rv.Run) -> None:
    done = subprocess.run(["git", "fsck", "--strict", "--full"], cwd=repo, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "error" not in done.stderr + done.stdout


def test_dvc_gets_and_lists_from_the_branch(repo: Path, run: rv.Run, tmp_path: Path) -> None:
    out = tmp_path / "got.pkl"
    dvc(repo, "get", ".", f"{folder_of(run)}/portfolio.pkl", "--rev", "runvault", "--out", str(out))
    assert out.read_bytes() == b"the engine's own"

    listed = dvc(repo, "list", ".", folder_of(run), "--rev", "runvault").split()
    assert {"manifest.json", "stats.parquet", "portfolio.pkl", "orders.parquet"} <= set(listed)


def test_dvc_opens_an_artifact_from_python(repo: Path, run: rv.Run) -> None:
    code = (
        "import sys, dvc.api\n"
        "with dvc.api.open(sys.argv[1], repo='.', rev='runvault', mode='rb') as file: print(file.read())"
    )
    args = [sys.executable, "-c", code, f"{folder_of(run)}/portfolio.pkl"]
    done = subprocess.run(args, cwd=repo, env=os.environ.copy(), capture_output=True, text=True, check=True)
    assert "the engine's own" in done.stdout


def test_a_clone_of_the_branch_pulls_what_was_pushed(repo: Path, run: rv.Run, tmp_path: Path) -> None:
    """`dvc push -a`, then `git clone -b runvault` and `dvc pull`, with a folder as the remote."""
    # --local: DVC takes the configuration of the branch it visits, and the archive has no remote in its own
    dvc(repo, "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    dvc(repo, "push", "-a")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch", "runvault", str(repo), str(clone))
    dvc(clone, "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    dvc(clone, "pull")

    folder = clone / folder_of(run)
    assert (folder / "portfolio.pkl").read_bytes() == b"the engine's own"
    assert (folder / "equity.parquet").is_file()
    assert git(clone, "status", "--porcelain") == ""


def test_two_archives_made_apart_merge_with_plain_git(repo: Path, vault: rv.Vault, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    ours = vault.save(make_result(0.1), strategy="ours").id
    theirs = rv.init(other).save(make_result(0.2), strategy="theirs").id
    work = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", "--branch", "runvault", str(repo), str(work))
    git(work, "fetch", "--quiet", str(other), "runvault")
    git(work, "merge", "--quiet", "--no-edit", "FETCH_HEAD")

    assert {run.id for run in rv.open(work).list()} == {ours, theirs}
