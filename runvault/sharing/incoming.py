"""What others bring, looked at run by run before it is let in: nothing of it has been believed yet."""

from __future__ import annotations

from dataclasses import dataclass

from runvault.archive.admission import MAX_FILES, check_input, check_run_folder, max_bytes
from runvault.errors import FormatError, RunvaultError, one_line_of
from runvault.model.ids import RunId
from runvault.model.records import ANNOTATIONS
from runvault.stores.dvc import MAX_POINTER_BYTES
from runvault.stores.git.merging import Entry, Sides


@dataclass(frozen=True)
class Refusal:
    """Something that is not let in, or not read: `run` is a run's id, or a path where it belongs to no run."""

    run: str
    problem: str


@dataclass(frozen=True)
class Version:
    """A run's folder as one commit has it, found sound. Of its manifest only what a merge asks for: there may be many.

    Attributes
    ----------
    annotations : bytes or None
        The file.
    created_at, digest : str or None
        The manifest's, and its results' digest; None where a newer runvault wrote it, which `unread` then says.
    """

    entry: Entry
    files: dict[str, Entry]
    annotations: bytes | None
    created_at: str | None
    digest: str | None
    unread: str | None

    @property
    def newer(self) -> bool:
        """Whether a newer runvault wrote the manifest, so that it is not read here."""
        return self.digest is None


def read_version(sides: Sides, run: RunId, entry: Entry) -> Version:
    """Read a run's folder, every file within its limit.

    Raises
    ------
    RunvaultError
        It is not one that an archive may hold; the message says why.
    """
    if not entry.folder:
        raise FormatError("not a folder")
    files = sides.folder(entry)
    if len(files) > MAX_FILES:
        raise FormatError(f"{len(files)} files are too many for a run")
    contents = {name: _read_file(sides, name, file) for name, file in files.items()}
    sound = check_run_folder(run, contents)
    created_at, digest = (sound.manifest.created_at, sound.manifest.results_digest) if sound.manifest else (None, None)
    return Version(entry, files, contents.get(ANNOTATIONS), created_at, digest, sound.unread)


def _read_file(sides: Sides, name: str, entry: Entry) -> bytes:
    if not entry.plain_file:
        raise FormatError(f"{name!a} is not a plain file (mode {entry.mode:o})")
    size = sides.size(entry)
    if size > max_bytes(name):
        raise FormatError(f"{name!a} has {size:,} bytes, more than {max_bytes(name):,}")
    return sides.read(entry)


def problem_of_input(sides: Sides, path: str, entry: Entry) -> str | None:
    """Return why a file under ``data/`` is not let in, None where it is."""
    _, shard, *rest = path.split("/")
    try:
        if len(rest) != 1 or not rest[0].startswith(shard):
            return "not where a pointer to data lies"
        if not entry.plain_file or sides.size(entry) > MAX_POINTER_BYTES:
            return "no pointer"
        check_input(rest[0], sides.read(entry))
    except RunvaultError as error:
        return one_line_of(error)
    return None
