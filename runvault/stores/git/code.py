"""The state of the user's own code and of any commit of it, asked without touching it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from runvault.errors import ReplayError
from runvault.stores.git.repository import Repository


class CodeState(TypedDict):
    """The `code` member of a manifest; `base` is set for snapshots alone, which a save does not make."""

    commit: str | None
    base: str | None
    branch: str | None
    dirty: bool | None


def code_of(repository: Repository, head: str | None) -> CodeState:
    """Return what code a result saved now came from.

    Parameters
    ----------
    repository : Repository
        Found from the user's place.
    head : str or None
        `Repository.head`, so that a caller can keep the answer while it stays the same.

    Returns
    -------
    CodeState
        `dirty` says whether tracked files differ from HEAD; untracked files do not count. None in a bare repository.
    """
    if repository.work_tree is None:
        return CodeState(commit=head, base=None, branch=None, dirty=None)
    args = ["status", "--porcelain=v2", "--branch", "--untracked-files=no", "--no-renames", "-z"]
    fields = repository.git_here(*args).stdout.decode("utf-8", "replace").split("\0")
    branch = next((text.removeprefix("# branch.head ") for text in fields if text.startswith("# branch.head ")), None)
    dirty = any(text and not text.startswith("# ") for text in fields)
    return CodeState(commit=head, base=None, branch=None if branch == "(detached)" else branch, dirty=dirty)


_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def code_present(repository: Repository, commit: str) -> bool:
    """Return whether a commit is in this clone."""
    if not _COMMIT.fullmatch(commit):
        return False
    return repository.git("cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128)).returncode == 0


def codes_present(repository: Repository, commits: Iterable[str]) -> set[str]:
    """Return those of some commits that are in this clone, with one process."""
    asked = [commit for commit in commits if _COMMIT.fullmatch(commit)]
    if not asked:
        return set()
    question = "".join(f"{commit}\n" for commit in asked).encode("ascii")
    done = repository.git("cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=question)
    return {line[7:].decode("ascii") for line in done.stdout.split(b"\n") if line.startswith(b"commit ")}


def blob_at(repository: Repository, commit: str, paths: Iterable[str]) -> dict[str, str]:
    """Return the blob of each of `paths` that is a file in a commit, with one process.

    Paths are from the root, with ``/``, in their shortest form; others are left out, as is what is not there.
    """
    asked = [path for path in paths if not {"", ".", ".."} & set(path.split("/"))]
    if not asked or not _COMMIT.fullmatch(commit):
        return {}
    odd = [path for path in asked if "\n" in path or path.endswith("\r")]  # these do not survive a list of lines
    asked = [path for path in asked if path not in odd]
    question = "".join(f"{commit}:{path}\n" for path in asked).encode("utf-8", "surrogateescape")
    args = ["cat-file", "--batch-check=%(objecttype) %(objectname)"]
    answers = zip(asked, repository.git(*args, stdin=question).stdout.split(b"\n"), strict=False)
    found = {path: line[5:].decode("ascii") for path, line in answers if re.fullmatch(rb"blob [0-9a-f]+", line)}
    return found | (_listed(repository, commit, odd) if odd else {})


def _listed(repository: Repository, commit: str, paths: list[str]) -> dict[str, str]:
    listed = repository.git("ls-tree", "-z", "--full-tree", commit, "--", *paths, ok=(0, 128)).stdout
    entries = (entry.split("\t", 1) for entry in listed.decode("utf-8", "surrogateescape").split("\0")[:-1])
    return {path: meta.split(" ")[2] for meta, path in entries if meta.split(" ")[1] == "blob"}


def describe_code(repository: Repository, commit: str) -> str:
    """Return author, date, subject and diffstat of a commit, for a person who decides whether to run it.

    The diffstat is against the first parent. Characters that a terminal would act on, or that hide themselves, are
    written as escapes.

    Raises
    ------
    ReplayError
        The commit is not here.
    """
    if not code_present(repository, commit):
        raise ReplayError(f"there is no code {commit!r} in this clone", "run 'runvault pull' to get it")
    plain = ["-c", "log.showSignature=false", "-c", "log.mailmap=false", "-c", "core.quotePath=false"]
    args = ["-1", "--root", "-m", "--first-parent", "--stat=100,80,60", "--no-renames", "--no-color", "--no-notes"]
    args += ["--no-ext-diff", "--no-textconv", "--submodule=short", "--ignore-submodules=none", "-O/dev/null"]
    layout = "--format=commit  %H%nauthor  %an <%ae>%ndate    %aI%n%n    %s%n"
    said = repository.git(*plain, "-c", "diff.relative=false", "log", *args, layout, commit, "--").stdout
    return _visible(said.decode("utf-8", "replace").rstrip("\n"))


def blob_of(content: bytes) -> str:
    """Return the id that git gives to the bytes of a file."""
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


def blob_of_file(path: Path, object_format: str = "sha1") -> str | None:
    """Return the id that git gives to the bytes of a file, or to the target of a link.

    None for what is not there, cannot be read, or is neither.
    """
    digest = hashlib.new(object_format, usedforsecurity=False)
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            target = os.fsencode(path.readlink())
            digest.update(b"blob %d\0" % len(target) + target)
        elif stat.S_ISREG(found.st_mode):
            digest.update(b"blob %d\0" % found.st_size)
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        else:
            return None
    except OSError:
        return None
    return digest.hexdigest()


# Controls, invisible formatting (among it what turns the direction of text), lone surrogates, private and unassigned.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _visible(text: str) -> str:
    hidden = (mark != "\n" and unicodedata.category(mark) in _HIDDEN for mark in text)
    escaped = (
        mark.encode("unicode_escape").decode("ascii") if hide else mark for mark, hide in zip(text, hidden, strict=True)
    )
    return "".join(escaped)


def untracked_files(repository: Repository, pattern: str) -> list[str]:
    """Return files of the working tree that git neither tracks nor ignores, by path from its root."""
    listed = repository.git_here("ls-files", "-z", "--others", "--exclude-standard", "--", pattern).stdout
    return [os.fsdecode(path) for path in listed.split(b"\0") if path]


def changed_since(repository: Repository, commit: str) -> list[str] | None:
    """Return what a program would find changed: files that differ from a commit, and Python sources that it has not.

    By path from the root of the working tree; None where the commit is not here.
    """
    root = repository.work_tree
    if root is None or not code_present(repository, commit):
        return None
    args = ["diff", "--name-only", "-z", "--no-renames", "--no-relative", "--no-ext-diff", "--ignore-submodules=dirty"]
    told = repository.git_here(*args, commit, "--").stdout
    paths = {*map(os.fsdecode, told.split(b"\0")[:-1]), *untracked_files(repository, "*.py")}
    then = blob_at(repository, commit, paths)  # of a file that is not tracked now, git says that it is gone
    return sorted(path for path in paths if blob_of_file(root / path, repository.object_format) != then.get(path))
