"""Objects to and from the DVC remote: only what is missing, checked on the way."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

from runvault.errors import ArtifactMissingError, IntegrityError, RunvaultError
from runvault.stores.dvc.batch import Batch
from runvault.stores.dvc.files import chunks_of
from runvault.stores.dvc.inputs import describe_file, read_listing
from runvault.stores.dvc.remotes import CHUNK, ObjectRemote
from runvault.stores.dvc.store import ObjectStore, storing

Tell: TypeAlias = Callable[[int, int], None]  # how many of how many are done

LISTING_BYTES = 64 << 20
THREADS = 8  # for a remote behind a network; a folder is bound by the disk
FOLDER_THREADS = 2


@dataclass(frozen=True)
class Wanted:
    """An object by its name in DVC; `size` is the most that is taken of it, None where nobody said."""

    md5: str
    size: int | None = None


@dataclass
class Moved:
    """What a transfer did: objects and bytes, and what could not be moved, with the reason.

    Of `failed`, `passing` names those that a later attempt may move: neither absent nor damaged there.
    """

    objects: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    passing: set[str] = field(default_factory=set)

    def add(self, other: Moved) -> None:
        """Count another transfer's objects in."""
        self.objects += other.objects
        self.bytes += other.bytes
        self.failed.update(other.failed)
        self.passing |= other.passing


def send(remote: ObjectRemote, store: ObjectStore, names: Iterable[str], tell: Tell | None = None) -> Moved:
    """Send objects that the remote lacks: files first, the listings of folders last.

    One that is not here, or is damaged here, is not sent and named in `failed`.
    """
    moved, lacking = Moved(), set(names)
    listings = {name for name in lacking if name.endswith(".dir")}
    listed: set[str] = set()
    for name in listings:
        with _noting(moved, name):
            listed.update(read_listing(store.get(name)))
    files = lacking - listings | (listed - remote.present(listed))
    for group in (files, listings):
        moved.add(_send(remote, store, sorted(group), tell))
    return moved


def _send(remote: ObjectRemote, store: ObjectStore, names: Sequence[str], tell: Tell | None) -> Moved:
    moved, sources = Moved(), dict[str, Path]()
    for name in names:
        with _noting(moved, name):
            sources[name] = store.sound_path(name)
    if not sources:
        return moved
    with remote.reached():
        if remote.folder is not None:
            _copy(remote.folder, sources, tell)
        else:
            moved.failed.update(_upload(remote, sources, tell))
    sent = [path for name, path in sources.items() if name not in moved.failed]
    moved.objects, moved.bytes = len(sent), sum(path.stat().st_size for path in sent)
    return moved


def _copy(folder: Path, sources: dict[str, Path], tell: Tell | None) -> None:
    """Write into a folder as into the cache: synced, and under its name only when whole."""
    batch = Batch((folder,))
    try:
        for done, (name, path) in enumerate(sources.items(), 1):
            batch.add(name, _copier(path), lambda _: False)
            if tell is not None:
                tell(done, len(sources))
        batch.finish()
    finally:
        batch.discard()


def _upload(remote: ObjectRemote, sources: dict[str, Path], tell: Tell | None) -> dict[str, str]:
    """Upload through DVC, several at once; return what failed, with the reason."""
    from dvc.fs import localfs
    from fsspec.callbacks import Callback

    failed: dict[str, str] = {}

    class Telling(Callback):  # type: ignore[misc]
        def call(self, *_: object, **__: object) -> None:
            if tell is not None:
                tell(self.value, len(sources))

    def note(name: str, error: BaseException) -> None:
        failed[name] = " ".join(str(error).split())[:300] or type(error).__name__

    paths, names = [str(path) for path in sources.values()], list(sources)
    remote.odb.add(paths, localfs, names, check_exists=False, on_error=note, callback=Telling())
    return failed


