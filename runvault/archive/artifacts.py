"""A run's artifacts: bytes into the object store with a pointer each, and back with their hashes checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.errors import ArtifactMissingError, ConfigError, FormatError, IntegrityError, RunvaultError
from runvault.model.records import ANNOTATIONS, MANIFEST, STATS
from runvault.model.table import Table

if TYPE_CHECKING:
    from runvault.stores.dvc import ObjectStore

Json: TypeAlias = Any

# Tables with a row for something that happened in a column; the others hold what all columns of a sweep share.
BY_COLUMN = frozenset({"orders.parquet", "trades.parquet", "equity.parquet", "logs.parquet"})
MEDIA_TYPES = {".parquet": "application/vnd.apache.parquet", ".pkl": "application/x-python-pickle"}


class ArtifactWriter:
    """Collects what a run's folder says of its artifacts, while their bytes go into the object store.

    Attributes
    ----------
    pointers : dict of str to bytes
        The DVC pointer files, by file name in the run's folder.
    described : dict of str to dict
        The manifest's `artifacts` member.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self.pointers: dict[str, bytes] = {}
        self.described: dict[str, Json] = {}

    @property
    def md5s(self) -> list[str]:
        """Return the names of the objects."""
        return [entry["md5"] for entry in self.described.values()]

    def put_table(self, name: str, table: Table) -> None:
        """Store a table as Parquet under `name`."""
        from runvault.stores.tables import write_table

        self.put(name, write_table(table))

    def put(self, name: str, content: bytes) -> None:
        """Store `content` under `name`."""
        self.put_all({name: content})

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """Store contents by name."""
        from runvault.stores.dvc import pointer_bytes

        for name, stored in zip(contents, self._objects.put_all(list(contents.values())), strict=True):
            suffix = name[name.rindex(".") :]
            self.pointers[f"{name}.dvc"] = pointer_bytes(name, stored)
            self.described[name] = {
                "md5": stored.md5,
                "sha256": stored.sha256,
                "size": stored.size,
                "media_type": MEDIA_TYPES[suffix],
            }


def read_artifact(objects: ObjectStore, manifest: Mapping[str, Json], name: str) -> bytes:
    """Return the content of a run's artifact, compared with the manifest's SHA-256 before anything interprets it.

    Raises
    ------
    ConfigError
        The run has no artifact of this name.
    ArtifactMissingError
        The content is not here.
    IntegrityError
        The content here is not what was recorded.
    """
    entry = manifest["artifacts"].get(name)
    if entry is None:
        names = ", ".join(sorted({MANIFEST, ANNOTATIONS, STATS, *manifest["artifacts"]}))
        raise ConfigError(f"run {manifest['id']} has no file {name!r}", hint=f"its files are {names}")
    return objects.get(entry["md5"], entry["sha256"])


def read_tables(
    objects: ObjectStore, manifest: Mapping[str, Json], names: list[str] | None = None, *, missing_ok: bool = False
) -> dict[str, Table]:
    """Return a run's tables by file name, checked; all that it has unless `names` says which.

    Of a table that a sweep shares only the run's own rows are read, where its file allows it.
    """
    from runvault.stores.tables import read_table

    tables: dict[str, Table] = {}
    for name, entry in manifest["artifacts"].items():
        if not name.endswith(".parquet") or (names is not None and name not in names):
            continue
        try:
            content = objects.get(entry["md5"], entry["sha256"])
            column = entry.get("column") if name in BY_COLUMN else None
            tables[name] = read_table(content, name.removesuffix(".parquet"), column=column)
        except (ArtifactMissingError, IntegrityError, FormatError) as error:
            if not missing_ok:
                raise _with_run(error, manifest["id"], name) from error
    return tables


def _with_run(error: RunvaultError, run: str, name: str) -> RunvaultError:
    return type(error)(f"{name} of run {run}: {error.message}", error.hint)
