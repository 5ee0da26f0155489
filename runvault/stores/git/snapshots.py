"""Snapshots: the code as it lies in the working tree, kept as a commit that nothing of the user's knows about.

What goes in
    Tracked files as they are in the working tree, staged or not; of untracked files those that are asked for. What
    `.gitignore` ignores never goes in, not even when it is asked for: data that DVC tracks is ignored that way.
Whether a file has changed
    is git's own answer, filters and line endings considered (the user's filters run for it, as in any `git status`).
    An unchanged file keeps the blob it has: of a file in Git LFS the pointer, with ``core.autocrlf`` the text with LF.
    A file hidden by ``--assume-unchanged`` or ``--skip-worktree`` was hidden so that it is never committed: its content
    stays out, and it is named where it differs.
What is stored of a changed file
    are its very bytes: no clean filter, no line ending, no encoding is converted, so that writing the blob out gives
    back the file. Where a filter encrypts (git-crypt and the like) its plain text is a credential and stays out.
Credentials
    never go in (`runvault.stores.git.secrets` knows them). HEAD's content of such a file stays as it is.
Submodules
    stay at the commit that the user's index has.
Nothing of the user's is touched
    A temporary index, which starts from HEAD's tree: only what git calls changed is read or hashed. Objects and
    ``refs/runvault/code/*`` are all that is added to the repository.
"""

from __future__ import annotations

import os
import re
import stat
import string
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from runvault.errors import ConfigError, ReplayError
from runvault.stores.git.code import blob_at, blob_of_file
from runvault.stores.git.owncode import note_own_code
from runvault.stores.git.programs import DURABLE, run_git
from runvault.stores.git.repository import Repository
from runvault.stores.git.secrets import SCANNED_BYTES, encrypts, holds_credential, named_as_credential

GITLINK = "160000"
_FILE = "100644"
_LINK = "120000"
_GONE = "000000"

_MESSAGE = b"runvault: the working tree of a run\n"
_NAME, _EMAIL = "runvault", "runvault@localhost"

# How the user likes to see a status is no matter here; a file system monitor would be started by it.
_STATUS = ("--no-replace-objects", "-c", "core.fsmonitor=false", "-c", "status.renames=false")


@dataclass(frozen=True)
class Snapshot:
    """The code that a result comes from, as a commit.

    Parameters
    ----------
    commit : str
        HEAD where its tree is what was found, else a snapshot commit on top of it.
    base : str
        HEAD; empty before the first commit, and then `commit` has no parent.
    branch : str or None
        The branch that is checked out, None when HEAD is detached.
    dirty : bool
        The code found differs from HEAD: in what went into `commit`, or in a tracked file that was left out.
    left_out : tuple of str
        Paths from the root of the working tree, sorted: credentials that would have gone in, changed files that are
        hidden from git, untracked files that did not go in, and files asked for that `.gitignore` ignores. A nested
        repository ends in ``/``.
    credentials : tuple of str
        Those of `left_out` that look like credentials, or are encrypted in Git.
    """

    commit: str
    base: str
    branch: str | None
    dirty: bool
    left_out: tuple[str, ...]
    credentials: tuple[str, ...] = ()

    def told(self) -> tuple[str, ...]:
        """Return `left_out` as people are told of it: credentials first, whatever number of others there is."""
        return (*self.credentials, *(path for path in self.left_out if path not in self.credentials))


def take_snapshot(
    repository: Repository,
    include: Iterable[str] = (),
    *,
    every_untracked: bool = False,
    contents: Mapping[str, bytes] = MappingProxyType({}),
) -> Snapshot:
    """Keep the code of the working tree as a commit, under ``refs/runvault/code/``.

    Equal code on an equal HEAD is one commit, whoever takes it and when. Its date is that of HEAD: an older one would
    make every walk through the history, a push for one, look at all of it.

    Parameters
    ----------
    repository : Repository
        Found from the user's place.
    include : iterable of str
        Untracked files that go in, or folders of such, as paths from the root of the working tree with ``/``.
    every_untracked : bool
        All go in that `.gitignore` does not ignore.
    contents : mapping of str to bytes
        What files that go in held when they were read, where that is not what they hold now.

    Raises
    ------
    ReplayError
        A bare repository: it has no working tree.
    ConfigError
        A path in `include` leads out of the repository.
    """
    from runvault.stores.git.coderefs import keep_code  # pygit2 with it, which commands that only look do not need

    if repository.work_tree is None:
        hint = "run this in a clone or worktree of it"
        raise ReplayError(f"there is no code in {str(repository.start)!r}: it is a bare repository", hint)
    wanted = {_inside(path) for path in include}
    state = _read_state(repository)
    taken = state.untracked if every_untracked else [path for path in state.untracked if _is_wanted(path, wanted)]
    with tempfile.TemporaryDirectory(prefix="runvault-snapshot-") as folder:
        changes = {change.path: change for change in [*state.changes, *(_Change(path, "", None) for path in taken)]}
        held = contents.keys() & (changes.keys() | blob_at(repository, state.head or "", contents).keys())
        changes |= {path: _Change(path, "", None) for path in sorted(held)}
        maker = _Maker(repository, repository.work_tree, Path(folder), contents)
        commit = maker.commit([*changes.values()], state.head)
    keep_code(repository, commit)
    note_own_code(repository, commit)
    tracked = maker.left_out.intersection(change.path for change in state.changes)
    tracked |= _hidden(repository, repository.work_tree)
    missed = set(state.untracked) - set(taken) | maker.left_out | tracked
    missed |= _not_stored(repository, commit, wanted - set(state.untracked) - missed)
    dirty = commit != state.head or bool(tracked)
    secret = sorted(path for path in maker.left_out if not path.endswith("/"))
    return Snapshot(commit, state.head or "", state.branch, dirty, tuple(sorted(missed)), tuple(secret))


