"""DVC around us: the stage that runs this process, and the real repository behind an experiment's throw-away clone.

DVC sets ``DVC_ROOT`` and ``DVC_STAGE`` for the commands of stages. ``dvc exp run --temp`` and ``--queue`` run them in a
clone at ``<repository>/.dvc/tmp/exps/…``, where a commit on the archive branch would be lost with the clone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_CLONES = (".dvc", "tmp", "exps")


def current_stage(root: Path) -> dict[str, str] | None:
    """Return the DVC stage that this process is part of, with its ``dvc.yaml`` from the root; None outside of one."""
    name, folder = os.environ.get("DVC_STAGE"), os.environ.get("DVC_ROOT")
    if not name or not folder:
        return None
    file = Path(folder) / "dvc.yaml"
    inside = file.resolve().is_relative_to(root.resolve())
    return {"name": name, "file": file.resolve().relative_to(root.resolve()).as_posix() if inside else "dvc.yaml"}


def repository_behind(place: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the repository that a DVC experiment's throw-away clone was made from; None for any other place.

    Examples
    --------
    >>> repository_behind(Path("/home/ada/repo/.dvc/tmp/exps/standalone/tmpa1"), {"DVC_EXP_NAME": "x"}).as_posix()
    '/home/ada/repo'
    """
    if "DVC_EXP_NAME" not in environment and "DVC_EXP_BASELINE_REV" not in environment:
        return None
    parts = place.parts
    for at in range(len(parts) - len(_CLONES), 0, -1):
        if parts[at : at + len(_CLONES)] == _CLONES:
            return Path(*parts[:at])
    return None
