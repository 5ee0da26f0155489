"""Temporary worktrees: the files of a commit in a folder of their own, written without running anything.

The files are written here, blob by blob, not by ``git worktree add`` or ``git checkout``: those run hooks and smudge
filters, make any symbolic link, and convert line endings, encodings and ``$Id$`` as `.gitattributes` of the commit
says, which no configuration can switch off. What lies in the folder is byte for byte what is in the commit; a symbolic
link that may lead out of it is a plain file with its target as the text, a submodule an empty folder.

The folder is a real linked worktree to git, so that what runs in it finds its commit (``git rev-parse HEAD``) and the
archive. But it is not registered in the user's repository: its administrative folder (HEAD, index, ``commondir``) lies
beside it, not in ``.git/worktrees``. Nothing is written to the user's ``.git``, ``git worktree list`` does not show it,
and with the folder all of it is gone. The price: ``git gc`` does not know that the commit is in use, and relies on
``refs/runvault/code/*`` or a branch to keep it. The index is written here as well, with what each file looks like, so
that a ``git status`` in the folder need not read the files again and start the user's filters for that.

Each has a lock beside it which the kernel takes back when its holder dies: by that the next one tells leftovers.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from runvault.errors import ReplayError
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository

PREFIX = "runvault-code-"

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EXECUTABLE, _LINK, _GITLINK = 0o100755, 0o120000, 0o160000

# How `.git` may be spelled where file systems fold case, drop dots and blanks at the end, or give short names (NTFS).
_GIT = re.compile(r"(\.git|git~\d+)[. ]*(:.*)?", re.IGNORECASE | re.DOTALL)
# Characters that HFS+ does not see.
_UNSEEN = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


@contextmanager
def temporary_worktree(repository: Repository, commit: str, paths: Sequence[str] | None = None) -> Iterator[Path]:
    """Write the files of a commit into a folder, for as long as the block lasts.

    First removes what killed processes left behind.

    Parameters
    ----------
    repository : Repository
        Where the commit is. A bare one will do.
    commit : str
        The whole id.
    paths : sequence of str or None
        Files and folders, from the root with ``/``, that are written; None is all. What the commit does not have is
        passed over.

    Yields
    ------
    Path
        The folder, removed afterwards whatever happened, with all that lies in the folder above it, which is its own.

    Raises
    ------
    ReplayError
        The commit, or a file of it, is not here; or it holds a path that no checkout may have, such as ``.git/hooks``.
    """
    remove_leftovers()
    with _own_folder() as root:
        code, admin = root / "code", root / "git"
        entries = _entries(repository, commit)
        chosen = [_checked(entry, commit) for entry in entries if _is_chosen(entry.path, paths)]
        try:
            code.mkdir()
            states = _write_files(repository, code, chosen, commit)
            _write_admin(repository, admin, code, commit)
        except OSError as error:
            raise ReplayError(f"cannot write the code of {commit}: {error.strerror or error}") from error
        _write_index(repository, admin / "index", entries, states)
        yield code


def remove_leftovers() -> None:
    """Remove the folders of processes that have died."""
    for lock_file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        with suppress(OSError):  # somebody else's, or just gone
            if _is_mine(lock_file):
                _remove_if_left(lock_file)


def _is_mine(path: Path) -> bool:
    # The folder for temporary files is everybody's: nothing of others is opened or removed.
    return not path.is_symlink() and (os.name == "nt" or path.lstat().st_uid == os.getuid())


def _remove_if_left(lock_file: Path) -> None:
    lock = FileLock(lock_file, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    try:
        _remove(lock_file.with_suffix(""), lock_file)
    finally:
        lock.release()


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Make a folder with a lock beside it, and remove both."""
    lock, root = _locked_name()
    try:
        root.mkdir(mode=0o700)
        yield root
    finally:
        _remove(root, Path(lock.lock_file))
        lock.release()


