"""What a replay changes of a run, and the job that is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from runvault.errors import ConfigError
from runvault.execution.programs import places_in
from runvault.execution.recipe import COMMAND, Recipe
from runvault.execution.series import WHOLE, Span

Json: TypeAlias = Any

CASH = "init_cash"


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Overrides by path (``params.fast``), of dates and interval, cash, seed and inputs; none are "as recorded"."""

    values: Mapping[str, Json] = field(default_factory=dict)
    span: Span = WHOLE
    cash: float | None = None
    seed: int | None = None
    data: Mapping[str, Path] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.span or self.data) or self.cash is not None or self.seed is not None


NO_OVERRIDES = Overrides()


def apply(overrides: Overrides, recipe: Recipe, manifest: Mapping[str, Json]) -> dict[str, Json]:
    """Return the job that a child process does: the recipe with its config, changed.

    Raises
    ------
    ConfigError
        The recipe cannot take an override; the hint lists what it can.
    """
    config = manifest["config"]
    params, settings = dict(config["params"]), dict(config["settings"])
    overridden = set()
    for path, value in overrides.values.items():
        section, _, name = path.partition(".")
        if section == "settings" and name:
            settings[name] = value
            overridden.add(name)
        elif section == "params" and name in params:
            params[name] = value
        else:
            raise ConfigError(f"the recipe cannot take {path!r}", hint=_takes(params, settings, recipe))
    if overrides.cash is not None:
        if CASH in params:
            params[CASH] = overrides.cash
        else:
            settings[CASH] = overrides.cash
            overridden.add(CASH)
    for name in overrides.data:
        if name not in recipe.inputs:
            raise ConfigError(f"the recipe has no input {name!r}", hint=_takes(params, settings, recipe))
    span = Span(
        overrides.span.start or recipe.span.start,
        overrides.span.end or recipe.span.end,
        overrides.span.interval or recipe.span.interval,
    )
    if overrides.span and (not recipe.inputs or recipe.series == {}):
        raise ConfigError("the recipe has no inputs that could be cut", hint=_takes(params, settings, recipe))
    if recipe.kind == COMMAND:
        _refuse_unplaced(overrides, recipe)
    return {
        "kind": recipe.kind,
        "command": list(recipe.command),
        "result": recipe.result,
        "folder": recipe.folder,
        "files": list(recipe.files),
        "paths": list(recipe.paths),
        "entry": recipe.entry,
        "params": params,
        "settings": settings,
        "seed": manifest["seed"] if overrides.seed is None else overrides.seed,
        "span": asdict(span),
        "series": None if recipe.series is None else dict(recipe.series),
        "vectorized": dict(recipe.vectorized),
        "overridden_settings": sorted(overridden),
        "span_overridden": bool(overrides.span),
    }


def _refuse_unplaced(overrides: Overrides, recipe: Recipe) -> None:
    """Refuse what a command would not be told: a result that looks changed and is not would mislead."""
    places = places_in(recipe.command)
    hint = f"it takes {', '.join(sorted(places))}" if places else "nothing in it stands in braces"
    if overrides.span:
        raise ConfigError("inputs of a command are not cut: it reads them itself", hint=hint)
    told = [path.partition(".")[2] for path in overrides.values]
    told += [CASH] if overrides.cash is not None else []
    told += ["seed"] if overrides.seed is not None else []
    told += overrides.data
    for name in told:
        if name not in places or name == "command":
            raise ConfigError(f"the command of this run does not take {name!r}", hint=hint)


def _takes(params: Mapping[str, Json], settings: Mapping[str, Json], recipe: Recipe) -> str:
    names = [*(f"params.{name}" for name in params), *(f"settings.{name}" for name in settings)]
    inputs = f"; inputs {', '.join(recipe.inputs)}" if recipe.inputs else ""
    return f"it takes {', '.join(names) or 'no parameters'}{inputs}"
