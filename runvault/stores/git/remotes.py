"""Git remotes: what they have is fetched beside our own refs and looked at; what is ours is sent, forward only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runvault.errors import ConfigError, IntegrityError, RunvaultError
from runvault.stores.git.coderefs import CODE_REFS
from runvault.stores.git.programs import DURABLE, PLACES_ALONE, run_git
from runvault.stores.git.repository import Repository

# Objects are checked on their way in, no program of a stranger's choice is started, and nothing comes along unasked.
_CHECKED = (
    *PLACES_ALONE,
    *("-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true", "-c", "receive.fsckObjects=true"),
    *("-c", "fetch.recurseSubmodules=false", "-c", "fetch.prune=false"),
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false"),
)
_ASK = {"GIT_TERMINAL_PROMPT": "1"}  # as `git push` does: on the terminal, where there is one

_BEHIND = ("fetch first", "non-fast-forward", "stale info", "cannot lock ref", "failed to update ref", "incorrect old")


@dataclass(frozen=True)
class Sent:
    """What became of a push: `behind` says that the remote has what is not here, and nothing was moved there.

    `before` is the commit that its branch was at, None where it had none.
    """

    behind: bool
    before: str | None = None


class GitRemote:
    """A remote of a repository.

    Parameters
    ----------
    repository : Repository
        Whose remote it is, and the archive branch.
    name : str
        As ``git remote`` lists it.

    Raises
    ------
    ConfigError
        There is no such remote.
    """

    def __init__(self, repository: Repository, name: str) -> None:
        if f"remote.{name}.url" not in repository.config or name.startswith("-"):
            known = remotes_of(repository)
            hint = f"one of {', '.join(known)}" if known else "add one: git remote add origin URL"
            raise ConfigError(f"there is no Git remote {name!a}", hint)
        self._repository = repository
        self.name = name

    @property
    def _seen_ref(self) -> str:
        # Our own memory of it: a `git fetch` of the user's forgets what a remote had before it was rewritten.
        return f"refs/runvault/remotes/{self.name}/{self._repository.branch}"

    def seen(self) -> str | None:
        """Return the tip that the remote had when it was last pulled from or pushed to; None for never."""
        return resolve(self._repository, self._seen_ref)

    def note_seen(self, commit: str) -> None:
        """Remember a tip of the remote, and show it as git does, under ``refs/remotes/``."""
        self._repository.git(*DURABLE, "update-ref", self._seen_ref, commit)
        self._repository.git(*DURABLE, "update-ref", f"refs/remotes/{self.name}/{self._repository.branch}", commit)

    def fetch(self) -> str | None:
        """Fetch the archive branch and the code snapshots; return the branch's tip there, None where there is none.

        Nothing of ours is moved: the tip is held by a ref of its own until the next fetch.

        Raises
        ------
        RunvaultError
            It cannot be reached, or sends objects that git itself refuses; the message is git's.
        """
        incoming = f"refs/runvault/incoming/{self.name}/{self._repository.branch}"
        refspecs = [f"+{self._repository.ref}:{incoming}", f"{CODE_REFS}/*:{CODE_REFS}/*"]
        fetched = fetch_checked(self._repository, self.name, *refspecs)
        drop_false_code_refs(self._repository)
        return resolve(self._repository, incoming) if fetched else None

    def push(self, commit: str) -> Sent:
        """Send a commit as the remote's archive branch, with the code snapshots that it lacks; never back.

        Raises
        ------
        RunvaultError
            It cannot be reached, or refuses; the message is git's.
        """
        how = ["--porcelain", "--no-follow-tags", "--recurse-submodules=no", "--no-signed"]
        refspecs = [f"{CODE_REFS}/*:{CODE_REFS}/*", f"{commit}:{self._repository.ref}"]
        args = [*PLACES_ALONE, "-c", "core.abbrev=40", "push", *how, "--end-of-options", self.name, *refspecs]
        done = self._repository.git(*args, ok=(0, 1, 128), extra=_ASK, cwd=self._repository.work_tree)
        told = done.stdout.decode("utf-8", "replace")
        if not done.returncode:
            return Sent(behind=False, before=_before(told, self._repository.ref, commit))
        said = done.stderr.decode("utf-8", "replace")
        rejected = [line for line in told.splitlines() if line.startswith("!") and self._repository.ref in line]
        if any(word in line for line in rejected for word in _BEHIND):
            return Sent(behind=True)
        refused = [line.split("\t")[-1] for line in told.splitlines() if line.startswith("!")]
        raise _failure(f"cannot push to {self.name!a}", said, *refused, hint=_reachable(self.name))


def _before(told: str, ref: str, commit: str) -> str | None:
    r"""Return where a ref was before it was pushed to, by git's report.

    Examples
    --------
    >>> old, new = "1" * 40, "2" * 40
    >>> _before(f"To there\n \t{new}:refs/heads/a\t{old}..{new}\nDone\n", "refs/heads/a", new) == old
    True
    >>> _before(f"=\t{new}:refs/heads/a\t[up to date]\n", "refs/heads/a", new) == new
    True
    """
    for line in told.splitlines():
        flag, _, rest = line.partition("\t")
        pushed, _, summary = rest.partition("\t")
        if pushed.endswith(f":{ref}"):
            moved = re.match(r"([0-9a-f]{40})\.\.", summary)
            return moved[1] if moved else commit if flag == "=" else None
    return None


_WHO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"]*@")


def fetch_checked(repository: Repository, source: str, *refspecs: str) -> bool:
    """Fetch refs from a remote or a bundle, every object checked; False where the first of them is not there."""
    quiet = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--refmap=", "--no-prune"]
    args = [*_CHECKED, *DURABLE, "fetch", *quiet, "--end-of-options", source, *refspecs]
    # The address of a remote may be a relative path, which begins at the root of the checkout.
    done = repository.git(*args, ok=(0, 1, 128), extra=_ASK, cwd=repository.work_tree)
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode and "couldn't find remote ref" in said:
        return False
    if done.returncode:
        named = f"remote.{source}.url" in repository.config  # else it is a file
        raise _failure(f"cannot fetch from {source!a}", said, hint=_reachable(source) if named else None)
    return True


def clone_repository(url: str, folder: Path) -> None:
    """Clone a repository with its code checked out; its archive comes with the first pull.

    Raises
    ------
    ConfigError
        The address cannot be one: git would take it for an option, or start a program of its choice.
    RunvaultError
        git refused; the message is git's.
    """
    if url.startswith("-") or "::" in url.partition("/")[0] or "\n" in url:
        raise ConfigError(f"{url!a} is no address of a repository")
    args = [*PLACES_ALONE, "clone", "--quiet", "--no-recurse-submodules", "--end-of-options"]
    done = run_git([*args, url, str(folder)], cwd=Path.cwd(), ok=(0, 1, 128), keep_place=True, extra=_ASK)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        there = "destination path" in said or "could not create" in said
        hint = "name a folder that is not there yet, where you may write" if there else _reachable("URL")
        raise _failure(f"cannot clone {url!a}", said, hint=hint)


def remotes_of(repository: Repository) -> list[str]:
    """Return the names of a repository's Git remotes."""
    found = (re.fullmatch(r"remote\.(.+)\.url", key) for key in repository.config)
    return sorted({match[1] for match in found if match})


