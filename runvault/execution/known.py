"""Which run a request would make again: the one of equal words, inputs and code, found before anything is computed."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from runvault.archive.reading import Located, read_manifest
from runvault.archive.request import SaveRequest
from runvault.archive.stores import Stores
from runvault.errors import ConfigError, RunvaultError
from runvault.execution.code import same_files
from runvault.execution.recipe import Recipe
from runvault.model.ids import RunId
from runvault.model.query import Selection

Json: TypeAlias = Any


def find_known(stores: Stores, request: SaveRequest, recipe: Recipe, root: Path) -> RunId | None:
    """Return the archived run of this request made by equal code, None where there is none.

    A run's address holds the window that its result covers, which is known only afterwards; so runs are compared by
    what was asked: strategy, parameters, settings, seed, inputs by content, the span they were cut to, and the entry.
    Code is equal where every file of the repository that the run imported holds the same bytes now.
    """
    for members in _candidates(stores, request):
        located = Located(RunId.parse(members["id"]))
        try:
            manifest = read_manifest(stores, located)
            archived = Recipe.from_manifest(manifest)
        except RunvaultError:
            continue
        if _asked(archived) == _asked(recipe) and same_files(root, archived.files):
            return located.id
    return None


def _candidates(stores: Stores, request: SaveRequest) -> Iterator[Mapping[str, Json]]:
    selection = Selection(strategy=request.strategy, seed=request.seed, where=_condition(request.params))
    try:
        for members in stores.catalog().select(stores.repository.ref, selection):
            if members["params"] == request.params and members["settings"] == request.settings:
                yield members
    except ConfigError:  # a parameter that no run has
        return


def _condition(params: Mapping[str, Json]) -> str | None:
    """Return the condition that the plain ones among parameters make, so that an index finds the few runs with them."""
    plain = [
        f"params.{name} == {value!r}"
        for name, value in params.items()
        if name.isidentifier() and not keyword.iskeyword(name) and type(value) in (int, float)
    ]
    return " and ".join(plain) or None


def _asked(recipe: Recipe) -> tuple[Any, ...]:
    inputs = {name: each.name for name, each in recipe.inputs.items()}
    return recipe.kind, recipe.entry, recipe.command, recipe.span, inputs
