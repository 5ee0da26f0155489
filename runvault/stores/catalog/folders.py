"""The files of each run's folder, gathered from the changes of a tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from runvault.model.ids import MAX_SEED
from runvault.model.records import ANNOTATIONS, MANIFEST
from runvault.model.source import ArchiveSource, FileChange

_FOLDER = re.compile(r"runs/([0-9a-f]{2})/(\1[0-9a-f]{62}-(0|[1-9][0-9]{0,18}))/")


class Change(NamedTuple):
    """The changed files of one run's folder: name → blob, None where the file is gone."""

    run: str
    files: dict[str, str | None]


class Folder(NamedTuple):
    """What a run's folder holds at the tip."""

    number: int
    run: str
    manifest: str | None
    annotations: str | None
    files: frozenset[str]


def by_folder(changes: Iterable[FileChange], note_stray: Callable[[str, bool], None]) -> Iterator[Change]:
    """Gather the changes of each run; what lies in ``runs/`` and is no run's is noted, with whether it is there."""
    folder, files = "\0", dict[str, str | None]()
    for path, blob in changes:
        if path.startswith(folder):
            files[path[len(folder) :]] = blob
            continue
        if files:
            yield Change(folder[8:-1], files)
        run = run_of(path)
        if run is None:
            folder, files = "\0", {}
            if path.startswith("runs/"):
                note_stray(path, blob is not None)
        else:
            folder = f"runs/{run[:2]}/{run}/"
            files = {path[len(folder) :]: blob}
    if files:
        yield Change(folder[8:-1], files)


class _Kept(NamedTuple):
    """A run's folder in a fresh tree, in as few bytes as can be: there may be a million of them."""

    place: int
    number: int
    run: str
    manifest: bytes | None
    annotations: bytes | None
    files: frozenset[str]

    def folder(self) -> Folder:
        """Return the folder with ids as git gives them."""
        return Folder(self.number, self.run, _text(self.manifest), _text(self.annotations), self.files)


def as_they_came(changes: Iterable[Change], number: Callable[[str], int], places: dict[bytes, int]) -> Iterator[Folder]:
    """Yield the folders of a fresh tree in the order in which history brought their manifests.

    Git packs a manifest as a difference from those that came just before it. In the order of ids it builds each from
    the beginning of its chain: that took ten times as long for 100,000 runs.
    """
    shared: dict[Any, Any] = {}
    kept = []
    for run, blobs in changes:
        manifest, annotations, files = binary(blobs.get(MANIFEST)), binary(blobs.get(ANNOTATIONS)), frozenset(blobs)
        kept.append(
            _Kept(
                places.get(manifest or b"", -1),
                number(run),
                run,
                manifest,
                shared.setdefault(annotations, annotations),
                shared.setdefault(files, files),
            )
        )
    del shared
    places.clear()
    kept.sort(key=lambda each: each[:2], reverse=True)
    while kept:
        yield kept.pop().folder()


def run_of(path: str) -> str | None:
    """Return the run that a file belongs to, None where it is no run's."""
    match = _FOLDER.match(path)
    if match is None or (len(match[3]) == 19 and int(match[3]) > MAX_SEED):
        return None
    return match[2]


def contents(source: ArchiveSource, folders: list[Folder]) -> Iterator[tuple[Folder, bytes | None, bytes | None]]:
    """Yield each folder with its manifest and annotations, None for a blob that is not there.

    Annotations come first and are kept, for many runs share them; manifests stream.
    """
    notes = dict.fromkeys(folder.annotations for folder in folders if folder.annotations is not None)
    manifests = [folder.manifest for folder in folders if folder.manifest is not None]
    blobs = source.read_blobs([*notes, *manifests]) if notes or manifests else iter(())
    kept: dict[str, bytes] = {}
    ahead = next(blobs, None)
    while ahead is not None and ahead[0] in notes and len(kept) < len(notes):
        kept[ahead[0]] = ahead[1]
        ahead = next(blobs, None)
    for folder in folders:
        manifest = None
        if folder.manifest is not None and ahead is not None and ahead[0] == folder.manifest:
            manifest = ahead[1]
            ahead = next(blobs, None)
        yield folder, manifest, kept.get(folder.annotations) if folder.annotations is not None else None


def binary(blob: str | None) -> bytes | None:
    """Return a blob's id as the tables have it."""
    return None if blob is None else bytes.fromhex(blob)


def _text(blob: bytes | None) -> str | None:
    return None if blob is None else blob.hex()
