"""Input data: files and folders of the user's, hashed as DVC hashes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from runvault.errors import FormatError, IntegrityError, RunvaultError
from runvault.stores.dvc.files import chunks_of, hash_chunks
from runvault.stores.dvc.stored import Stored
from runvault.stores.dvc.unchanged import Stamp, remember, stamp_of

if TYPE_CHECKING:
    from dvc_data.hashfile.tree import Tree

FILE_MD5 = re.compile(r"[0-9a-f]{32}")


_hashed: dict[Stamp, Stored] = {}


def describe_file(path: Path) -> Stored:
    """Return what the file's content is called as an object.

    It is read once, under whatever names, for as long as it stays unchanged and this process lives.
    """
    stamp = stamp_of(path)
    known = None if stamp is None else _hashed.get(stamp)
    if known is None:
        known = Stored(*hash_chunks(chunks_of(path)))
        if stamp is not None:
            remember(_hashed, stamp, known)
    return known


def writer_of(path: Path, expected: Stored) -> Callable[[BinaryIO], None]:
    """Return a function that copies the file at `path`, and refuses one that changed since it was hashed."""

    def write(file: BinaryIO) -> None:
        for chunk in chunks_of(path):
            file.write(chunk)
        file.flush()
        if describe_file(Path(file.name)) != expected:
            raise IntegrityError(f"{path} changed while it was read", "save again once nothing writes to it")

    return write


@dataclass(frozen=True)
class Listing:
    """A folder as DVC sees it: the bytes of its ``.dir`` object, its files by their MD5, their size together."""

    data: bytes
    files: dict[Path, str]
    size: int


def list_folder(folder: Path, repository: Path | None) -> Listing:
    """Return the listing that ``dvc add`` makes of `folder`; ``.dvcignore`` files of `repository` are honoured."""
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter
    from dvc_data.hashfile.build import IgnoreInCollectedDirError, build
    from dvc_data.hashfile.db import get_odb

    folder = folder.absolute()
    inside = repository is not None and folder.is_relative_to(repository)
    ignore = DvcIgnoreFilter(localfs, str(repository)) if inside else None
    try:
        # A dry run hashes and lists; where the objects would go does not matter
        odb = get_odb(localfs, str(folder))  # type: ignore[no-untyped-call]
        built = build(odb, str(folder), localfs, "md5", dry_run=True, ignore=ignore)
    except IgnoreInCollectedDirError as error:
        raise RunvaultError(f"{folder} holds a .dvcignore file, which DVC refuses in data", "move it up") from error
    meta, tree = built[1], cast("Tree", built[2])
    files = {folder.joinpath(*key): info.value for key, (_, info) in tree.iteritems()}  # type: ignore[no-untyped-call]
    return Listing(tree.as_bytes(), files, meta.size or 0)


def read_listing(data: bytes) -> list[str]:
    """Return the MD5s of the files in a ``.dir`` object; where they were is of no interest to a store.

    Raises
    ------
    FormatError
        It is not such a listing.
    """
    try:
        names = [entry["md5"] for entry in json.loads(data)]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise FormatError("a folder's object is not a listing of DVC") from error
    if not all(isinstance(name, str) and FILE_MD5.fullmatch(name) for name in names):
        raise FormatError("a folder's object lists what is no file")
    return names
