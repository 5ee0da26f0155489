"""Objects to and from the DVC remote: only what is missing, checked on the way, through DVC's own file systems."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from runvault.errors import ConfigError, IntegrityError, RunvaultError
from runvault.stores.dvc.batch import Batch, object_path
from runvault.stores.dvc.files import chunks_of
from runvault.stores.dvc.inputs import describe_file, read_listing
from runvault.stores.dvc.store import ObjectStore

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

Json: TypeAlias = Any
Tell: TypeAlias = Callable[[int, int], None]  # how many of how many are done

CHUNK = 1 << 20
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
    """What a transfer did: objects and bytes, and what could not be moved, with the reason."""

    objects: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Moved) -> None:
        """Count another transfer's objects in."""
        self.objects += other.objects
        self.bytes += other.bytes
        self.failed.update(other.failed)


class ObjectRemote:
    """The default DVC remote.

    Parameters
    ----------
    name, url : str
        As DVC's configuration has them.
    odb : HashFileDB
        DVC's view of its objects.
    """

    def __init__(self, name: str, url: str, odb: HashFileDB) -> None:
        self.name = name
        self.url = url
        self._odb = odb
        self._folder = Path(str(odb.path)) if odb.fs.protocol == "local" else None

    @property
    def _threads(self) -> int:
        return THREADS if self._folder is None else FOLDER_THREADS

    def has(self, names: Iterable[str]) -> set[str]:
        """Return which objects the remote has, whatever they hold."""
        names = sorted(set(names))
        if self._folder is not None:
            return {name for name in names if object_path(self._folder, name).is_file()}
        with self._reached():
            there = self._odb.oids_exist(names) if names else ()  # type: ignore[no-untyped-call]
            return {str(name) for name in there}

    def send(self, store: ObjectStore, names: Iterable[str], tell: Tell | None = None) -> Moved:
        """Send the objects that the remote lacks: files first, the listings of folders last.

        One that is not here, or is damaged here, is not sent and named in `failed`.
        """
        moved = Moved()
        listings = [name for name in set(names) if name.endswith(".dir")]
        files = {name for name in names if not name.endswith(".dir")}
        for name in listings:
            with _noting(moved, name):
                files.update(read_listing(store.get(name)))
        for group in (files, listings):
            lacking = sorted(set(group) - self.has(group))
            moved.add(self._send(store, lacking, tell))
        return moved

    def _send(self, store: ObjectStore, names: Sequence[str], tell: Tell | None) -> Moved:
        moved, sources = Moved(), dict[str, Path]()
        for name in names:
            with _noting(moved, name):
                sources[name] = store.sound_path(name)
        for done, path in enumerate(sources.values(), 1):
            moved.bytes += path.stat().st_size
            moved.objects += 1
            if tell is not None and self._folder is not None:
                tell(done, len(sources))
        if self._folder is not None:
            self._copy(sources)
        elif sources:
            self._upload(sources, moved, tell)
        return moved

    def _copy(self, sources: dict[str, Path]) -> None:
        """Write into a folder as into the cache: synced, and under its name only when whole."""
        folder = self._folder
        if folder is None or not sources:
            return
        with self._reached():
            batch = Batch((folder,))
            try:
                for name, path in sources.items():
                    batch.add(name, _copier(path), lambda _: False)
                batch.finish()
            finally:
                batch.discard()

    def _upload(self, sources: dict[str, Path], moved: Moved, tell: Tell | None) -> None:
        from dvc.fs import localfs
        from fsspec.callbacks import Callback

        class Telling(Callback):  # type: ignore[misc]
            def call(self, *_: object, **__: object) -> None:
                if tell is not None:
                    tell(self.value, len(sources))

        def failed(name: str, error: BaseException) -> None:
            moved.failed[name] = _line(error)
            moved.objects -= 1
            moved.bytes -= sources[name].stat().st_size

        paths, names = [str(path) for path in sources.values()], list(sources)
        with self._reached():
            self._odb.add(paths, localfs, names, check_exists=False, on_error=failed, callback=Telling())

    def fetch(self, store: ObjectStore, wanted: Iterable[Wanted], tell: Tell | None = None) -> Moved:
        """Put the objects that are not here into the store; the files of folders too.

        One that the remote lacks, or that does not match its name, is not taken and named in `failed`.
        """
        lacking = {each.md5: each for each in wanted if not store.has(each.md5)}
        listings = [each for each in lacking.values() if each.md5.endswith(".dir")]
        moved = self._fetch(store, listings, None)
        files = [each for each in lacking.values() if not each.md5.endswith(".dir")]
        for listing in listings:
            with _noting(moved, listing.md5):
                names = read_listing(store.get(listing.md5))
                files += [Wanted(name, listing.size) for name in names if not store.has(name)]
        moved.add(self._fetch(store, list({each.md5: each for each in files}.values()), tell))
        return moved

    def _fetch(self, store: ObjectStore, wanted: Sequence[Wanted], tell: Tell | None) -> Moved:
        moved = Moved()
        shares = [wanted[number :: self._threads] for number in range(self._threads)]
        with ThreadPoolExecutor(self._threads) as pool:
            counted = iter(range(1, len(wanted) + 1))

            def took() -> None:
                if tell is not None:
                    tell(next(counted, len(wanted)), len(wanted))

            for part in pool.map(lambda share: self._fetch_share(store, share, took), shares):
                moved.add(part)
        return moved

    def _fetch_share(self, store: ObjectStore, share: Sequence[Wanted], took: Callable[[], None]) -> Moved:
        moved = Moved()
        with store.batch() as batch:
            for each in share:
                with _noting(moved, each.md5), self._reached():
                    moved.bytes += self._fetch_one(batch, each)
                    moved.objects += 1
                took()
        return moved

    def _fetch_one(self, batch: Batch, wanted: Wanted) -> int:
        taken = 0

        def write(file: BinaryIO) -> None:
            nonlocal taken
            taken = copy_checked(self._chunks(wanted.md5), file, wanted)

        batch.add(wanted.md5, write, lambda path: describe_file(path).md5 == wanted.md5.removesuffix(".dir"))
        return taken

    def _chunks(self, name: str) -> Iterator[bytes]:
        if self._folder is not None:
            yield from chunks_of(object_path(self._folder, name), CHUNK)
            return
        with self._odb.fs.open(self._odb.oid_to_path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what a remote's library raises into one of ours: each has exceptions of its own."""
        try:
            yield
        except RunvaultError:
            raise
        except FileNotFoundError as error:
            raise RunvaultError(f"the DVC remote {self.name!a} does not have it") from error
        except Exception as error:
            raise RunvaultError(f"the DVC remote {self.name!a} cannot be used: {_line(error)}") from error


def find_remote(dvc_folder: Path | None, shared: bytes | None = None) -> ObjectRemote | None:
    """Return the default DVC remote; None where there is none.

    Parameters
    ----------
    dvc_folder : Path or None
        The ``.dvc`` folder of the checkout: all levels of its configuration count.
    shared : bytes, optional
        The archive's own ``.dvc/config``, for where the checkout names no remote. Of it counts the address alone: it
        may come from anybody.

    Raises
    ------
    ConfigError
        The configuration cannot be used.
    """
    settings = _settings(dvc_folder)
    name = settings.get("core", {}).get("remote")
    if name is None:
        named = shared_remotes(shared or b"")
        name = named.default
        if name is None:
            return None
        settings["remote"] = {**settings.get("remote", {}), name: {"url": named.urls[name]}}
    return _open(settings, str(name))


def _settings(dvc_folder: Path | None) -> dict[str, Json]:
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        return dict(Config(str(dvc_folder)) if dvc_folder is not None else Config(validate=False))
    except DvcException as error:
        raise ConfigError(f"the DVC configuration cannot be read: {_line(error)}", "see 'dvc config --list'") from error


def _open(settings: dict[str, Json], name: str) -> ObjectRemote:
    from dvc.exceptions import DvcException
    from dvc.fs import get_cloud_fs
    from dvc_data.hashfile.db import get_odb

    try:
        kind, config, path = get_cloud_fs(settings, name=name)
        system = kind(**config)
        # DVC keeps its version 3 objects in files/md5 below the remote's address
        odb = get_odb(system, system.join(path, "files", "md5"), hash_name="md5")  # type: ignore[no-untyped-call]
    except ImportError as error:
        raise ConfigError(f"the DVC remote {name!a} cannot be used: {_line(error)}", _extra_for(str(error))) from error
    except (DvcException, KeyError, ValueError) as error:
        raise ConfigError(f"the DVC remote {name!a} cannot be used: {_line(error)}", "see 'dvc remote list'") from error
    return ObjectRemote(name, str(settings["remote"][name.lower()]["url"]), odb)


def _extra_for(said: str) -> str:
    found = next((kind for kind in ("s3", "ssh", "gs", "azure") if f"dvc-{kind}" in said or f"[{kind}]" in said), None)
    return f"pip install 'runvault[{found}]'" if found in ("s3", "ssh") else "install DVC's support for it"


@dataclass(frozen=True)
class SharedRemotes:
    """What an archive's own ``.dvc/config`` says: the addresses by name, and which is the default."""

    urls: dict[str, str]
    default: str | None

    def to_bytes(self) -> bytes:
        """Return the file as DVC writes it."""
        lines = ["[core]\n", f"    remote = {self.default}\n"] if self.default else []
        for name, url in self.urls.items():
            lines += [f"['remote \"{name}\"']\n", f"    url = {url}\n"]
        return "".join(lines).encode()


def shared_remotes(content: bytes) -> SharedRemotes:
    r"""Read an archive's ``.dvc/config``, which anybody may have written: of a remote the address, and nothing else.

    Examples
    --------
    >>> shared_remotes(b'[core]\n    remote = s\n[\'remote "s"\']\n    url = s3://b/c\n').urls
    {'s': 's3://b/c'}
    """
    from configobj import ConfigObj, ConfigObjError

    try:
        parsed = ConfigObj(content.decode("utf-8").splitlines(), list_values=False, interpolation=False)
    except (ConfigObjError, UnicodeDecodeError) as error:
        raise ConfigError(f"the archive's .dvc/config cannot be read: {_line(error)}") from error
    urls = {
        section.removeprefix('remote "').removesuffix('"').strip("'"): str(members["url"])
        for section, members in ((str(key).strip("'"), value) for key, value in parsed.items())
        if section.startswith('remote "') and isinstance(members, dict) and "url" in members
    }
    core = parsed.get("core")
    default = str(core["remote"]) if isinstance(core, dict) and "remote" in core else None
    return SharedRemotes(urls, default if default in urls else None)


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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
