"""Thousands of files in one commit: ``git fast-import`` writes one pack, onto a private ref.

It never moves the archive branch itself: beside ``git pack-refs`` such moves vanish with exit status 0, and it can exit
0 having done nothing. So what it made is looked at, and the branch is moved like for every other write.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from typing import IO, cast

import pygit2

from runvault.errors import IntegrityError, RunvaultError
from runvault.stores.disk import sync_folder
from runvault.stores.git.edits import Content, Known
from runvault.stores.git.failures import DisturbedError
from runvault.stores.git.objects import Built, Tip, check_path, open_repository, translated
from runvault.stores.git.programs import DURABLE, git_failure, start_git
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository

PRIVATE = "refs/runvault/tmp/"

# Files are sent a batch at a time, those of one name next to each other: fast-import packs each as a difference from
# the one before, and a manifest differs little from the next one, but in everything from the run's other files.
_BATCH_FILES = 4_096
_BATCH_BYTES = 16 << 20

# Deflating is half of the work: level 1 takes a third of level 6's time for a tenth more bytes. Never explode the pack.
_TUNING = ("-c", "pack.compression=1", "-c", "fastimport.unpackLimit=0")

File = tuple[str, Content]


@contextmanager
def imported(
    repository: Repository, tip: Tip, files: Iterable[File], draft: bytes, *, again: bool = False
) -> Iterator[Built]:
    """Write the objects of a large edit, and hold them with a private ref until the block ends.

    Parameters
    ----------
    repository : Repository
        Where; the write lock is held.
    tip : Tip
        What the edit is on top of.
    files : iterable of (path, content)
        Consumed as it is sent; no content is kept.
    draft : bytes
        The commit object to be, with any tree: its people, times and message are used.
    again : bool
        Whether an attempt before may have left the same pack: a ``git repack`` that has listed that will drop what is
        called so.

    Raises
    ------
    RunvaultError
        git failed, or did not do what its exit status said.
    """
    sweep_private(repository)
    ref = f"{PRIVATE}{secrets.token_hex(8)}"
    built = Built()
    try:
        try:
            _fast_import(repository, _stream(ref, tip, files, draft + ref.encode() if again else draft, built))
        except DisturbedError:
            # What a killed fast-import left under the name of this very pack is in the way: make it another one.
            built = Built()
            _fast_import(repository, _stream(ref, tip, files, draft + ref.encode(), built))
        with translated("cannot sync the folder of packs"):
            sync_folder(repository.common_dir / "objects" / "pack")
        handle = open_repository(repository.common_dir)
        built.tree = _tree_of(handle, ref, tip)
        yield built
    finally:
        sweep_private(repository)


def compare(repository: Repository, tip: Tip, commit: str, built: Built) -> None:
    """Raise unless a commit holds exactly the files that were sent."""
    expected = dict(built.blobs)
    for changed, blob in Reader(repository).changed_files(tip.commit, commit):
        if blob is None:
            wrong = not any(changed == path or changed.startswith(path + "/") for path in built.removed)
        else:
            wrong = str(expected.pop(changed, None)) != blob
        if wrong:
            raise IntegrityError(f"{changed!r} does not hold what was saved at {commit}")
    for path, same in expected.items():  # as before
        if tip.tree is None or path not in tip.tree or tip.tree[path].id != same:
            raise IntegrityError(f"{path!r} does not hold what was saved at {commit}")


def sweep_private(repository: Repository) -> None:
    """Remove the private refs, those of dead writers too. Needs the write lock; what fails is done the next time.

    A loose ref is simply unlinked: ``git update-ref -d`` takes the lock of packed-refs, and killed in the middle it
    would leave that lock to every other program.
    """
    folder = repository.common_dir / PRIVATE
    with suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
    packed = repository.common_dir / "packed-refs"
    with suppress(OSError, RunvaultError):
        if f" {PRIVATE}".encode() in packed.read_bytes():
            names = repository.git("for-each-ref", "--format=delete %(refname)", PRIVATE).stdout
            repository.git("update-ref", "--stdin", stdin=names)


def _fast_import(repository: Repository, stream: Iterator[bytes]) -> None:
    args = [f"--git-dir={repository.common_dir}", *DURABLE, *_TUNING, "fast-import", "--quiet", "--done"]
    with start_git(args, cwd=repository.common_dir, answers=False) as process:
        questions, complaints = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stderr)
        for part in stream:
            if not _sent(questions, part):
                break
        with suppress(OSError):
            questions.close()
        said = complaints.read()
        if process.wait():
            with suppress(OSError):
                (repository.common_dir / f"fast_import_crash_{process.pid}").unlink()
            raise git_failure(args, process.returncode, said)


def _sent(questions: IO[bytes], part: bytes) -> bool:
    """Send a part; False where git has ended or cannot be reached: its status and words then say why."""
    try:
        questions.write(part)
        questions.flush()
    except OSError:
        return False
    return True


def _stream(ref: str, tip: Tip, files: Iterable[File], draft: bytes, built: Built) -> Iterator[bytes]:
    """Yield the commands; note in `built` what they should lead to."""
    head, message = draft.split(b"\n\n", 1)
    people = [line for line in head.split(b"\n") if line.startswith((b"author ", b"committer "))]
    yield b"commit %s\n%s\ndata %d\n%s\n" % (ref.encode(), b"\n".join(people), len(message), message)
    if tip.commit:
        yield f"from {tip.commit}\n".encode()
    for batch in _batches(files):
        parts = []
        for path, content in batch:
            check_path(path)
            if content is None:
                built.blobs.pop(path, None)
                built.removed.append(path)
                parts.append(f"D {path}\n".encode())
            elif isinstance(content, Known):
                raise TypeError(f"{path!r} is an object already: an edit in bulk takes contents")
            else:
                built.blobs[path] = _blob_id(content)
                parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content))
        yield b"".join(parts)
    yield b"done\n"


def _batches(files: Iterable[File]) -> Iterator[list[File]]:
    """Yield the files in batches, sorted by the last part of the path; a removal ends a batch, to keep its place."""
    batch: list[File] = []
    size = 0
    for path, content in files:
        if not isinstance(content, bytes):
            yield _by_name(batch)
            yield [(path, content)]
            batch, size = [], 0
            continue
        batch.append((path, content))
        size += len(content)
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield _by_name(batch)
            batch, size = [], 0
    yield _by_name(batch)


def _by_name(batch: list[File]) -> list[File]:
    return sorted(batch, key=lambda file: file[0].rpartition("/")[2])


def _blob_id(content: bytes) -> pygit2.Oid:
    return pygit2.Oid(raw=sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).digest())


def _tree_of(handle: pygit2.Repository, ref: str, tip: Tip) -> pygit2.Oid:
    """Return the tree that fast-import made, once it is clear that it made one."""
    with translated("git fast-import ended well and wrote nothing"):
        commit = handle.lookup_reference(ref).peel(pygit2.Commit)
    if [str(parent) for parent in commit.parent_ids] != ([tip.commit] if tip.commit else []):
        raise IntegrityError(f"git fast-import wrote {commit.id}, which does not stand on {tip.commit}")
    return commit.tree_id
