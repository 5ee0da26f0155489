"""The object store: DVC's cache, and a second name for every object that `dvc gc` does not know."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

from runvault.errors import ArtifactMissingError, FormatError, IntegrityError, RunvaultError
from runvault.stores.dvc.batch import Batch, object_path
from runvault.stores.dvc.cache import Cache, find_dvc_folder, resolve_cache
from runvault.stores.dvc.files import chunks_of, device_of, hash_chunks
from runvault.stores.dvc.inputs import Listing, describe_file, list_folder, read_listing, writer_of
from runvault.stores.dvc.pending import Pending
from runvault.stores.dvc.pointers import MD5
from runvault.stores.dvc.stored import Stored, describe

KEEP = "runvault/keep/files/md5"  # below the common git folder: shared by worktrees, never pushed

NOWHERE = "whoever has it sends it with 'runvault push --all'; then 'runvault pull --all' fetches it"

_PLACES = ("keep", "cache")  # in the order in which copies are looked at

HINTS = {
    errno.ENOSPC: "free some space and do it again: nothing half is kept",
    errno.EDQUOT: "free some space and do it again: nothing half is kept",
    errno.EACCES: "the DVC cache and the Git folder must be writable",
    errno.EROFS: "the DVC cache and the Git folder must be writable",
}


@dataclass(frozen=True)
class ObjectProblem:
    """What is wrong with one copy of an object: `place` is ``cache`` or ``keep``, `kind` ``missing`` or ``damaged``."""

    place: str
    kind: str
    path: Path


class ObjectStore:
    """Objects by MD5, in the DVC cache of a repository and in its keep.

    Parameters
    ----------
    keep : Path
        The ``files/md5`` folder in the common git folder that holds a hard link of every object.
    dvc_folder : Path or None
        The ``.dvc`` folder whose configuration names the cache; None where the repository has no DVC, and keep is all.
    """

    def __init__(self, keep: Path, dvc_folder: Path | None) -> None:
        self.keep = keep
        self.elsewhere: Callable[[str], None] | None = None
        """Asked to bring an object that is not here, before it is called missing."""
        self._dvc_folder = dvc_folder
        self._local = threading.local()  # a batch belongs to the thread that opened it

    @classmethod
    def find(cls, work_tree: Path | None, common_dir: Path) -> ObjectStore:
        """Return the store of the repository with this common git folder, as seen from `work_tree`."""
        return cls(common_dir / KEEP, find_dvc_folder(work_tree, common_dir))

    @cached_property
    def _cache(self) -> Cache | None:
        # Asked of DVC on first need only: keep answers nearly every read, and DVC takes 60 ms to import
        return None if self._dvc_folder is None else resolve_cache(self._dvc_folder)

    @cached_property
    def pending(self) -> Pending:
        """Return the notes of objects that are put and not committed yet."""
        return Pending(self.keep.parents[2])

    @property
    def dvc_folder(self) -> Path | None:
        """Return the ``.dvc`` folder that rules here; None where the repository has no DVC."""
        return self._dvc_folder

    @property
    def cache(self) -> Path | None:
        """Return the ``files/md5`` folder of the DVC cache; None where the repository has no DVC."""
        return None if self._cache is None else self._cache.objects

    @property
    def keep_takes_space(self) -> bool:
        """Tell whether keep lies on another file system than the cache, so that it holds copies instead of links."""
        return self.cache is not None and device_of(self.cache) != device_of(self.keep)

    def put(self, data: bytes) -> Stored:
        """Store `data` durably (inside `batch`: by its end) and say what it is called."""
        return self.put_all([data])[0]

    def put_all(self, contents: Sequence[bytes]) -> list[Stored]:
        """Store several objects as `put` stores one; they are noted together."""
        described = [describe(data) for data in contents]
        with storing(self.keep), self.batch() as batch:
            batch.expect(stored.md5 for stored in described)
            for stored, data in zip(described, contents, strict=True):
                batch.add(stored.md5, partial(_write, data), partial(_is_of, stored))
        return described

    def put_file(self, path: Path) -> Stored:
        """Store a file, or a folder as DVC's listing of its files, and say what it is called."""
        with storing(path), self.batch() as batch:
            return self._put_folder(path, batch) if path.is_dir() else self._put_file(path, batch)

    def name_of(self, path: Path) -> str:
        """Return what a file or a folder would be called as an object; nothing is stored."""
        if not path.is_dir():
            return describe_file(path).md5
        return f"{describe(self._listing(path).data).md5}.dir"

    def _put_file(self, path: Path, batch: Batch) -> Stored:
        stored = describe_file(path)
        batch.add(stored.md5, writer_of(path, stored), partial(_is_of, stored))
        return stored

    def _put_folder(self, path: Path, batch: Batch) -> Stored:
        listing = self._listing(path)
        for file, md5 in listing.files.items():
            if self._put_file(file, batch).md5 != md5:
                raise IntegrityError(f"{file} changed while it was read", "save again once nothing writes to it")
        stored = describe(listing.data)
        name = f"{stored.md5}.dir"
        batch.add(name, lambda out: out.write(listing.data), lambda copy: copy.read_bytes() == listing.data)
        return Stored(name, stored.sha256, listing.size, len(listing.files))

    def _listing(self, path: Path) -> Listing:
        return list_folder(path, None if self._dvc_folder is None else self._dvc_folder.parent)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Make everything that this thread puts inside durable together at the end; an exception inside forgets it."""
        opened: Batch | None = getattr(self._local, "batch", None)
        if opened is not None:
            yield opened
            return
        batch = self._local.batch = self._new_batch()
        try:
            yield batch
            with storing(self.keep):
                batch.finish()
        finally:
            self._local.batch = None
            batch.discard()

    def _new_batch(self) -> Batch:
        if self._cache is None:
            return Batch((self.keep,), note=self.pending.note)
        return Batch((self._cache.objects, self.keep), self._cache.folder_mode, self.pending.note)

    def get(self, md5: str, sha256: str | None = None) -> bytes:
        """Return an object's bytes once they match `sha256` (its MD5 where that is not given).

        Raises
        ------
        ArtifactMissingError
            Neither the cache nor keep has it.
        IntegrityError
            No copy matches.
        """
        if self.elsewhere is not None and not self.has(md5):
            self.elsewhere(md5)
        damaged = []
        for path in self._paths(md5):
            data = _read(path)
            if data is not None and _matches(data, md5, sha256):
                return data
            damaged += [path] if data is not None else []
        if not damaged:
            raise ArtifactMissingError(f"object {md5} is not in the DVC cache", NOWHERE)
        raise IntegrityError(
            f"object {md5} does not match its hash, in {' and '.join(map(str, damaged))}",
            "heal it from a second copy or the DVC remote: runvault verify --repair",
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Bring nothing from elsewhere in the block: who looks at what is here changes nothing."""
        before, self.elsewhere = self.elsewhere, None
        try:
            yield
        finally:
            self.elsewhere = before

    def sound_path(self, md5: str) -> Path:
        """Return where a copy of an object lies that matches its name.

        Raises
        ------
        ArtifactMissingError
            There is no copy.
        IntegrityError
            No copy matches.
        """
        present = [path for path in self._paths(md5) if path.is_file()]
        for path in present:
            if _kind_of_damage(path, md5, None, None) is None:
                return path
        if present:
            raise IntegrityError(f"object {md5} is damaged here", "run 'runvault verify'")
        raise ArtifactMissingError(f"object {md5} is not in the DVC cache")

    def _paths(self, md5: str) -> Iterator[Path]:
        if not MD5.fullmatch(md5):
            raise FormatError(f"{md5!r} is no MD5 of DVC")
        yield object_path(self.keep, md5)
        if self.cache is not None:
            yield object_path(self.cache, md5)

    def has(self, md5: str) -> bool:
        """Tell whether there is a copy, whatever it holds."""
        return any(path.is_file() for path in self._paths(md5))

    def heal(
        self,
        md5: str,
        sha256: str | None = None,
        size: int | None = None,
        fetch: Callable[[str], bytes | None] | None = None,
    ) -> str | None:
        """Put a good copy of an object wherever it is missing or damaged; of a folder of its files, too.

        Parameters
        ----------
        fetch : callable, optional
            Gives an object from elsewhere; what it gives is compared with the hash like any other copy.

        Returns
        -------
        str or None
            Where the good copy came from: ``keep``, ``cache`` or ``remote``. None where nothing was to be done, or no
            good copy is anywhere; then nothing is changed.
        """
        problems = {problem.path for problem in self._copies(md5, sha256, size)}
        good = [place for place, path in zip(_PLACES, self._paths(md5), strict=False) if path not in problems]
        source = good[0] if good else None
        if problems:
            data = None if good or fetch is None else fetch(md5)
            if data is not None and _matches(data, md5, sha256):
                source = "remote"
            if source is None:
                return None
            with storing(self.keep), self.batch() as batch:
                batch.add(md5, lambda file: file.write(data or b""), lambda path: path not in problems)
            self.pending.settle([md5])
        healed = [source] if problems else []
        if md5.endswith(".dir"):
            files = read_listing(self.get(md5, sha256))
            healed += [by for file in files if (by := self.heal(file, fetch=fetch)) is not None]
        return healed[0] if healed else None

    def settle(self, md5s: Iterable[str]) -> None:
        """Say that a commit names these objects, so that a collection need not take this process's word for them."""
        named = set(md5s)
        self.pending.settle(named.union(*(self.files_in(md5) for md5 in named if md5.endswith(".dir"))))

    def kept(self) -> Iterator[str]:
        """Yield the objects that keep has a name for: those that runvault put."""
        for folder in sorted(self.keep.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                if MD5.fullmatch(folder.name + path.name):
                    yield folder.name + path.name

    def files_in(self, md5: str) -> list[str]:
        """Return the objects that a folder's object lists, none of one that is not here or cannot be read."""
        try:
            return read_listing(self.get(md5))
        except RunvaultError:
            return []

    def drop(self, md5s: Collection[str], *, dry_run: bool = False) -> int:
        """Remove objects from keep, and from the cache where it is this repository's own; return the bytes freed.

        A cache elsewhere is one that other repositories may use, whose files nobody here knows: names there stay.
        """
        freed = 0
        for md5 in md5s:
            paths = [path for path in self._paths(md5) if path.is_file() and self._is_own(path)]
            names = Counter((path.stat().st_dev, path.stat().st_ino) for path in paths)
            for path in paths:
                found = path.stat()
                if found.st_nlink <= names.pop((found.st_dev, found.st_ino), 0):  # no other name keeps its blocks
                    freed += found.st_size
            for path in () if dry_run else paths:
                if os.name == "nt":
                    path.chmod(0o644)  # no read-only file is removed there
                path.unlink(missing_ok=True)
        return freed

    def _is_own(self, path: Path) -> bool:
        if path.is_relative_to(self.keep):
            return True
        folder, cache = self._dvc_folder, self._cache
        return (
            folder is not None
            and cache is not None
            and cache.folder_mode is None
            and cache.objects.resolve().is_relative_to(folder.resolve())
        )

    @property
    def shares_cache(self) -> bool:
        """Tell whether other repositories may use the cache, too, so that nothing is removed from it."""
        return self.cache is not None and not self._is_own(self.cache)

    def check(self, md5: str, sha256: str | None = None, size: int | None = None) -> list[ObjectProblem]:
        """Return what is wrong with the copies of an object; nothing, where every place holds it intact.

        Of a folder the files are looked at as well, unless its listing is itself unreadable.
        """
        problems = self._copies(md5, sha256, size)
        if md5.endswith(".dir") and len(problems) < len(list(self._paths(md5))):
            for file in read_listing(self.get(md5, sha256)):
                problems += self.check(file)
        return problems

    def _copies(self, md5: str, sha256: str | None, size: int | None) -> list[ObjectProblem]:
        problems = []
        for place, path in zip(_PLACES, self._paths(md5), strict=False):
            kind = _kind_of_damage(path, md5, sha256, size)
            problems += [ObjectProblem(place, kind, path)] if kind else []
        return problems


def _write(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _is_of(stored: Stored, path: Path) -> bool:
    return describe_file(path) == stored


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _matches(data: bytes, md5: str, sha256: str | None) -> bool:
    if sha256 is not None:
        return hashlib.sha256(data).hexdigest() == sha256
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir")


def _kind_of_damage(path: Path, md5: str, sha256: str | None, size: int | None) -> str | None:
    if not path.is_file():
        return "missing"
    if size is not None and not md5.endswith(".dir") and path.stat().st_size != size:
        return "damaged"
    of_md5, of_sha256, _ = hash_chunks(chunks_of(path))
    same = of_md5 == md5.removesuffix(".dir") and sha256 in (None, of_sha256)
    return None if same else "damaged"


@contextmanager
def storing(place: Path) -> Iterator[None]:
    """Turn what the system says while objects are written into ours; `place` where it names no file."""
    try:
        yield
    except OSError as error:
        message = f"cannot store objects: {error.strerror or error}: {error.filename or place}"
        raise RunvaultError(message, HINTS.get(error.errno or 0)) from error
