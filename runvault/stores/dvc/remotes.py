"""The DVC remote: which one is meant, what it has, and what it gives, through DVC's own file systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.errors import ConfigError, RunvaultError
from runvault.stores.dvc.batch import object_path
from runvault.stores.dvc.files import chunks_of
from runvault.stores.dvc.pointers import MD5

if TYPE_CHECKING:
    from dvc_objects.db import ObjectDB

Json: TypeAlias = Any

CHUNK = 1 << 20

_NO_FOLDER = Path("/nonexistent")  # DVC would look for a folder from the current one upwards


class ObjectRemote:
    """The default DVC remote.

    Parameters
    ----------
    name, url : str
        As the configuration has them.
    odb : ObjectDB
        Its objects.
    """

    def __init__(self, name: str, url: str, odb: ObjectDB) -> None:
        self.name = name
        self.url = url
        self.odb = odb
        self.folder = Path(str(odb.path)) if odb.fs.protocol == "local" else None

    @property
    def is_gone(self) -> bool:
        """Whether it is a folder that is not there: nothing was ever sent to it, it was deleted, or is not mounted."""
        return self.folder is not None and not self.folder.is_dir()

    def present(self, names: Iterable[str]) -> set[str]:
        """Return which of these objects it has; whether they are whole is not known before they are fetched.

        Raises
        ------
        RunvaultError
            It cannot be reached.
        """
        wanted = sorted(set(names))
        if self.folder is not None:
            return {name for name in wanted if object_path(self.folder, name).is_file()}
        with self.reached():
            there = self.odb.oids_exist(wanted) if wanted else ()  # type: ignore[no-untyped-call]
            return {str(name) for name in there}

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes that it has under this name; FileNotFoundError where it has none."""
        if self.folder is not None:
            yield from chunks_of(object_path(self.folder, name), CHUNK)
            return
        with self.odb.fs.open(self.odb.oid_to_path(name), mode="rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def read(self, name: str) -> bytes | None:
        """Return the bytes it has under this name, None where it has none; whoever asked compares them with the hash.

        Raises
        ------
        RunvaultError
            It cannot be reached.
        """
        if not MD5.fullmatch(name):
            return None
        with self.reached():
            try:
                return b"".join(self.chunks(name))
            except FileNotFoundError:
                return None

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn whatever a remote's library raises into ours: there are as many libraries as kinds of remotes."""
        try:
            yield
        except RunvaultError:
            raise
        except Exception as error:
            hint = "see 'dvc remote list'"
            raise RunvaultError(f"the DVC remote {self.name!a} cannot be used: {_line(error)}", hint) from error


@dataclass(frozen=True)
class Configured:
    """DVC remotes by the user's configuration and the archive's; none of them has been opened.

    Parameters
    ----------
    config : Config
        As DVC takes it.
    urls : dict of str to str
        The address of each.
    default : str or None
        Which is used where none is named.
    """

    config: Json
    urls: dict[str, str]
    default: str | None


def configured_remotes(dvc_folder: Path | None, shared: bytes = b"") -> Configured:
    """Return the remotes of the user's configuration and of the archive, which outranks nothing of the former.

    Parameters
    ----------
    dvc_folder : Path or None
        The ``.dvc`` folder that rules here: all levels of its configuration count.
    shared : bytes
        The archive's own ``.dvc/config``. Of it counts the address alone, for it may come from anybody: keys, programs
        and files that prove who somebody is come from the user's own configuration.

    Raises
    ------
    ConfigError
        A configuration cannot be read.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        config = Config(str(dvc_folder or _NO_FOLDER))
    except DvcException as error:
        raise ConfigError(f"the DVC configuration cannot be read: {_line(error)}", "see 'dvc config --list'") from error
    named = shared_remotes(shared)
    for name, url in named.urls.items():
        config["remote"].setdefault(name.lower(), {"url": url})
    spelt = {name.lower(): name for name in named.urls}  # DVC itself knows small letters only
    urls = {spelt.get(name, name): str(members["url"]) for name, members in config["remote"].items()}
    chosen = str(config["core"].get("remote") or named.default or "").lower()
    default = spelt.get(chosen, chosen)
    return Configured(config, urls, default if default in urls else None)


def default_remote(dvc_folder: Path | None, shared: bytes = b"") -> ObjectRemote | None:
    """Return the default one of `configured_remotes`; None where there is none.

    Raises
    ------
    ConfigError
        A configuration cannot be read or used.
    """
    found = configured_remotes(dvc_folder, shared)
    return None if found.default is None else _open(found.config, found.default)


def _open(config: Json, name: str) -> ObjectRemote:
    from dvc.exceptions import DvcException
    from dvc.fs import get_cloud_fs
    from dvc_objects.db import ObjectDB

    try:
        kind, settings, path = get_cloud_fs(config, name=name)
        system = kind(**settings)
        # DVC keeps its version 3 objects in files/md5 below the remote's address. Not dvc-data's own database for
        # folders: it deletes the damaged objects that it is asked about.
        odb = ObjectDB(system, system.join(path, "files", "md5"))
    except ImportError as error:
        raise ConfigError(f"the DVC remote {name!a} cannot be used: {_line(error)}", _extra_for(str(error))) from error
    except (DvcException, KeyError, ValueError) as error:
        raise ConfigError(f"the DVC remote {name!a} cannot be used: {_line(error)}", "see 'dvc remote list'") from error
    return ObjectRemote(name, str(config["remote"][name.lower()]["url"]), odb)


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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
