"""Who signed the commits of the archive, as git and the user's own keys tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository

_ALLOWED = "gpg.ssh.allowedsignersfile"
_PATHS = (_ALLOWED, "gpg.ssh.revocationfile")

# What git says of a signature (`%G?`) that it does not call good. "U" is a good one of an unknown signer for SSH; for
# OpenPGP the key is in the user's keyring, and only how far its owner is trusted is not said.
_PROBLEMS = {
    "B": "has a bad signature",
    "X": "has a signature that expired",
    "R": "is signed with a revoked key",
    "E": "is signed with a key that is not known here",
    "U": "is signed by somebody who is no allowed signer",
}
_LOOK = "'git log --show-signature {commit}' tells more"
_HINTS = {
    "E": "if you trust its owner, 'gpg --import FILE' takes the public key",
    "U": "if they may sign, add a line 'EMAIL KEY' for them to the file that gpg.ssh.allowedSignersFile names",
}
_UNSIGNED = "it stays so; 'git config commit.gpgsign true' signs what this clone commits from now on"
_SIGNERS = "'git config gpg.ssh.allowedSignersFile FILE' names one, with a line 'EMAIL KEY' for each who may sign"
_GOOD = ("G", "Y")  # as `git verify-commit` has it, a key that expired since is good for what it signed before


@dataclass(frozen=True)
class UnprovenCommit:
    """A commit of which no known key says who made it; `problem` goes on where "commit 1a2b" left off."""

    commit: str
    problem: str
    hint: str
    runs: tuple[str, ...]


def unproven_commits(
    repository: Repository, tip: str, *, leave_out: str, paths: Sequence[str] = ()
) -> tuple[int, list[UnprovenCommit]]:
    """Check the signatures of the commits behind `tip`.

    Parameters
    ----------
    leave_out : str
        A commit that nobody signs.
    paths : sequence of str
        Only commits that changed something there; all of them where it is empty.

    Returns
    -------
    (int, list of UnprovenCommit)
        How many were looked at, and those without a good signature of a known key, newest first.
    """
    status = {commit: (letter, runs) for commit, letter, runs in _asked(repository, tip, paths) if commit != leave_out}
    doubtful = [commit for commit, (letter, _) in status.items() if letter not in _GOOD]
    contents = dict(Reader(repository).read_commits(doubtful))
    found = []
    for commit in doubtful:
        letter, runs = status[commit]
        problem = _problem(letter, _signature_kind(contents.get(commit, b"")), repository)
        if problem is not None:
            found.append(UnprovenCommit(commit, problem[0], problem[1].format(commit=commit), runs))
    return len(status), found


def _asked(repository: Repository, tip: str, paths: Sequence[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    wanted = "--format=%H%x00%G?%x00%(trailers:key=Run,valueonly,separator=%x20,unfold)"
    limits = ["--", *(f":(literal){path}" for path in paths)] if paths else ["--"]
    args = ["-c", "log.showSignature=false", "log", "-z", "--full-history", wanted, "--end-of-options", tip, *limits]
    fields = iter(repository.git(*_absolute_files(repository), *args).stdout.decode("utf-8", "replace").split("\0"))
    for commit, letter, runs in zip(fields, fields, fields, strict=False):
        yield commit, letter, tuple(runs.split())


def _absolute_files(repository: Repository) -> list[str]:
    """Return settings that name files from where git runs here, as they are named from the root of the work tree."""
    files = ((key, _file(repository, key)) for key in _PATHS)
    return [word for key, path in files if path is not None for word in ("-c", f"{key}={path}")]


def _signature_kind(content: bytes) -> str | None:
    head = content.partition(b"\n\n")[0]
    if b"\ngpgsig" not in head:
        return None
    return "ssh" if b"BEGIN SSH SIGNATURE" in head else "openpgp"


def _problem(letter: str, kind: str | None, repository: Repository) -> tuple[str, str] | None:
    """Return what is wrong with a signature and what to do next, None where nothing is."""
    if kind is None:
        return "is not signed", _UNSIGNED
    if letter == "U" and kind == "openpgp":
        return None
    allowed = _file(repository, _ALLOWED)
    if kind == "ssh" and letter in "NU" and (allowed is None or not allowed.is_file()):
        what = "gpg.ssh.allowedSignersFile"
        why = "is not set" if allowed is None else f"names no file: {str(allowed)!r}"
        return f"cannot be checked: {what} {why}", _SIGNERS
    if letter == "N":
        program = "ssh-keygen, or what gpg.ssh.program names" if kind == "ssh" else "gpg, or what gpg.program names"
        return "cannot be checked: git could not run the program for its signature", f"install {program}"
    return _PROBLEMS.get(letter, f"has a signature that git calls {letter!r}"), _HINTS.get(letter, _LOOK)


def _file(repository: Repository, key: str) -> Path | None:
    """Return the file that a setting names, from the root of the work tree as git has it; None where it is not set."""
    value = repository.config.get(key)
    return (repository.work_tree or repository.common_dir) / Path(value).expanduser() if value else None
