"""The code that a run is made with: the repository's files that were imported, and a snapshot that keeps them."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from runvault.archive.stores import Stores
from runvault.errors import ConfigError
from runvault.execution.entries import is_installed, modules_in, real_folder
from runvault.stores.git.code import blob_at, blob_of, blob_of_file
from runvault.stores.git.owncode import note_own_code
from runvault.stores.git.repository import Repository
from runvault.stores.git.snapshots import Snapshot, take_snapshot

Json: TypeAlias = Any


@dataclass(frozen=True)
class _Source:
    """A module's source as it was when the module was first seen: what was imported, whatever the file holds later."""

    spec: object  # another one once the module is imported anew, or reloaded
    content: bytes
    blob: str


_sources: dict[str, _Source] = {}


def imported_files(root: Path) -> dict[str, str]:
    """Return the repository's files that this process has imported, by path from its root, with their blob ids.

    These are of what was imported: a file that is edited later is told as it was, until its module is reloaded.
    """
    return {path: source.blob for path, source in sorted(_imported(root.resolve()).items())}


def imported_contents(root: Path, paths: Iterable[str]) -> dict[str, bytes]:
    """Return those of some files, by path from the root, that this process has imported, as they were then."""
    imported = _imported(root.resolve())
    return {path: imported[path].content for path in paths if path in imported}


def _imported(root: Path) -> dict[str, _Source]:
    found = {}
    for name, path in modules_in(root):
        spec = getattr(sys.modules[name], "__spec__", None)  # none of a script that is run
        source = _sources.get(name)
        if source is None or source.spec is not spec:
            try:
                content = path.read_bytes()
            except OSError:  # gone since it was imported
                continue
            source = _sources[name] = _Source(spec, content, blob_of(content))
        found[path.relative_to(root).as_posix()] = source
    return found


def import_paths(root: Path) -> tuple[str, ...]:
    """Return the folders of the repository that this process looks for modules in, beside its root, in their order.

    ``PYTHONPATH`` and packages that were installed from here to be edited, as is usual with a folder ``src``, put them
    there. In another checkout nothing does, or what does names this one.
    """
    root = root.resolve()
    folders = [real_folder(Path(entry).absolute()) for entry in sys.path]
    below = [folder for folder in folders if folder != root and folder.is_relative_to(root)]
    own = [folder for folder in below if folder.is_dir() and not is_installed(folder, root)]
    return tuple(dict.fromkeys(folder.relative_to(root).as_posix() for folder in own))


def same_files(root: Path, files: Mapping[str, str]) -> bool:
    """Return whether files still hold what was recorded of them."""
    return all(blob_of_file(root / path) == blob for path, blob in files.items())


def snapshot(stores: Stores, files: Mapping[str, str], *, every_untracked: bool = False) -> Snapshot:
    """Keep the code as it is, but `files` as they were imported; once per process, HEAD and these, with their blobs."""
    imported = tuple(sorted(files.items()))
    return _snapshot(stores.code, stores.repository, stores.code.head(), imported, every_untracked)


def new_snapshot(stores: Stores, include: Iterable[str], *, every_untracked: bool = False) -> Snapshot:
    """Keep the code as it is now, for what a program of its own runs."""
    return _kept(stores.code, stores.repository, tuple(sorted(include)), every_untracked, {})


@functools.lru_cache(maxsize=16)
def _snapshot(
    code: Repository, archive: Repository, _head: str | None, imported: tuple[tuple[str, str], ...], every: bool
) -> Snapshot:
    root = code.work_tree or Path()
    edited = [path for path, blob in imported if blob_of_file(root / path) != blob]
    contents = imported_contents(root, edited) if edited else {}
    taken = _kept(code, archive, tuple(dict(imported)), every, contents)
    lost = set(edited) - blob_at(code, taken.commit, contents).keys()
    return replace(taken, left_out=tuple(sorted({*taken.left_out, *lost})))


def _kept(
    code: Repository,
    archive: Repository,
    include: tuple[str, ...],
    every_untracked: bool,
    contents: Mapping[str, bytes],
) -> Snapshot:
    taken = take_snapshot(code, include, every_untracked=every_untracked, contents=contents)
    if code.common_dir != archive.common_dir:  # a DVC experiment's throw-away clone
        ref = f"refs/runvault/code/{taken.commit}"
        archive.git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(code.common_dir), f"{ref}:{ref}")
        note_own_code(archive, taken.commit)  # it ran here
    return taken


def refuse_secret_code(taken: Snapshot, files: Iterable[str], allow: Collection[str]) -> None:
    """Raise ConfigError where code that is run stayed out of its snapshot as a credential, unless `allow` names it.

    Such a run could not be replayed, and nobody would notice before they want to.
    """
    secret = [path for path in taken.credentials if path in set(files) - set(allow)]
    if secret:
        what = f"{secret[0]!r} is run and looks like a credential: it is not kept, and no replay could find it"
        words = " ".join(f"--allow {shlex.quote(path)}" for path in secret)
        raise ConfigError(what, hint=f"read the secret from the environment, or say {words}, or allow=[…] in Python")


def warnings_of(taken: Snapshot, files: Iterable[str]) -> list[str]:
    """Return what a run's manifest says of code that was run and that its snapshot does not hold as it was."""
    missed = sorted(set(files).intersection(taken.left_out))
    return [f"{path} was run and is not kept with the code as it was: a replay will not find it" for path in missed]


def forget_snapshots() -> None:
    """Take a new snapshot when one is asked for next: the entry is imported anew."""
    _snapshot.cache_clear()


def code_member(taken: Snapshot) -> dict[str, Json]:
    """Return the manifest's `code`."""
    return {"commit": taken.commit, "base": taken.base or None, "branch": taken.branch, "dirty": taken.dirty}
