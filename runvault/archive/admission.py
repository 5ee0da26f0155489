"""Is a run's folder, wherever it came from, one that an archive may hold? Looked at before it is let in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from runvault.errors import FormatError, SchemaTooNewError
from runvault.model.annotations import Annotations
from runvault.model.ids import RunId
from runvault.model.manifest import Envelope, Manifest, check_address
from runvault.model.records import ANNOTATIONS, MANIFEST, MAX_FILE_BYTES, MAX_RECORD_BYTES, STATS
from runvault.stores.dvc import MAX_POINTER_BYTES, Pointer, parse_pointer

Json: TypeAlias = Any

MAX_STATS_BYTES = MAX_FILE_BYTES
MAX_FILES = 64


@dataclass(frozen=True)
class Sound:
    """A run's folder that may be let in.

    Attributes
    ----------
    manifest : Manifest or None
        None where a newer runvault wrote it.
    unread : str or None
        Why the manifest was not read, where it was not.
    """

    manifest: Manifest | None
    unread: str | None = None


def max_bytes(name: str) -> int:
    """Return how large a file of a run may be."""
    if name == STATS:
        return MAX_STATS_BYTES
    return MAX_POINTER_BYTES if name.endswith(".dvc") else MAX_RECORD_BYTES


def check_run_folder(run: RunId, files: Mapping[str, bytes]) -> Sound:
    """Read a run's folder that anybody may have made.

    A manifest that is merely too new is passed on unread: an archive keeps what a later version can read. The folder is
    held to the rules all the same, so that nothing gets in by a greater number.

    Parameters
    ----------
    files : mapping of str to bytes
        Its files by name, none larger than `max_bytes` says.

    Raises
    ------
    RunvaultError
        A record is missing or cannot be read, is not the run's, or a pointer is not to what the manifest names.
    """
    content, unread = _required(files, MANIFEST), None
    manifest: Manifest | None = None
    try:
        manifest = Manifest.from_bytes(content, MANIFEST)
        check_address(manifest, run)
        artifacts = manifest.artifacts
    except SchemaTooNewError as error:
        artifacts, unread = _envelope(run, content, error).artifacts, error.message
    if ANNOTATIONS in files:
        Annotations.from_bytes(files[ANNOTATIONS], ANNOTATIONS)
    for name, entry in artifacts.items():
        check_pointer(files, name, entry)
    for name in unknown_files(files, artifacts):
        raise FormatError(f"the manifest does not know the file {name!a}")
    statistics = _required(files, STATS)
    if manifest is not None:  # how another format writes them is not known here; nobody reads them without it
        _check_stats(statistics)
    return Sound(manifest, unread)


def _envelope(run: RunId, content: bytes, error: SchemaTooNewError) -> Envelope:
    """Return what is known of a manifest of a newer format; `error` where that is not enough."""
    try:
        envelope = Envelope.from_bytes(content)
    except FormatError as problem:
        raise error from problem
    if envelope.id != str(run):
        raise error
    return envelope


def check_pointer(files: Mapping[str, bytes], name: str, entry: Mapping[str, Json]) -> None:
    """Raise FormatError where an artifact's pointer is missing, none, or not to what the manifest's entry names."""
    pointer = parse_pointer(_required(files, f"{name}.dvc"), name)
    if (pointer.md5, pointer.size) != (entry["md5"], entry["size"]):
        raise FormatError(f"{name}.dvc: the pointer is not to the object that the manifest names")


def unknown_files(files: Collection[str], artifacts: Collection[str]) -> list[str]:
    """Return the names of a folder's files that neither the format nor the manifest's artifacts account for."""
    return sorted(set(files) - {MANIFEST, ANNOTATIONS, STATS, *(f"{name}.dvc" for name in artifacts)})


def check_input(name: str, content: bytes) -> Pointer:
    """Read a pointer to input data, by the file's name in its folder under ``data/``.

    Raises
    ------
    FormatError
        It is no pointer, or not the one that its name says.
    """
    stem = name.removesuffix(".dvc")
    if stem == name:
        raise FormatError("no pointer")
    pointer = parse_pointer(content, stem, folder=stem.endswith(".dir"))
    if not stem.startswith(pointer.md5.removesuffix(".dir")):
        raise FormatError("the pointer is not to the object that its name says")
    return pointer


def _check_stats(content: bytes) -> None:
    from runvault.stores.tables import read_table

    read_table(content, "stats")


def _required(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise FormatError(f"{name} is missing")
    return files[name]