def fetch(remote: ObjectRemote, store: ObjectStore, wanted: Iterable[Wanted], tell: Tell | None = None) -> Moved:
    """Put the objects that are not here into the store; the files of folders too.

    One that the remote lacks, or that does not match its name, is not taken and named in `failed`.
    """
    lacking = {each.md5: each for each in wanted if not store.has(each.md5)}
    listings = [each for each in lacking.values() if each.md5.endswith(".dir")]
    moved = _fetch(remote, store, listings, None)
    files = {each.md5: each for each in lacking.values() if not each.md5.endswith(".dir")}
    for listing in listings:
        with _noting(moved, listing.md5):
            names = read_listing(store.get(listing.md5))
            files.update((name, Wanted(name, listing.size)) for name in names if not store.has(name))
    moved.add(_fetch(remote, store, list(files.values()), tell))
    return moved


def _fetch(remote: ObjectRemote, store: ObjectStore, wanted: Sequence[Wanted], tell: Tell | None) -> Moved:
    moved, counted = Moved(), itertools.count(1)
    threads = THREADS if remote.folder is None else FOLDER_THREADS

    def took() -> None:
        if tell is not None:
            tell(next(counted), len(wanted))

    with ThreadPoolExecutor(threads) as pool:
        shares = [wanted[number::threads] for number in range(threads)]
        for part in pool.map(lambda share: _fetch_share(remote, store, share, took), shares):
            moved.add(part)
    return moved


def _fetch_share(remote: ObjectRemote, store: ObjectStore, share: Sequence[Wanted], took: Callable[[], None]) -> Moved:
    moved = Moved()
    with storing(store.keep), store.batch() as batch:
        for each in share:
            with _noting(moved, each.md5):
                moved.bytes += _fetch_one(remote, batch, each)
                moved.objects += 1
            took()
    store.pending.settle(each.md5 for each in share)  # what is fetched a commit here names already
    return moved


def _fetch_one(remote: ObjectRemote, batch: Batch, wanted: Wanted) -> int:
    taken = 0

    def write(file: BinaryIO) -> None:
        nonlocal taken
        taken = copy_checked(_content(remote, wanted.md5), file, wanted)

    batch.add(wanted.md5, write, lambda path: describe_file(path).md5 == wanted.md5.removesuffix(".dir"))
    return taken


def _content(remote: ObjectRemote, md5: str) -> Iterator[bytes]:
    """Yield an object piece by piece; what fails where they are written is no failure of the remote."""
    with remote.reached():
        try:
            yield from remote.chunks(md5)
        except FileNotFoundError as error:
            if remote.is_gone:
                raise RunvaultError(f"the DVC remote {remote.name!a} has no folder {str(remote.folder)!r}") from error
            raise ArtifactMissingError(f"the DVC remote {remote.name!a} does not have it") from error


def _copier(path: Path) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        for chunk in chunks_of(path, CHUNK):
            file.write(chunk)

    return write


def copy_checked(chunks: Iterable[bytes], file: BinaryIO, wanted: Wanted) -> int:
    """Write what comes, as long as it may be what was asked for; return how many bytes it was.

    Raises
    ------
    IntegrityError
        It is longer than recorded, or does not match its name.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    most = LISTING_BYTES if wanted.md5.endswith(".dir") else wanted.size
    for chunk in chunks:
        size += len(chunk)
        if most is not None and size > most:
            raise IntegrityError(f"object {wanted.md5} is larger than the {most:,} bytes recorded")
        digest.update(chunk)
        file.write(chunk)
    if digest.hexdigest() != wanted.md5.removesuffix(".dir"):
        raise IntegrityError(f"object {wanted.md5} does not match its hash there")
    return size


@contextmanager
def _noting(moved: Moved, name: str) -> Iterator[None]:
    """Note an object that cannot be moved, and go on with the others."""
    try:
        yield
    except RunvaultError as error:
        moved.failed[name] = error.message
        if not isinstance(error, (ArtifactMissingError, IntegrityError)):
            moved.passing.add(name)
