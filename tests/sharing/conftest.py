"""Two people, a bare Git remote and a folder as the DVC remote."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import git
from team import Team, name_storage

import runvault as rv


@pytest.fixture
def team(tmp_path: Path, repo: Path) -> Team:
    """Ada's repository with an archive, a bare remote, and a DVC remote that the checkout's configuration names."""
    origin, storage = tmp_path / "origin.git", tmp_path / "storage"
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    git(repo, "remote", "add", "origin", str(origin))
    vault = rv.init(repo)
    name_storage(repo, storage)
    git(repo, "add", ".dvc", ".dvcignore")
    git(repo, "commit", "--quiet", "--message", "dvc: a remote")
    git(repo, "push", "--quiet", "origin", "main")
    return Team(origin, storage, vault, tmp_path)
