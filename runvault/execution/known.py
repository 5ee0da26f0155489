"""Which run a request would make again: the one of equal words, inputs and code, found before anything is computed."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from runvault.archive.reading import read_manifests
from runvault.archive.request import SaveRequest
from runvault.archive.stores import Stores
from runvault.errors import ConfigError, RunvaultError
from runvault.execution.recipe import SERIES, Recipe
from runvault.model.canonical import config_hash
from runvault.model.ids import RunId
from runvault.model.query import Selection
from runvault.stores.git.code import blob_of_file

Json: TypeAlias = Any

_AT_ONCE = 1_000  # manifests in memory


SameCode: TypeAlias = Callable[[Mapping[str, Json]], bool]


def find_known(
    stores: Stores, request: SaveRequest, recipe: Recipe, root: Path, same_code: SameCode | None = None
) -> RunId | None:
    """Return the archived run of this request made by equal code, None where there is none.

    `same_code`, if given, has a say in that: it is asked about the manifest's `code`.
    """
    known = KnownRuns(stores, request.strategy, request.seed, recipe, root, shared=request.params, same_code=same_code)
    return known.find([request.params], request.settings)[0]


class KnownRuns:
    """The archived runs of a strategy and a seed, asked of the catalog once, for any number of questions.

    A run's address holds the window that its result covers, which is known only afterwards; so runs are compared by
    what was asked: strategy, parameters, settings, seed, inputs by content, the span they were cut to, and the entry.
    Code is equal where every file of the repository that the run imported holds the same bytes now.

    Parameters
    ----------
    shared : mapping
        Parameters, in their canonical form, that all questions have in common: they narrow the search.
    """

    def __init__(
        self,
        stores: Stores,
        strategy: str,
        seed: int,
        recipe: Recipe,
        root: Path,
        *,
        shared: Mapping[str, Json],
        same_code: SameCode | None = None,
    ) -> None:
        self._same_code = same_code
        self._stores = stores
        self._recipe = recipe
        self._root = root
        self._blobs: dict[str, str | None] = {**recipe.files}  # of what was imported, whatever the files hold now
        self._ids: dict[str, list[str]] = {}
        selection = Selection(strategy=strategy, seed=seed, where=_condition(shared))
        for members in _selected(stores, selection):
            self._ids.setdefault(_key(members["params"], members["settings"]), []).append(members["id"])

    def find(self, asked: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[RunId | None]:
        """Return for each of several parameters the run made by equal code with them, None where there is none."""
        candidates = [self._ids.get(_key(params, settings), []) for params in asked]
        fitting = self._fitting(sorted({run for runs in candidates for run in runs}))
        return [next((fitting[run] for run in runs if run in fitting), None) for runs in candidates]

    def _fitting(self, runs: Sequence[str]) -> dict[str, RunId]:
        """Return those of some runs whose recipe asks for the same, of the code as it is."""
        found = {}
        for start in range(0, len(runs), _AT_ONCE):
            some = [RunId.parse(run) for run in runs[start : start + _AT_ONCE]]
            for run, manifest in read_manifests(self._stores, some):
                try:
                    archived = Recipe.from_manifest(manifest)
                except RunvaultError:
                    continue
                if _asked(archived) != _asked(self._recipe) or not self._is_now(archived.files):
                    continue
                if self._same_code is None or self._same_code(manifest.get("code") or {}):
                    found[str(run)] = run
        return found

    def _is_now(self, files: Mapping[str, str]) -> bool:
        for path in files.keys() - self._blobs.keys():
            self._blobs[path] = blob_of_file(self._root / path)
        return all(self._blobs[path] == blob for path, blob in files.items())


def _selected(stores: Stores, selection: Selection) -> Iterator[Mapping[str, Json]]:
    try:
        yield from stores.catalog().select(stores.repository.ref, selection)
    except ConfigError:  # a parameter that no run has
        return


def _key(params: Mapping[str, Json], settings: Mapping[str, Json]) -> str:
    return config_hash({"params": params, "settings": settings})


def _condition(params: Mapping[str, Json]) -> str | None:
    """Return the condition that the plain ones among parameters make, so that an index finds the few runs with them."""
    plain = [
        f"params.{name} == {value!r}"
        for name, value in params.items()
        if name.isidentifier() and not keyword.iskeyword(name) and type(value) in (int, float)
    ]
    return " and ".join(plain) or None


def _asked(recipe: Recipe) -> tuple[Any, ...]:
    # A series and the frame of it are kept as the same bytes.
    inputs = {name: (each.name, each.kind == SERIES) for name, each in recipe.inputs.items()}
    called = (recipe.kind, recipe.entry, bool(recipe.vectorized), recipe.command, recipe.result, recipe.folder)
    return *called, recipe.span, recipe.series if recipe.span else None, inputs  # declared and not cut, it is the same
