from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from machine import git
from support import ADA, NOON, archive_in, edit_of, run_files, saves

import runvault as rv
from runvault.errors import RunvaultError
from runvault.stores.git.edits import Edit
from runvault.stores.git.init import FIRST_COMMIT
from runvault.stores.git.repository import Repository
from runvault.stores.git.signing import refuse_unsignable
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
    with pytest.raises(RunvaultError, match="cannot be signed: git commit-tree failed") as caught:
        Writer(Repository.find(signed)).update(saves("a"))
    assert "git config commit.gpgsign false" in str(caught.value.hint)
    assert repository.tip() == FIRST_COMMIT


@pytest.mark.parametrize(
    "settings",
    [
        {"gpg.format": "ssh", "user.signingkey": "/nowhere/key"},
        {"gpg.format": "ssh", "gpg.ssh.program": "/nowhere/program"},
        {"gpg.program": "no-such-program"},
        {"gpg.openpgp.program": "no-such-program"},
    ],
    ids=str,
)
def test_a_missing_signer_is_told_before_there_is_something_to_save(repo: Path, settings: dict[str, str]) -> None:
    """Not after the backtest of six hours whose result is to be signed; whoever only reads is not told."""
    vault = rv.init(repo)
    for name, value in {"commit.gpgsign": "true", **settings}.items():
        git(repo, "config", name, value)
    with pytest.raises(RunvaultError, match="commits cannot be signed: the ") as caught:
        rv.open(repo).run("missing.py:entry")
    assert "git config commit.gpgsign false" in str(caught.value.hint)
    assert vault.list().total == 0


@needs_ssh
def test_a_key_may_be_named_from_the_root_of_the_checkout(signed: Path) -> None:
    """As git has it; so may the public half alone, where an agent has the other."""
    archive_in(signed)
    key = Path(git(signed, "config", "user.signingkey").strip())
    key.rename(signed / "mine")
    git(signed, "config", "user.signingkey", "mine")
    (signed / "sub").mkdir()
    assert Writer(Repository.find(signed / "sub")).update(saves("a")) is not None
    refuse_unsignable(Repository.find(signed / "sub"))
    (signed / "mine").rename(signed / "mine.pub")
    refuse_unsignable(Repository.find(signed / "sub"))


def test_without_the_setting_nothing_is_signed(repo: Path) -> None:
    Writer(archive_in(repo)).update(lambda _: edit_of("a"))
    assert "gpgsig" not in git(repo, "cat-file", "commit", "runvault")


@needs_ssh
@pytest.mark.parametrize("case", ["a key that is gone", "a signer that says nothing"])
def test_a_commit_that_cannot_be_signed_says_what_git_said(signed: Path, case: str) -> None:
    repository = archive_in(signed)
    if case == "a key that is gone":
        Path(git(signed, "config", "user.signingkey").strip()).unlink()
    else:
        git(signed, "config", "gpg.ssh.program", "false")
    with pytest.raises(RunvaultError, match=r"the commit cannot be signed: git commit-tree failed: \w+") as caught:
        Writer(repository).update(saves("a"))
    assert "git config commit.gpgsign false" in str(caught.value.hint)