@dataclass(frozen=True)
class _Change:
    """A file that differs from HEAD.

    `mode` is what the working tree has, ``000000`` where it is gone, empty where nobody has said. `blob` is set where
    the index has the file as it is in the working tree.
    """

    path: str
    mode: str
    blob: str | None


@dataclass(frozen=True)
class _State:
    head: str | None
    branch: str | None
    changes: list[_Change]
    untracked: list[str]


def _read_state(repository: Repository) -> _State:
    args = [
        "status",
        "--porcelain=v2",
        "--branch",
        "--untracked-files=all",
        "--no-renames",
        "--ignore-submodules=dirty",
    ]
    done = repository.git_here(*_STATUS, *args, "-z")
    fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    said = dict(field.removeprefix("# ").split(" ", 1) for field in fields if field.startswith("# "))
    head, branch = said.get("branch.oid"), said.get("branch.head")
    changes = [change for field in fields for change in _parse_change(field)]
    untracked = [field.removeprefix("? ") for field in fields if field.startswith("? ")]
    return _State(None if head == "(initial)" else head, None if branch == "(detached)" else branch, changes, untracked)


def _hidden(repository: Repository, work_tree: Path) -> set[str]:
    """Return the files that git was told not to look at, where their bytes are not those of the index."""
    listed = repository.git_here(*_STATUS, "ls-files", "-z", "-v", "--stage").stdout
    entries = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    marked = (entry.split("\t", 1) for entry in entries if entry[0].islower() or entry[0] == "S")
    blobs = {path: meta.split(" ")[2] for meta, path in marked if meta.split(" ")[1] != GITLINK}
    own = {path: blob_of_file(work_tree / path, repository.object_format) for path in blobs}
    return {path for path, blob in blobs.items() if own[path] not in (None, blob)}


def _parse_change(field: str) -> Iterator[_Change]:
    """Yield the change that a line of ``git status --porcelain=v2`` tells, if it tells one."""
    if field.startswith("1 "):
        _, xy, _, _, staged, mode, _, blob, path = field.split(" ", 8)
        as_staged = xy[1] == "." or staged == GITLINK
        yield _Change(path, staged if as_staged else mode, blob if as_staged else None)
    elif field.startswith("u "):  # in the middle of a merge: the file with its marks is what would run
        *_, mode, _, _, _, path = field.split(" ", 10)
        if mode != GITLINK:
            yield _Change(path, mode, None)


