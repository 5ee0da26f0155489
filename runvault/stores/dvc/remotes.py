"""One object from the DVC remote that is configured, for what is damaged or lost here."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.errors import ConfigError, RunvaultError
from runvault.stores.dvc.pointers import MD5

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = Any

# What the archive branch, which others write too, may say of a remote: where it is. Keys, programs and files that prove
# who somebody is come from the user's own configuration.
_FROM_BRANCH = frozenset({"url", "endpointurl", "region", "port", "user"})


class ObjectRemote:
    """The default DVC remote, as DVC itself would open it.

    Parameters
    ----------
    name : str
        What the configuration calls it.
    """

    def __init__(self, name: str, config: Json) -> None:
        from dvc.fs import get_cloud_fs
        from dvc_objects.db import ObjectDB

        self.name = name
        with _translated(name):
            kind, settings, path = get_cloud_fs(config, name=name)
            self._fs = kind(**settings)
            # Not dvc-data's own database for folders: it deletes the damaged objects that it is asked about
            self._odb = ObjectDB(self._fs, self._fs.join(path, "files", "md5"))

    def present(self, md5s: Collection[str]) -> set[str]:
        """Return which of these objects it has; whether they are whole is not known before they are fetched.

        Raises
        ------
        RunvaultError
            It cannot be reached.
        """
        with _translated(self.name):
            return set(self._odb.oids_exist(sorted(md5s)))  # type: ignore[no-untyped-call]

    def read(self, md5: str) -> bytes | None:
        """Return the bytes it has under this name, None where it has none; whoever asked compares them with the hash.

        Raises
        ------
        RunvaultError
            It cannot be reached.
        """
        if not MD5.fullmatch(md5):
            return None
        with _translated(self.name):
            try:
                with self._fs.open(self._odb.oid_to_path(md5), mode="rb") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None


def fetch_object(dvc_folder: Path | None, branch_config: bytes, md5: str) -> bytes | None:
    """Return an object from the default DVC remote, None where there is no remote or it has no such object.

    Parameters
    ----------
    dvc_folder : Path or None
        The ``.dvc`` folder that rules here; its configuration comes first.
    branch_config : bytes
        The ``.dvc/config`` of the archive branch.

    Raises
    ------
    RunvaultError
        The remote cannot be reached.
    """
    remote = default_remote(dvc_folder, branch_config)
    return None if remote is None else remote.read(md5)


def default_remote(dvc_folder: Path | None, branch_config: bytes) -> ObjectRemote | None:
    """Return the default remote of the user's configuration, else the archive branch's; None where neither names one.

    Raises
    ------
    ConfigError
        A configuration cannot be read.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        config = Config(str(dvc_folder or Path("/nonexistent")))
    except DvcException as error:
        raise ConfigError(f"the DVC configuration cannot be read: {error}", "see 'dvc config --list'") from error
    shared = _parse(branch_config)
    for name, settings in shared.get("remote", {}).items():
        allowed = {key: value for key, value in settings.items() if key in _FROM_BRANCH}
        if "url" in allowed and name not in config["remote"]:
            config["remote"][name] = allowed
    name = config["core"].get("remote") or shared.get("core", {}).get("remote")
    if not name or name not in config["remote"]:
        return None
    return ObjectRemote(name, config)


def _parse(content: bytes) -> dict[str, Json]:
    """Return the sections of a DVC configuration: ``{"core": {…}, "remote": {name: {…}}}``."""
    from configobj import ConfigObj, ConfigObjError

    parsed: dict[str, Json] = {}
    try:
        sections = ConfigObj(content.decode("utf-8").splitlines(), interpolation=False, list_values=False)
    except (ConfigObjError, UnicodeDecodeError) as error:
        raise ConfigError(f"the archive's .dvc/config cannot be read: {str(error).splitlines()[0]}") from error
    for title, settings in sections.items():
        kind, _, name = title.partition(" ")
        if isinstance(settings, dict):
            values = {str(key): str(value) for key, value in settings.items()}
            parsed.setdefault(kind, {}).update({name.strip('"'): values} if name else values)
    return parsed


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn whatever a remote's library raises into ours: there are as many libraries as kinds of remotes."""
    try:
        yield
    except RunvaultError:
        raise
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunvaultError(f"the DVC remote {name!r} cannot be used: {said}", "see 'dvc remote list'") from error
