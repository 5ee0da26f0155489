"""Files that survive a power cut, and links to them."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runvault.stores.disk import sync_open

_numbers = itertools.count()


def temporary_beside(target: Path) -> Path:
    """Return a name in the folder of `target` that no other writer uses."""
    return target.with_name(f".{target.name}.{os.getpid()}-{next(_numbers)}.tmp")


def take_name(temporary: Path, target: Path) -> None:
    """Rename `temporary` to `target`, whatever is there."""
    if os.name == "nt" and target.exists():
        target.chmod(0o644)  # Windows replaces no read-only file
    temporary.replace(target)


def make_folder(folder: Path, mode: int | None = None) -> list[Path]:
    """Make `folder` and what lacks above it; return the folders that got a new name by it."""
    if folder.is_dir():
        return []
    missing = list(itertools.takewhile(lambda path: not path.exists(), [folder, *folder.parents]))
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing if mode is not None else ():
        path.chmod(mode or 0)
    return [path.parent for path in missing]


def device_of(path: Path) -> int:
    """Return the file system on which `path` is, or would be."""
    return next(place for place in (path, *path.parents) if place.exists()).stat().st_dev


def link_or_copy(source: Path, target: Path) -> None:
    """Put the content of `source` at the new name `target`: a hard link, else a durable copy.

    The copy is a reflink where the file systems can share blocks.

    Raises
    ------
    FileExistsError
        `target` exists.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without hard links
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    temporary = temporary_beside(target)
    try:
        _reflink_or_copy(source, temporary)
        with temporary.open("rb+") as file:
            sync_open(file)
        temporary.chmod(0o444)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _reflink_or_copy(source: Path, target: Path) -> None:
    from dvc_objects.fs.system import reflink

    try:
        reflink(str(source), str(target))  # type: ignore[no-untyped-call]
    except OSError:
        with suppress(FileNotFoundError):
            target.unlink()  # a reflink that failed may leave an empty file
        shutil.copyfile(source, target)


def chunks_of(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """Yield the bytes of a file piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk


def hash_chunks(chunks: Iterator[bytes]) -> tuple[str, str, int]:
    """Return MD5, SHA-256 and size of bytes that come in pieces.

    Examples
    --------
    >>> hash_chunks(iter([b"ab", b"c"])) == hash_chunks(iter([b"abc"]))
    True
    """
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    for chunk in chunks:
        md5.update(chunk)
        sha256.update(chunk)
        size += len(chunk)
    return md5.hexdigest(), sha256.hexdigest(), size