class _Maker:
    """Makes the commit through an index of its own; `left_out` fills with what it would not take."""

    def __init__(self, repository: Repository, work_tree: Path, folder: Path, contents: Mapping[str, bytes]) -> None:
        self._repository = repository
        self._work_tree = work_tree
        self._folder = folder
        self._contents = contents
        self.left_out: set[str] = set()

    def commit(self, changes: list[_Change], head: str | None) -> str:
        """Return the commit with `changes` on top of `head`, which is `head` itself where they change nothing."""
        gone = [change for change in changes if change.mode == _GONE]
        entries = [self._removal(change.path) for change in gone]
        entries += self._stored([change for change in changes if change.mode != _GONE])
        if head and not entries:
            return head
        base_tree, seconds = self._describe(head) if head else (None, "0")
        if head:
            self._git("read-tree", head)
        self._git("update-index", "-z", "--index-info", stdin="".join(f"{entry}\0" for entry in entries))
        tree = self._git("write-tree")
        if head and tree == base_tree:
            return head
        who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in _WHO.items()}
        dates = {f"GIT_{role}_DATE": f"@{seconds} +0000" for role in ("AUTHOR", "COMMITTER")}
        parents = ["-p", head] if head else []
        return self._git("commit-tree", *parents, tree, stdin=_MESSAGE, extra=who | dates)

    def _describe(self, head: str) -> tuple[str, str]:
        tree, seconds = self._git("-c", "log.showSignature=false", "log", "-1", "--format=%T %ct", head).split(" ")
        return tree, seconds

    def _stored(self, changes: list[_Change]) -> Iterator[str]:
        """Yield the index lines of the files that may go in, their contents stored."""
        encrypted = self._encrypted([change.path for change in changes if change.blob is None])
        to_store: list[tuple[str, str, str]] = []
        for change in changes:
            if self._is_secret(change) or change.path in encrypted or change.path.endswith("/"):
                self.left_out.add(change.path)
            elif change.blob is not None:
                yield f"{change.mode} {change.blob} 0\t{change.path}"
            elif source := self._source(change, len(to_store)):
                to_store.append(source)
            else:
                yield self._removal(change.path)
        for (mode, path, _), blob in zip(to_store, self._hash([source for *_, source in to_store]), strict=True):
            yield f"{mode} {blob} 0\t{path}"

    def _removal(self, path: str) -> str:
        return f"0 {'0' * (64 if self._repository.object_format == 'sha256' else 40)}\t{path}"

    def _is_secret(self, change: _Change) -> bool:
        if change.mode == GITLINK:
            return False
        begin = self._contents.get(change.path, b"")[:SCANNED_BYTES] or _beginning(self._work_tree / change.path)
        return named_as_credential(change.path) or holds_credential(begin)

    def _source(self, change: _Change, number: int) -> tuple[str, str, str] | None:
        """Return mode, path and the file to read for a changed file, None where there is none any more."""
        place = self._work_tree / change.path
        if change.path in self._contents:
            text = self._folder / f"text-{number}"
            text.write_bytes(self._contents[change.path])
            return self._mode(place.stat()) if place.is_file() else _FILE, change.path, str(text)
        try:
            found = place.lstat()
            if stat.S_ISLNK(found.st_mode):
                text = self._folder / f"link-{number}"
                text.write_bytes(os.fsencode(place.readlink()))
                return _LINK, change.path, str(text)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return change.mode or self._mode(found), change.path, f"./{change.path}"

    def _mode(self, found: os.stat_result) -> str:
        executable = found.st_mode & stat.S_IXUSR and self._repository.config.get("core.filemode") != "false"
        return "100755" if executable else _FILE

    def _encrypted(self, paths: list[str]) -> set[str]:
        """Return those of `paths` whose content in Git is encrypted by a filter."""
        keys = [re.fullmatch(r"filter\.(.*)\.(clean|process)", key, re.DOTALL) for key in self._repository.config]
        drivers = {
            match[1] for match in keys if match and encrypts(f"{match[1]} {self._repository.config[match.string]}")
        }
        if not (drivers and paths):
            return set()
        question = "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
        done = self._repository.git_here("check-attr", "-z", "--stdin", "filter", stdin=question)
        fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")
        return {path for path, driver in zip(fields[::3], fields[2::3], strict=False) if driver in drivers}

    def _hash(self, sources: list[str]) -> list[str]:
        if not sources:
            return []
        names = "".join(f"{quoted(source)}\n" for source in sources)
        # From the root of the working tree, with no index or attributes asked: the bytes that are there.
        return self._git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names).split("\n")

    def _git(self, *args: str, stdin: str | bytes = b"", extra: dict[str, str] | None = None) -> str:
        data = stdin.encode("utf-8", "surrogateescape") if isinstance(stdin, str) else stdin
        place = [f"--git-dir={self._repository.common_dir}", "--no-replace-objects"]
        index = {"GIT_INDEX_FILE": str(self._folder / "index")}
        done = run_git([*place, *_PLAIN, *args], cwd=self._work_tree, stdin=data, extra=index | (extra or {}))
        return done.stdout.decode("ascii").strip()


_WHO = {"NAME": _NAME, "EMAIL": _EMAIL}
_PLAIN = (
    *DURABLE,
    *("-c", "core.fsmonitor=false"),  # it would be started for our index too
    *("-c", "core.splitIndex=false"),
    *("-c", "core.sparseCheckout=false"),
    *("-c", "i18n.commitEncoding=UTF-8"),
)


_UNQUOTED = frozenset((string.ascii_letters + string.digits + "._-/").encode())


def quoted(path: str) -> str:
    r"""Return a path as git reads it from a list of lines, whatever is in it.

    Examples
    --------
    >>> quoted("a b\n.py")
    '"a\\040b\\012.py"'
    """
    data = path.encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(byte) if byte in _UNQUOTED else f"\\{byte:03o}" for byte in data) + '"'


def _beginning(path: Path) -> bytes:
    """Return what a credential would be looked for in; nothing of what is no file, or cannot be read."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(SCANNED_BYTES)
    except OSError:
        return b""


def _inside(path: str) -> str:
    """Return a path from the root in its shortest form."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ConfigError(f"{path!r} is not a path from the root of the repository")
    return "/".join(parts)


def _is_wanted(path: str, wanted: set[str]) -> bool:
    parts = path.rstrip("/").split("/")
    return any("/".join(parts[:count]) in wanted for count in range(len(parts) + 1))


def _not_stored(repository: Repository, commit: str, wanted: Iterable[str]) -> set[str]:
    """Return the files among `wanted` that exist and are not in the commit."""
    root = repository.work_tree
    there = [path for path in wanted if root and path and os.path.lexists(root / path) and not (root / path).is_dir()]
    return set(there) - blob_at(repository, commit, there).keys()
