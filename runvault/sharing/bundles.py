"""Runs, their artifacts and their code in one file, for a machine without a network.

The file is a ZIP archive without compression: ``archive.bundle`` is a Git bundle of the runs and the code, and below
``files/md5`` lie the objects under the names that DVC gives them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from runvault.archive.reading import read_manifests
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import FormatError, RunvaultError
from runvault.model.ids import RunId
from runvault.model.run_json import code_commit
from runvault.sharing.merge import Joined, join
from runvault.sharing.pointers import pointers_brought
from runvault.stores.dvc.inputs import describe_file, read_listing
from runvault.stores.dvc.remotes import CHUNK
from runvault.stores.dvc.store import storing
from runvault.stores.dvc.transfer import Moved, Wanted, copy_checked
from runvault.stores.git.bundling import commit_of_paths, fetch_bundle, forget_bundle, write_bundle
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.git.init import FIRST_COMMIT, archive_to_fill

Json: TypeAlias = Any

GIT_PART = "archive.bundle"
NO_BUNDLE = "'runvault bundle FILE' writes one; was it copied to its end?"
_OBJECT = re.compile(r"files/md5/([0-9a-f]{2})/([0-9a-f]{30}(?:\.dir)?)")


@dataclass(frozen=True)
class Bundled:
    """What went into a file; `missing` are objects that are not here."""

    path: Path
    runs: int
    objects: int
    bytes: int
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``bundle`` prints."""
        return {"runs": self.runs, "artifacts": self.objects, "bytes": self.bytes, "missing": list(self.missing)}


def bundle(stores: Stores, path: Path, runs: Sequence[RunId] | None, provenance: Provenance) -> Bundled:
    """Write runs into one file; all of the archive with its history where `runs` is None.

    Chosen runs go as they are at the tip, without their past.

    Raises
    ------
    RunvaultError
        The file cannot be written, or an object here is damaged.
    """
    if not path.name:
        raise RunvaultError(f"{str(path)!r} is no name of a file")
    tip = stores.require_tip()
    chosen = [RunId.parse(each) for each in stores.catalog().ids(stores.repository.ref, "")] if runs is None else runs
    manifests = dict(read_manifests(stores, chosen))
    commit = tip if runs is None else _chosen(stores, manifests, provenance)
    code = sorted({used for each in manifests.values() if (used := code_commit(each))})
    names = _with_files(stores, [wanted.md5 for _, wanted in pointers_brought(stores, FIRST_COMMIT, commit)])
    present = [name for name in names if stores.objects.has(name)]
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with tempfile.TemporaryDirectory(prefix="runvault-bundle-") as folder:
            git_part = Path(folder) / GIT_PART
            write_bundle(stores.repository, git_part, commit, code)
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
                file.write(git_part, GIT_PART)
                for name in present:
                    file.write(stores.objects.sound_path(name), f"files/md5/{name[:2]}/{name[2:]}")
        size = temporary.stat().st_size
        temporary.replace(path)
    except OSError as error:
        raise RunvaultError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Bundled(path, len(manifests), len(present), size, tuple(sorted(set(names) - set(present))))


def _chosen(stores: Stores, manifests: dict[RunId, dict[str, Json]], provenance: Provenance) -> str:
    """Return a commit with some runs of the tip and the pointers to their input data."""
    inputs = [entry for each in manifests.values() for entry in each["config"]["data"].values()]
    needed = {str(entry["md5"]).removesuffix(".dir") for entry in inputs if "md5" in entry}
    files = stores.reader.changed_files(None, stores.require_tip())
    data = [path for path, _ in files if path.startswith("data/") and _named(path) in needed]
    author = Signature(provenance.author_name, provenance.author_email)
    message = f"Bundle {len(manifests)} runs\n\nKind: bundle\n"
    paths = [*(run.path for run in manifests), *data]
    return commit_of_paths(stores.repository, paths, Edit((), message, author, provenance.now, signed=False))


def _named(path: str) -> str:
    """Return the MD5 that a pointer under ``data/`` is called by."""
    return path.rpartition("/")[2].partition(".")[0]


def _with_files(stores: Stores, names: Iterable[str]) -> list[str]:
    """Return objects and, of those that list a folder, its files."""
    found = set(names)
    for name in [each for each in found if each.endswith(".dir")]:
        with suppress(RunvaultError):
            found.update(read_listing(stores.objects.get(name)))
    return sorted(found)


def unbundle(stores: Stores, path: Path, provenance: Provenance) -> tuple[Joined, Moved]:
    """Take runs, objects and code out of a file, checked as what is pulled is; make the archive where there is none.

    Raises
    ------
    FormatError
        It is no such file.
    """
    with archive_to_fill(stores.repository):
        commit, moved, taken = _take(stores, path)
        joined = join(stores, commit, f"bundle {path.name}", provenance)
    stores.objects.pending.settle(taken)
    forget_bundle(stores.repository)
    return joined, moved


def _take(stores: Stores, path: Path) -> tuple[str, Moved, list[str]]:
    """Take code and objects out of a file.

    Returns
    -------
    (str, Moved, list of str)
        The commit of its runs, which are still to be looked at; what came of the objects, and the names of those put.
    """
    try:
        with zipfile.ZipFile(path) as file, tempfile.TemporaryDirectory(prefix="runvault-bundle-") as folder:
            members = _members(file, path)
            git_part = Path(folder) / GIT_PART
            with file.open(GIT_PART) as source, git_part.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            return fetch_bundle(stores.repository, git_part), *_take_objects(stores, file, members)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FormatError(f"{str(path)!r} is no bundle of runvault: {error}", NO_BUNDLE) from error
    except OSError as error:
        raise RunvaultError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _members(file: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the objects in a file by name; anything else in it makes it no bundle."""
    found = {}
    for info in file.infolist():
        match = _OBJECT.fullmatch(info.filename)
        if info.compress_type != zipfile.ZIP_STORED or (match is None and info.filename != GIT_PART):
            raise FormatError(f"{str(path)!r} is no bundle of runvault: it holds {info.filename[:100]!a}", NO_BUNDLE)
        if match is not None:
            found[match[1] + match[2]] = info
    return found


def _take_objects(
    stores: Stores, file: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]
) -> tuple[Moved, list[str]]:
    moved, taken = Moved(), []
    with storing(stores.objects.keep), stores.objects.batch() as batch:
        for name, info in members.items():
            if stores.objects.has(name):
                continue

            def write(target: BinaryIO, name: str = name, info: zipfile.ZipInfo = info) -> None:
                with file.open(info) as source:
                    copy_checked(iter(lambda: source.read(CHUNK), b""), target, Wanted(name, info.file_size))

            def is_good(copy: Path, name: str = name) -> bool:
                return describe_file(copy).md5 == name.removesuffix(".dir")

            taken.append(name)
            try:
                batch.add(name, write, is_good)
            except RunvaultError as error:
                moved.failed[name] = error.message
                continue
            moved.objects += 1
            moved.bytes += info.file_size
    return moved, taken
