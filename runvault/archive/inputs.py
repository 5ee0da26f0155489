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
    from runvault.stores.dvc.stored import Stored

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
    """Input files by name, as they were when they were fingerprinted and kept.

    `md5` holds their hashes as DVC computes them, `names` what their objects are called below ``data/`` of the archive,
    `pointers` the files there.
    """

    md5: Mapping[str, str]
    names: Mapping[str, str]
    pointers: Mapping[str, bytes]

    def config(self, outcome: Outcome, request: SaveRequest) -> Mapping[str, Json]:
        """Return the config's `data` member for a run over the files that a request names, which are among these.

        The input named ``prices``, or the only one, is what the result was valued on: its entry names the window,
        symbols and interval of the result. Another names the window that it was cut to, if it was. Without files the
        result's own prices are the input.
        """
        md5s = {name: self.md5[name] for name in request.data}
        if not md5s:
            return outcome.data
        valued = PRICES if PRICES in md5s else next(iter(md5s)) if len(md5s) == 1 else None
        windows = {**request.windows, **({} if valued is None else {valued: _window_members(outcome.window)})}
        return {name: {"md5": md5, **windows.get(name, {})} for name, md5 in md5s.items()}

    def and_those(self, others: Inputs) -> Inputs:
        """Return these inputs and others."""
        return Inputs({**self.md5, **others.md5}, {**self.names, **others.names}, {**self.pointers, **others.pointers})


def keep_inputs(stores: Stores, files: Mapping[str, Path]) -> Inputs:
    """Fingerprint input files and folders, and keep their content in the DVC cache.

    Once for all that a run says of them: a file may change while it runs.

    Raises
    ------
    ConfigError
        A file is not there; the message names the input.
    """
    if not files:
        return NO_INPUTS
    kept: dict[str, tuple[Stored, str]] = {}
    for name, path in files.items():
        if not path.exists():
            raise ConfigError(f"data.{name}: there is no file or folder {str(path)!r}")
        stored = stores.objects.put_file(path)
        kept[name] = stored, stored.md5 if path.is_dir() else f"{stored.md5}{path.suffix}"
    return _told(kept)


def keep_contents(stores: Stores, contents: Mapping[str, bytes], suffix: str) -> Inputs:
    """Fingerprint inputs that lie in no file, and keep them as files that end in `suffix`."""
    if not contents:
        return NO_INPUTS
    kept = zip(contents, stores.objects.put_all(list(contents.values())), strict=True)
    return _told({name: (stored, f"{stored.md5}{suffix}") for name, stored in kept})


def inputs_of(stores: Stores, request: SaveRequest) -> Inputs:
    """Fingerprint and keep the input files of a request."""
    return keep_inputs(stores, request.data)


def _told(kept: Mapping[str, tuple[Stored, str]]) -> Inputs:
    """Return what is said of inputs, each with what its object is called below ``data/``."""
    from runvault.stores.dvc import pointer_bytes

    return Inputs(
        {name: stored.md5 for name, (stored, _) in kept.items()},
        {name: file_name for name, (_, file_name) in kept.items()},
        {f"data/{stored.md5[:2]}/{file}.dvc": pointer_bytes(file, stored) for stored, file in kept.values()},
    )


def _window_members(window: Window) -> dict[str, Json]:
    return {"start": window.start, "end": window.end, "symbols": list(window.symbols), "interval": window.interval}


NO_INPUTS = Inputs({}, {}, {})
