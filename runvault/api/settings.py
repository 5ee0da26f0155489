"""Settings and where each came from: defaults, ``git config runvault.*``, ``RUNVAULT_*``, flags, in rising rank."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from runvault.errors import ConfigError

Json: TypeAlias = Any

DEFAULTS: Mapping[str, str] = {"branch": "runvault", "pickles": "auto", "periodsPerYear": "", "remote": "origin"}
VARIABLES: Mapping[str, str] = {
    "branch": "RUNVAULT_BRANCH",
    "pickles": "RUNVAULT_PICKLES",
    "periodsPerYear": "RUNVAULT_PERIODS_PER_YEAR",
    "remote": "RUNVAULT_REMOTE",
}
PICKLES = ("auto", "all", "none")


@dataclass(frozen=True)
class Setting:
    """One setting: its value as text, and what set it."""

    name: str
    value: str
    source: str


class Settings:
    """The settings in force.

    Parameters
    ----------
    git_config : mapping
        All of git's configuration, keys as ``git config --list`` prints them.
    flags : mapping
        What the caller said; None where nothing was said.
    """

    def __init__(self, git_config: Mapping[str, str], flags: Mapping[str, str | None]) -> None:
        self._all = {name: _resolve(name, git_config, flags) for name in DEFAULTS}

    def __iter__(self) -> Any:
        return iter(self._all.values())

    @property
    def branch(self) -> str:
        """Return the name of the archive branch."""
        return self._all["branch"].value

    @property
    def remote(self) -> str:
        """Return the name of the Git remote that the archive is shared through."""
        return self._all["remote"].value

    @property
    def pickles(self) -> str:
        """Return which engine dumps are archived: ``auto``, ``all`` or ``none``."""
        value = self._all["pickles"].value
        if value not in PICKLES:
            raise self._refusal("pickles", f"one of {', '.join(PICKLES)}")
        return value

    @property
    def periods_per_year(self) -> float | None:
        """Return the number of periods a year that ratios are shown with; None for each run's own."""
        value = self._all["periodsPerYear"].value
        if not value:
            return None
        try:
            periods = float(value)
        except ValueError:
            periods = 0.0
        if not 0 < periods < float("inf"):
            raise self._refusal("periodsPerYear", "a positive number")
        return periods

    def problems(self) -> list[ConfigError]:
        """Return what is wrong with values that would be refused where they are needed."""
        found = []
        for read in (lambda: self.pickles, lambda: self.periods_per_year):
            try:
                read()
            except ConfigError as error:
                found.append(error)
        return found

    def _refusal(self, name: str, wanted: str) -> ConfigError:
        setting = self._all[name]
        return ConfigError(f"{name} is {setting.value!r}, not {wanted}", hint=f"it is set by {setting.source}")


def _resolve(name: str, git_config: Mapping[str, str], flags: Mapping[str, str | None]) -> Setting:
    flag = flags.get(name)
    if flag is not None:
        return Setting(name, flag, "the caller")
    variable = VARIABLES[name]
    if os.environ.get(variable):
        return Setting(name, os.environ[variable], variable)
    configured = git_config.get(f"runvault.{name.lower()}")
    if configured:
        return Setting(name, configured, f"git config runvault.{name}")
    return Setting(name, DEFAULTS[name], "default")