def _locked_name() -> tuple[FileLock, Path]:
    parent = Path(tempfile.gettempdir()).resolve()
    while True:
        root = parent / f"{PREFIX}{secrets.token_hex(8)}"
        lock = FileLock(f"{root}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # taken for a leftover in the moment before it was locked
        except OSError as error:
            raise ReplayError(f"cannot write to {str(parent)!r}: {error.strerror or error}") from error
        if Path(lock.lock_file).exists():
            return lock, root
        lock.release()


def _remove(root: Path, lock_file: Path) -> None:
    """Remove a folder and then its lock; what resists keeps its lock, so that the next one tries again."""
    shutil.rmtree(root, ignore_errors=True)
    if root.exists():
        for folder, _, _ in os.walk(root):  # what ran there may have closed its folders
            with suppress(OSError):
                Path(folder).chmod(0o700)
        shutil.rmtree(root, ignore_errors=True)
    if not root.exists():
        with suppress(OSError):  # Windows removes no open file; an empty lock does no harm
            lock_file.unlink()


@dataclass(frozen=True)
class _Entry:
    """A file of a commit; its path as bytes, since nothing says in which encoding it is."""

    mode: int
    blob: str
    path: bytes


def _entries(repository: Repository, commit: str) -> list[_Entry]:
    known = _COMMIT.fullmatch(commit)
    done = repository.git("ls-tree", "-r", "-z", "--full-tree", commit, ok=(0, 128)) if known else None
    if done is None or done.returncode:
        raise ReplayError(f"there is no code {commit!r} in this clone", "run 'runvault pull' to get it")
    entries = []
    for line in done.stdout.split(b"\0")[:-1]:
        meta, path = line.split(b"\t", 1)
        mode, _, blob = meta.split(b" ")
        entries.append(_Entry(int(mode, 8), blob.decode("ascii"), path))
    return entries


def _is_chosen(path: bytes, paths: Sequence[str] | None) -> bool:
    if paths is None:
        return True
    plain = (os.fsencode(chosen).strip(b"/").removeprefix(b"./") for chosen in paths)
    return any(chosen in (b"", b".", path) or path.startswith(chosen + b"/") for chosen in plain)


def _checked(entry: _Entry, commit: str) -> _Entry:
    parts = entry.path.decode("utf-8", "surrogateescape").split("/")
    if any(_is_unsafe(part) for part in parts):
        raise ReplayError(f"code {commit} holds a path that no checkout may have: {os.fsdecode(entry.path)!r}")
    return entry


def _is_unsafe(part: str) -> bool:
    if part in ("", ".", "..") or _GIT.fullmatch(part.translate(_UNSEEN)):
        return True
    return os.name == "nt" and not {"\\", ":"}.isdisjoint(part)


def _write_files(repository: Repository, code: Path, entries: list[_Entry], commit: str) -> dict[bytes, os.stat_result]:
    """Write the files and return what each looks like."""
    root = os.fsencode(code)
    for folder in sorted({_folder(entry) for entry in entries}):
        Path(os.fsdecode(root + b"/" + folder)).mkdir(parents=True, exist_ok=True)
    files = [entry for entry in entries if entry.mode != _GITLINK]
    states = {}
    links = []
    written = time.time() - 2
    contents = Reader(repository).read_blobs(entry.blob for entry in files)
    for entry in files:
        blob, content = next(contents, ("", b""))
        if blob != entry.blob:
            raise ReplayError(f"code {commit} is not whole here: {os.fsdecode(entry.path)!r} is missing")
        if entry.mode == _LINK and _stays_inside(entry.path, content):
            links.append((entry, content))
        else:
            states[entry.path] = _write_file(root + b"/" + entry.path, content, entry.mode, written)
    next(contents, None)  # see its process end
    for entry, content in links:  # last: nothing is written through them
        states[entry.path] = _write_link(root + b"/" + entry.path, content, written)
    return states


def _stays_inside(path: bytes, target: bytes) -> bool:
    """Return whether a link leads nowhere but into the folder, whatever other links of its kind lie on the way.

    It may go up first, from where it lies, and then down: to go up again behind a link would be from where that leads.

    Examples
    --------
    >>> _stays_inside(b"research/common", b"../common"), _stays_inside(b"research/common", b"../../common")
    (True, False)
    """
    parts = target.decode("utf-8", "surrogateescape").split("/")
    down = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return down <= path.count(b"/") and "\0" not in target.decode("latin-1") and not any(map(_is_unsafe, parts[down:]))


def _write_link(path: bytes, target: bytes, written: float) -> os.stat_result:
    try:
        Path(os.fsdecode(path)).symlink_to(os.fsdecode(target))
    except OSError:  # Windows wants a privilege; and what is there already is not written over
        return _write_file(path, target, _LINK, written)
    if os.utime in os.supports_follow_symlinks:
        os.utime(path, (written, written), follow_symlinks=False)
    return os.lstat(path)


def _folder(entry: _Entry) -> bytes:
    return entry.path if entry.mode == _GITLINK else entry.path.rpartition(b"/")[0]


def _write_file(path: bytes, content: bytes, mode: int, written: float) -> os.stat_result:
    # Two names that this file system takes for one must not become one file.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o777 if mode == _EXECUTABLE else 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        # Files as young as the index are read again by every status ("racy"), through the user's filters.
        os.utime(descriptor if os.utime in os.supports_fd else path, (written, written))
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _write_admin(repository: Repository, admin: Path, code: Path, commit: str) -> None:
    """Make the folder that ``git worktree add`` would make in ``.git/worktrees``."""
    admin.mkdir()
    (admin / "HEAD").write_bytes(f"{commit}\n".encode())
    (admin / "commondir").write_bytes(os.fsencode(repository.common_dir) + b"\n")
    (admin / "gitdir").write_bytes(os.fsencode(code / ".git") + b"\n")
    (code / ".git").write_bytes(b"gitdir: " + os.fsencode(admin) + b"\n")


_STAT = struct.Struct(">10I")
_SKIP_WORKTREE = 0x4000


def _write_index(
    repository: Repository, path: Path, entries: list[_Entry], states: dict[bytes, os.stat_result]
) -> None:
    """Write an index (gitformat-index(5), version 3) that knows the files written; the others are not checked out."""
    digest = hashlib.new(repository.object_format, usedforsecurity=False)
    parts = [struct.pack(">4sII", b"DIRC", 3, len(entries))]
    parts += (_index_entry(entry, states.get(entry.path)) for entry in sorted(entries, key=lambda entry: entry.path))
    content = b"".join(parts)
    digest.update(content)
    path.write_bytes(content + digest.digest())


def _index_entry(entry: _Entry, state: os.stat_result | None) -> bytes:
    skipped = state is None and entry.mode != _GITLINK
    flags = min(len(entry.path), 0xFFF) | (0x4000 if skipped else 0)
    head = _STAT.pack(*_seen(entry.mode, state)) + bytes.fromhex(entry.blob) + struct.pack(">H", flags)
    if skipped:
        head += struct.pack(">H", _SKIP_WORKTREE)
    return head + entry.path + b"\0" * (8 - (len(head) + len(entry.path)) % 8)


def _seen(mode: int, state: os.stat_result | None) -> tuple[int, ...]:
    if state is None:
        return (0, 0, 0, 0, 0, 0, mode, 0, 0, 0)
    times = (*divmod(state.st_ctime_ns, 10**9), *divmod(state.st_mtime_ns, 10**9))
    rest = (state.st_dev, state.st_ino, mode, state.st_uid, state.st_gid, state.st_size)
    return tuple(number & 0xFFFFFFFF for number in (*times, *rest))
