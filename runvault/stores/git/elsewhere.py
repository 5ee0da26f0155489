"""Where an archive may be that is not on the branch asked for: on a remote, or on another branch of this repository."""

from __future__ import annotations

import shlex

from runvault.stores.git.remotes import remotes_of
from runvault.stores.git.repository import Repository


def hint_of_archives(repository: Repository, switch: str) -> str:
    """Return what to do next in a repository that lacks the archive branch.

    Parameters
    ----------
    switch : str
        The file that makes the tree of a branch an archive.
    """
    remotes = remotes_of(repository)
    having = [name for name in remotes if _exists(repository, f"refs/remotes/{name}/{repository.branch}:{switch}")]
    if having:
        usual = repository.setting("remote") or "origin"
        named = [] if usual in having else [shlex.quote(having[0])]
        branch = [] if _is_usual(repository) else ["--branch", shlex.quote(repository.branch)]
        command = " ".join(["runvault", *branch, "pull", *named])
        return f"run '{command}': the remote {usual if usual in having else having[0]!a} has it"
    archives = _archives(repository, switch)
    if archives:
        return f"name one that is here with --branch: {', '.join(archives)}"
    pull = "'runvault pull' where a Git remote has it, " if remotes else ""
    return f"run {pull}'runvault init' for a new one, or name another branch with --branch"


def _is_usual(repository: Repository) -> bool:
    return repository.branch == (repository.setting("branch") or "runvault")


def _exists(repository: Repository, name: str) -> bool:
    return not repository.git("cat-file", "-e", name, ok=(0, 1, 128)).returncode


def _archives(repository: Repository, switch: str) -> list[str]:
    """Return the branches here that hold an archive."""
    listed = repository.git("for-each-ref", "--format=%(refname)", "refs/heads/", ok=(0, 1, 128)).stdout.splitlines()
    asked = b"".join(b"%s:%s\n" % (ref, switch.encode()) for ref in listed)
    told = repository.git("cat-file", "--batch-check", stdin=asked, ok=(0, 1, 128)).stdout.splitlines()
    found = [ref for ref, answer in zip(listed, told, strict=False) if b" blob " in answer]
    return [ref.removeprefix(b"refs/heads/").decode("utf-8", "backslashreplace") for ref in found]
