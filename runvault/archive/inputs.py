"""Input data of a run: what the config says of it, and the pointers that let it travel with the archive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.archive.request import SaveRequest
from runvault.archive.stores import Stores
from runvault.engines.result import Outcome, Window
from runvault.errors import ConfigError

if TYPE_CHECKING:
    from runvault.stores.dvc import ObjectStore

Json: TypeAlias = Any

PRICES = "prices"

# The digits of an object's name, alone: no part of a longer digest counts
_DIGITS = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def digits_in(content: bytes) -> set[str]:
    """Return all that may be the name of an object in a record or pointer, files' and folders' alike, without ``.dir``.

    Examples
    --------
    >>> digits_in(b"md5: " + b"ab" * 16 + b".dir") == {"ab" * 16}
    True
    """
    return {digits.decode("ascii") for digits in _DIGITS.findall(content)}


@dataclass(frozen=True)
class Inputs:
    """Input files by name, fingerprinted.

    `md5` holds their hashes as DVC computes them, `pointers` the files under ``data/`` of the archive.
    """

    md5: Mapping[str, str]
    pointers: Mapping[str, bytes]

    def config(self, outcome: Outcome, windows: Mapping[str, Mapping[str, Json]]) -> Mapping[str, Json]:
        """Return the config's `data` member for a run over these inputs.

        The input named ``prices``, or the only one, is what the result was valued on: its entry names the window,
        symbols and interval of the result. Another names the window that it was cut to, if it was: `windows` has
        these by input. Without files the result's own prices are the input.
        """
        if not self.md5:
            return outcome.data
        valued = PRICES if PRICES in self.md5 else next(iter(self.md5)) if len(self.md5) == 1 else None
        windows = {**windows, **({} if valued is None else {valued: _window_members(outcome.window)})}
        return {name: {"md5": md5, **windows.get(name, {})} for name, md5 in self.md5.items()}


def keep_inputs(objects: ObjectStore, files: Mapping[str, Path]) -> Inputs:
    """Fingerprint input files and folders, and keep their content in the DVC cache.

    Raises
    ------
    ConfigError
        A file is not there; the message names the input.
    """
    from runvault.stores.dvc import pointer_bytes

    hashes: dict[str, str] = {}
    pointers: dict[str, bytes] = {}
    for name, path in files.items():
        if not path.exists():
            raise ConfigError(f"data.{name}: there is no file or folder {str(path)!r}")
        stored = objects.put_file(path)
        file_name = stored.md5 if path.is_dir() else f"{stored.md5}{path.suffix}"
        hashes[name] = stored.md5
        pointers[f"data/{stored.md5[:2]}/{file_name}.dvc"] = pointer_bytes(file_name, stored)
    return Inputs(hashes, pointers)


def inputs_of(stores: Stores, request: SaveRequest) -> Inputs:
    """Fingerprint and keep the input files of a request."""
    return keep_inputs(stores.objects, request.data) if request.data else NO_INPUTS


def _window_members(window: Window) -> dict[str, Json]:
    return {"start": window.start, "end": window.end, "symbols": list(window.symbols), "interval": window.interval}


NO_INPUTS = Inputs({}, {})