def resolve(repository: Repository, ref: str) -> str | None:
    """Return the commit that a full ref names, None where it names none."""
    asked = repository.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", ok=(0, 1, 128))
    return asked.stdout.decode("ascii").strip() or None


def drop_false_code_refs(repository: Repository) -> None:
    """Remove refs to code whose name is not the commit that they hold: somebody made them up."""
    listed = repository.git("for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", f"{CODE_REFS}/")
    false = []
    for line in listed.stdout.decode("utf-8", "surrogateescape").splitlines():
        name, kind, ref = line.split(" ", 2)
        if ref != f"{CODE_REFS}/{name}" or kind != "commit":
            false.append(f"delete {ref} {name}\n")
    if false:
        repository.git(*DURABLE, "update-ref", "--stdin", stdin="".join(false).encode("utf-8", "surrogateescape"))


def _reachable(source: str) -> str:
    return f"is the address right, and may you use it? 'git ls-remote {source}' asks git alone"


def _failure(doing: str, said: str, *refused: str, hint: str | None = None) -> RunvaultError:
    """Return the error for git's words; content that git finds malformed is named as such.

    Addresses are told without who logs in there: messages end in logs.
    """
    doing, said = (_WHO.sub(r"\1", text) for text in (doing, said))
    lines = [line.strip("\0 ") for line in said.splitlines() if line.strip("\0 ")]
    words = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ERROR:"))] or lines
    told = "; ".join([*refused, *words][:3]) or "git gave no reason"
    if "fsck error" in said or "in fsck" in said or "object corrupt" in said:
        fsck = [line for line in lines if "error" in line and ":" in line]
        return IntegrityError(f"{doing}: git refuses what it sends: {'; '.join(fsck[:2])}", "nothing was changed here")
    return RunvaultError(f"{doing}: {told}", None if refused else hint)
