"""Signed commits where the user's configuration asks for them."""

from __future__ import annotations

import shutil
from pathlib import Path

from runvault.errors import RunvaultError
from runvault.stores.git.programs import git_failure
from runvault.stores.git.repository import Repository

HINT = "see user.signingkey and gpg.format; 'git config commit.gpgsign false' saves unsigned"
_PROGRAMS = {"openpgp": "gpg", "x509": "gpgsm", "ssh": "ssh-keygen"}


def signs_commits(repository: Repository) -> bool:
    """Return whether ``commit.gpgsign`` is set."""
    return repository.flag("commit.gpgsign")


def refuse_unsignable(repository: Repository) -> None:
    """Raise RunvaultError where commits are to be signed and program or key file are missing.

    Git itself, and the key, are asked when there is something to sign: that may need a passphrase, or a finger.
    """
    if not signs_commits(repository):
        return
    config, form = repository.config, repository.config.get("gpg.format", "openpgp")
    usual = config.get("gpg.program") if form == "openpgp" else None
    program = config.get(f"gpg.{form}.program", usual) or _PROGRAMS.get(form)
    if program is not None and shutil.which(Path(program).expanduser()) is None:
        raise RunvaultError(f"commits cannot be signed: the program {program!r} is not here", HINT)
    key = config.get("user.signingkey", "")
    if form == "ssh" and key and not key.startswith(("key::", "ssh-")):
        path = _place(repository) / Path(key).expanduser()
        if not path.exists() and not path.with_name(f"{path.name}.pub").exists():
            raise RunvaultError(f"commits cannot be signed: the key {key!r} is not here", HINT)


def _place(repository: Repository) -> Path:
    """Return where a relative path in git's configuration begins when git commits."""
    return repository.work_tree or repository.common_dir


def sign_commit(repository: Repository, content: bytes) -> bytes:
    """Return a commit object signed as git would sign it: OpenPGP, X.509 or SSH, with the user's own program.

    Git makes the signed commit, so every setting it knows is honoured; its content is then written like any other
    object, because git does not sync the folder of a loose object.

    Raises
    ------
    RunvaultError
        Git could not sign; the message is git's.
    """
    head, message = content.split(b"\n\n", 1)
    fields = [line.split(b" ", 1) for line in head.split(b"\n")]
    who: dict[str, str] = {}
    for role, value in fields:
        if role in (b"author", b"committer"):
            name, rest = value.decode().split(" <", 1)
            email, when = rest.split("> ", 1)
            upper = role.decode().upper()
            who |= {f"GIT_{upper}_NAME": name, f"GIT_{upper}_EMAIL": email, f"GIT_{upper}_DATE": when}
    tree = next(value.decode() for role, value in fields if role == b"tree")
    parents = [word for role, value in fields if role == b"parent" for word in ("-p", value.decode())]
    args = ["commit-tree", "-S", *parents, tree]
    done = repository.git(*args, stdin=message, extra=who, ok=range(256), cwd=_place(repository))
    if done.returncode:
        said = git_failure(args, done.returncode, done.stderr)
        raise type(said)(f"the commit cannot be signed: {said.message}", HINT)
    return repository.git("cat-file", "commit", done.stdout.decode("ascii").strip()).stdout
