"""Programs that are run as they are: the words they are called with, their run, and the result that they leave."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from runvault.engines.vectorbt.pickles import load_pickle
from runvault.errors import ReplayError

Json: TypeAlias = Any

_PLACE = re.compile(r"\{([^{}\s]+)\}")
STDERR = 2


def filled(command: Sequence[str], values: Mapping[str, Json]) -> list[str]:
    """Return a command with each ``{name}`` of a value replaced by it: text as it is, all else as JSON.

    Braces around anything else stay, as programs such as awk are told things in braces.

    Examples
    --------
    >>> filled(["python", "sma.py", "--fast={fast}", "{other}"], {"fast": 10})
    ['python', 'sma.py', '--fast=10', '{other}']
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            return match[0]
        return values[name] if isinstance(values[name], str) else json.dumps(values[name])

    return [_PLACE.sub(value, word) for word in command]


def places_in(command: Sequence[str]) -> set[str]:
    """Return the names in braces of a command."""
    return {name for word in command for name in _PLACE.findall(word)}


def run_program(argv: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a program to its end in `folder`; what it prints goes to stderr, as stdout has the outcome of ours.

    Raises
    ------
    ReplayError
        It cannot be started, or ended with another status than 0.
    """
    try:
        status = subprocess.run(argv, cwd=folder, env=environment, stdout=STDERR, check=False).returncode
    except (OSError, ValueError) as error:
        raise ReplayError(f"{argv[0]!r} cannot be started: {error}") from error
    if status < 0:
        raise ReplayError(f"{argv[0]!r} was ended by signal {-status}")
    if status:
        raise ReplayError(f"{argv[0]!r} ended with status {status}")


def read_result(path: Path, said: str) -> Any:
    """Return the portfolio that a program left; what made it is the user's own, so its pickle is read.

    Raises
    ------
    ReplayError
        There is nothing at `path`.
    FormatError
        What is there is no pickle of a portfolio.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReplayError(f"the command left no result at {said!r}", hint="write it there with pf.save(…)") from error
    return load_pickle(content)
