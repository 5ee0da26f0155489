from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from machine import git
from support import ADA, NOON, archive_in, edit_of, run_files, saves

from runvault.errors import RunvaultError
from runvault.stores.git.edits import Edit
from runvault.stores.git.init import FIRST_COMMIT
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import Writer

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture
def signed(repo: Path, tmp_path: Path) -> Path:
    """Return a repository that signs its commits with an SSH key."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "allowed").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    for name, value in {
        "commit.gpgsign": "true",
        "gpg.format": "ssh",
        "user.signingkey": str(key),
        "gpg.ssh.allowedSignersFile": str(tmp_path / "allowed"),
    }.items():
        git(repo, "config", name, value)
    return repo


@needs_ssh
@pytest.mark.parametrize("bulk", [False, True])
def test_commits_are_signed_where_the_user_signs(signed: Path, bulk: bool) -> None:
    repository = archive_in(signed)
    assert repository.tip() == FIRST_COMMIT  # the same object everywhere, so nobody's signature is on it
    edit = Edit(run_files("a"), "save: ünï\n\nRun: a\n", ADA, NOON, bulk)
    commit = Writer(repository).update(lambda _: edit)
    assert git(signed, "log", "-1", "--format=%H %G? %GS", "runvault").strip() == f"{commit} G ada@example.org"
    assert git(signed, "log", "-1", "--format=%an <%ae> %at %ct|%B", "runvault").strip() == (
        f"Ada Quant <ada@example.org> {int(NOON.timestamp())} {int(NOON.timestamp())}|save: ünï\n\nRun: a"
    )
    git(signed, "fsck", "--strict")


@needs_ssh
def test_a_signer_that_fails_is_an_error_and_nothing_is_saved(signed: Path) -> None:
    repository = archive_in(signed)
    git(signed, "config", "user.signingkey", "/nowhere/key")
    with pytest.raises(RunvaultError, match="commit-tree failed"):
        Writer(Repository.find(signed)).update(saves("a"))
    assert repository.tip() == FIRST_COMMIT


def test_without_the_setting_nothing_is_signed(repo: Path) -> None:
    Writer(archive_in(repo)).update(lambda _: edit_of("a"))
    assert "gpgsig" not in git(repo, "cat-file", "commit", "runvault")
