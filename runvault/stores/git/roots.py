"""What a repository still names: commits by its refs, and the DVC files of its user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from runvault.errors import IntegrityError
from runvault.stores.git.bundling import INCOMING
from runvault.stores.git.programs import run_git
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository

DVC_FILES = (":(glob)**/*.dvc", ":(glob)**/dvc.lock")
RUN_CACHE = ".dvc/cache/runs"
# What our own refs remember of others and of transfers, which may be long ago. A bundle on its way in is in use.
_MEMORY = tuple(f"refs/runvault/{kind}/" for kind in ("fetched", "incoming", "remotes", "sent"))
_IN_USE = f"{INCOMING}/"


def commits_named(repository: Repository) -> list[str]:
    """Return the commits of all refs but those that only remember, and of every work tree's HEAD, each once."""
    wanted = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname)\t%(refname)"
    listed = repository.git("for-each-ref", wanted).stdout.decode("utf-8", "surrogateescape").splitlines()
    named = (line.split("\t") for line in listed)
    words = [line.split() for line, ref in named if ref.startswith(_IN_USE) or not ref.startswith(_MEMORY)]
    commits = [pair[1] for line in words for pair in (line[:2], line[2:]) if pair and pair[0] == "commit"]
    trees = repository.git("worktree", "list", "--porcelain", "-z").stdout.decode("utf-8", "surrogateescape")
    heads = [field.removeprefix("HEAD ") for field in trees.split("\0") if field.startswith("HEAD ")]
    return [commit for commit in dict.fromkeys([*commits, *heads]) if commit.strip("0")]


def files_of_users(repository: Repository, archives: Sequence[str]) -> Iterator[bytes]:
    """Yield the content of every DVC file that is the user's own: those of all commits, and of the work trees.

    Parameters
    ----------
    archives : sequence of str
        Commits whose history is runvault's.
    """
    yield from _committed(repository, archives)
    for place in _work_trees(repository):
        yield from _present(repository, place)
        for path in (place / RUN_CACHE).rglob("*"):
            with suppress(OSError):
                yield path.read_bytes()


def _committed(repository: Repository, archives: Sequence[str]) -> Iterator[bytes]:
    others = [f"--exclude={prefix}*" for prefix in _MEMORY]
    how = ["-z", "--raw", "--no-renames", "--no-abbrev", "--root", "-m", "--format="]
    rest = ["--not", *archives] if archives else []
    told = repository.git(
        "-c", "log.showSignature=false", "log", *others, "--all", "--reflog", *how, *rest, "--", *DVC_FILES
    ).stdout
    # `git log -z` puts its separators where it likes around what a commit has no header for
    metas = [field.lstrip(b"\n") for field in told.split(b"\0") if field.lstrip(b"\n").startswith(b":")]
    blobs = {blob for meta in metas if (blob := meta.split(b" ")[3].decode("ascii")).strip("0")}
    found = dict(Reader(repository).read_blobs(blobs))
    if len(found) < len(blobs):
        lost = len(blobs) - len(found)
        raise IntegrityError(
            f"{lost} DVC files of the history are missing, so nobody can say what they name", "git fsck"
        )
    yield from found.values()


def _work_trees(repository: Repository) -> Iterator[Path]:
    listed = repository.git("worktree", "list", "--porcelain", "-z").stdout.decode("utf-8", "surrogateescape")
    for field in listed.split("\0"):
        path = Path(field.removeprefix("worktree "))
        if field.startswith("worktree ") and (path / ".git").exists():
            yield path


def _present(repository: Repository, place: Path) -> Iterator[bytes]:
    """Yield the DVC files in a work tree, ignored ones too, and those that are staged."""
    args = ["ls-files", "-z", "--cached", "--others", "--", *DVC_FILES]
    for name in run_git(args, cwd=place).stdout.decode("utf-8", "surrogateescape").split("\0"):
        with suppress(OSError):
            if name:
                yield (place / name).read_bytes()
    staged = run_git(["ls-files", "-z", "--stage", "--", *DVC_FILES], cwd=place).stdout.decode("utf-8", "replace")
    blobs = {entry.split(" ")[1] for entry in staged.split("\0") if entry}
    yield from (content for _, content in Reader(repository).read_blobs(blobs))
