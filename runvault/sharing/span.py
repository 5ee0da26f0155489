"""``BASE..HEAD``: which two states of an archive are looked at, and where they parted."""

from __future__ import annotations

from dataclasses import dataclass

from runvault.archive.gate import SWITCH, check_switch
from runvault.archive.stores import Stores
from runvault.errors import ConfigError, RunvaultError, VaultNotFoundError

HINT = "say BASE..HEAD, such as origin/runvault..runvault; a side that is left out is the remote branch, or your own"


@dataclass(frozen=True)
class Side:
    """One end: what was said for it, and the commit that this is."""

    ref: str
    commit: str


@dataclass(frozen=True)
class Span:
    """Two ends, and the newest commit that both come from: what `head` adds is told from there.

    The base may have gone on since. What it gained is no change of `head`'s, and what it lacks was not removed there.
    """

    base: Side
    head: Side
    fork: str


def resolve_span(stores: Stores, text: str, remote: str) -> Span:
    """Return the span that `text` means.

    Parameters
    ----------
    text : str
        Two commits or refs of this repository with ``..`` between them (``...`` is the same). For a missing first one
        the archive's branch of `remote` stands, as it was last fetched; for a missing second one the archive's branch.

    Raises
    ------
    ConfigError
        It has no dots, or a side is no commit of this clone.
    VaultNotFoundError
        A side holds no archive.
    RunvaultError
        The two have no history in common, or it was not fetched.
    """
    before, dots, after = text.partition("..")
    if not dots:
        raise ConfigError(f"{text!a} is no span of two commits", HINT)
    branch = stores.repository.branch
    base = _side(stores, before or f"refs/remotes/{remote}/{branch}")
    head = _side(stores, after.removeprefix(".") or stores.repository.ref)
    return Span(base, head, _fork(stores, base, head))


def _side(stores: Stores, ref: str) -> Side:
    commit = stores.reader.require_commit(ref)
    try:
        check_switch(stores.reader.read_file(commit, SWITCH))
    except VaultNotFoundError as error:
        raise VaultNotFoundError(f"{ref!a} holds no archive: it has no {SWITCH}", HINT) from error
    return Side(ref.removeprefix("refs/heads/").removeprefix("refs/remotes/"), commit)


def _fork(stores: Stores, base: Side, head: Side) -> str:
    args = ["merge-base", "--end-of-options", base.commit, head.commit]
    done = stores.repository.git(*args, ok=(0, 1))
    if done.returncode:
        raise RunvaultError(
            f"{base.ref!a} and {head.ref!a} have no history in common here",
            "a shallow clone lacks it: run 'git fetch --unshallow' (fetch-depth: 0); else one of them is no archive",
        )
    return done.stdout.decode("ascii").split()[0]
