"""Which archived runs no longer describe the code and the data of the working tree; nothing is run or imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import orjson

from runvault.archive.stores import Stores
from runvault.errors import VaultNotFoundError
from runvault.execution.recipe import COMMAND
from runvault.model.query import Selection
from runvault.model.run_json import code_commit
from runvault.stores.git.code import blob_of_file, changed_since

Json: TypeAlias = Any


@dataclass(frozen=True)
class StaleRun:
    """A run that differs from the working tree.

    Attributes
    ----------
    run : str
        Its id.
    code : sequence of str
        The files that its entry imported and that hold something else now, or are gone; from the repository's root.
        Of a command, nobody sees what it reads: all files of the repository but its inputs and its result.
    data : sequence of str
        The inputs, by the name of the argument, whose file or folder holds something else now, or is gone.
    """

    run: str
    code: Sequence[str]
    data: Sequence[str]


@dataclass(frozen=True)
class Staleness:
    """What `find_stale` found; `without_recipe` counts the selected runs that nothing can be said of."""

    runs: Sequence[StaleRun]
    without_recipe: int

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault stale --json`` prints."""
        return {"runs": [{"run": each.run, "code": [*each.code], "data": [*each.data]} for each in self.runs]}


def find_stale(stores: Stores, selection: Selection) -> Staleness:
    """Return the selected runs whose code or data differ from what the working tree has now.

    Code is compared by the blob ids of the files that the entry imported, that of a command with the commit it ran in;
    data by the MD5 of each input that is a file or a folder; what was passed in memory has no place to look at. Each
    path is hashed once, however many runs name it.
    Runs without a recipe, or with one that this version cannot follow, are counted and left out.

    Raises
    ------
    VaultNotFoundError
        The repository is bare.
    ConfigError
        `selection.where` is no condition, or asks for a name that no run has.
    """
    root = stores.code.work_tree
    if root is None:
        raise VaultNotFoundError("a bare repository has no files to compare with", hint="clone it, and ask there")
    now = _Now(stores, root)
    found, without = [], 0
    for run, recipe, commit in _recipes(stores, selection):
        try:
            code = now.changed_since(recipe, commit)
            data = now.changed_data(recipe["inputs"])
        except (TypeError, KeyError, AttributeError, ValueError):  # no recipe, or what anybody may have written for one
            without += 1
            continue
        if code or data:
            found.append(StaleRun(run, code, data))
    return Staleness(found, without)


def _recipes(stores: Stores, selection: Selection) -> Iterator[tuple[str, Json, str | None]]:
    """Yield the selected runs with their recipes and the commits of their code, in the order of a listing.

    That is one question to the catalog, and one to git.

    The catalog has read each of these manifests before and vouches for them, so that they are not validated again:
    that would take most of the time.
    """
    by_blob = {blob: run for run, blob in stores.catalog().manifests(stores.repository.ref, selection)}
    for blob, content in stores.reader.read_blobs(by_blob):
        manifest = orjson.loads(content)
        yield by_blob[blob], manifest.get("recipe"), code_commit(manifest)


class _Now:
    """The files of the working tree, each hashed once."""

    def __init__(self, stores: Stores, root: Path) -> None:
        self._stores = stores
        self._root = root
        self._blob = cache(self._hashed_code)
        self._md5 = cache(self._hashed_data)
        self._since = cache(partial(changed_since, stores.code))

    def changed_code(self, files: Mapping[str, str]) -> list[str]:
        return [path for path, blob in files.items() if self._blob(path) != blob]

    def changed_since(self, recipe: Mapping[str, Json], commit: str | None) -> list[str]:
        changed = self._since(commit) if commit and recipe.get("kind") == COMMAND else None
        if changed is None:
            return self.changed_code(recipe["files"])
        apart = {recipe["result"], *(each["path"] for each in recipe["inputs"].values())}
        return [path for path in changed if not apart & {path, *map(str, PurePosixPath(path).parents)}]

    def changed_data(self, inputs: Mapping[str, Mapping[str, str]]) -> list[str]:
        return [
            name
            for name, each in inputs.items()
            if each["path"] and self._md5(each["path"], each["md5"].endswith(".dir")) != each["md5"]
        ]

    def _hashed_code(self, path: str) -> str | None:
        """Return a file's blob id; None for what is no file of the repository: others may have written the recipe."""
        pure, place = PurePosixPath(path), self._root / path
        outside = pure.is_absolute() or ".." in pure.parts
        return None if outside or not place.is_file() else blob_of_file(place)

    def _hashed_data(self, path: str, is_folder: bool) -> str | None:
        """Return the MD5 of an input; None where it is not there, cannot be read, or is a folder now and was a file."""
        place = self._root / path
        if not (place.is_dir() if is_folder else place.is_file()):
            return None
        try:
            return self._stores.objects.name_of(place)
        except OSError:
            return None
