"""`verify --signatures`: real keys, real programs, and what was meddled with is named by commit and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from machine import git
from results import make_result, make_sweep

import runvault as rv

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


def ssh_key(folder: Path, name: str) -> Path:
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    return key


def sign_with(repo: Path, key: Path) -> None:
    for name, value in {"commit.gpgsign": "true", "gpg.format": "ssh", "user.signingkey": str(key)}.items():
        git(repo, "config", name, value)


@pytest.fixture
def signed(repo: Path, tmp_path: Path) -> Path:
    """Return a repository that signs with a key of Ada's, who is an allowed signer."""
    key = ssh_key(tmp_path, "ada")
    sign_with(repo, key)
    (repo / "allowed").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    git(repo, "config", "gpg.ssh.allowedSignersFile", "allowed")
    rv.init(repo)
    return repo


def save(repo: Path, total_return: float = 0.1) -> rv.Run:
    return rv.open(repo).save(make_result(total_return), strategy=f"s{total_return}").run


def problems(repo: Path, *refs: rv.Run) -> list[tuple[str, str]]:
    report = rv.open(repo).verify(refs, signatures=True)
    return [(finding.run, finding.problem) for finding in report.findings]


def hint(repo: Path) -> str:
    (found,) = rv.open(repo).verify(signatures=True).findings
    assert found.hint is not None
    return found.hint


@needs_ssh
def test_commits_of_an_allowed_signer_are_no_findings(signed: Path) -> None:
    run = save(signed)
    rv.open(signed).tag(run, ["golden"])
    rv.open(signed).save_sweep(make_sweep([0.1, 0.2], fast=[1, 2]), strategy="sweep")
    report = rv.open(signed / ".").verify(signatures=True)

    assert report.findings == []
    assert report.checked["commits"] == 3


@needs_ssh
def test_an_unsigned_commit_is_named_with_its_run(signed: Path) -> None:
    good = save(signed, 0.1)
    git(signed, "config", "commit.gpgsign", "false")
    bad = save(signed, 0.2)

    assert problems(signed) == [(bad.id, f"commit {bad.commit} is not signed")]
    assert problems(signed, good) == []
    assert problems(signed, bad) == [(bad.id, f"commit {bad.commit} is not signed")]
    assert "git config commit.gpgsign true" in hint(signed)


@needs_ssh
def test_the_runs_of_a_sweep_are_named_together(signed: Path) -> None:
    git(signed, "config", "commit.gpgsign", "false")
    swept = rv.open(signed).save_sweep(make_sweep([0.1, 0.2], fast=[1, 2]), strategy="sweep")
    ids = sorted(each.id for each in swept)

    ((run, problem),) = problems(signed)
    assert run == ""
    assert problem.endswith(f"is not signed; it brought {ids[0]}, {ids[1]}")


@needs_ssh
def test_a_stranger_who_signs_is_a_finding(signed: Path, tmp_path: Path) -> None:
    save(signed, 0.1)
    sign_with(signed, ssh_key(tmp_path, "mallory"))
    bad = save(signed, 0.2)

    assert problems(signed) == [(bad.id, f"commit {bad.commit} is signed by somebody who is no allowed signer")]
    assert "add a line" in hint(signed)


@needs_ssh
def test_a_signature_of_another_commit_is_bad(signed: Path) -> None:
    """The signature is Ada's own, and what stands under it is not what she signed."""
    run = save(signed)
    commit = git(signed, "cat-file", "commit", "runvault").replace("Save s0.1", "Save s0.9")
    forged = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=signed,
        input=commit,
        text=True,
        capture_output=True,
    ).stdout.strip()
    git(signed, "update-ref", "refs/heads/runvault", forged)

    assert problems(signed) == [(run.id, f"commit {forged} has a bad signature")]
    assert f"git log --show-signature {forged}" in hint(signed)


@needs_ssh
def test_a_message_cannot_hide_the_runs_that_a_commit_brought(signed: Path) -> None:
    run = save(signed)
    tree, parent = (git(signed, "rev-parse", f"runvault{of}").strip() for of in ("^{tree}", "~1"))
    commit = git(signed, "commit-tree", "-p", parent, "-m", "nothing to see\n\nKind: annotate", tree).strip()
    git(signed, "update-ref", "refs/heads/runvault", commit)

    assert problems(signed) == [(run.id, f"commit {commit} is not signed")]


@needs_ssh
@pytest.mark.parametrize(("file", "reason"), [(None, "is not set"), ("nowhere", "names no file")])
def test_without_allowed_signers_nothing_is_proven(signed: Path, file: str | None, reason: str) -> None:
    run = save(signed)
    git(signed, "config", "--unset", "gpg.ssh.allowedSignersFile")
    if file:
        git(signed, "config", "gpg.ssh.allowedSignersFile", file)

    ((found, problem),) = problems(signed)
    assert found == run.id
    assert reason in problem
    assert "git config gpg.ssh.allowedSignersFile FILE" in hint(signed)


@needs_ssh
def test_a_revoked_key_is_a_finding(signed: Path, tmp_path: Path) -> None:
    run = save(signed)
    assert problems(signed) == []
    shutil.copy(tmp_path / "ada.pub", signed / "revoked")
    git(signed, "config", "gpg.ssh.revocationFile", "revoked")

    assert [found for found, _ in problems(signed)] == [run.id]


@needs_gpg
def test_openpgp_keys_of_the_keyring_are_known_and_others_are_not(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["HOME"]) / "g"  # short: a socket's path has 108 characters at most
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    made = [
        "gpg",
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-generate-key",
        "ada@example.org",
        "ed25519",
        "sign",
    ]
    subprocess.run(made, check=True, capture_output=True)
    try:
        rv.init(repo)
        git(repo, "config", "commit.gpgsign", "true")
        git(repo, "config", "user.signingkey", "ada@example.org")
        run = save(repo)
        assert "BEGIN PGP SIGNATURE" in git(repo, "cat-file", "commit", "runvault")
        assert problems(repo) == []

        exported = subprocess.run(["gpg", "--export", "ada@example.org"], check=True, capture_output=True).stdout
        elsewhere = Path(os.environ["HOME"]) / "h"
        elsewhere.mkdir(mode=0o700)
        monkeypatch.setenv("GNUPGHOME", str(elsewhere))
        assert problems(repo) == [(run.id, f"commit {run.commit} is signed with a key that is not known here")]
        assert "gpg --import" in hint(repo)
        subprocess.run(["gpg", "--batch", "--quiet", "--import"], input=exported, check=True, capture_output=True)
        git(repo, "config", "gpg.program", "/nowhere/gpg")
        assert hint(repo).startswith("install gpg")
        git(repo, "config", "--unset", "gpg.program")
        assert problems(repo) == []  # known, though nobody has said how far it is trusted
    finally:
        for place in ("g", "h"):
            subprocess.run(["gpgconf", "--homedir", str(home.with_name(place)), "--kill", "all"], check=False)
