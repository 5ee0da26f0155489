"""What tests ask of the machine: git, and how long they may take."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TypeVar

FULL_COUNTS = os.environ.get("RUNVAULT_FAULTS") == "full"
T = TypeVar("T")


def full_counts(short: T, full: T) -> T:
    """Return what, or how often, a fault test repeats: `short` in every run, `full` behind `make faults`."""
    return full if FULL_COUNTS else short


def git(path: Path, *args: str, check: bool = True, stdin: Path | None = None) -> str:
    """Run git in `path`, with a file to read if there is one, and return what it printed."""
    with (stdin or Path(os.devnull)).open("rb") as file:
        return subprocess.run(["git", *args], cwd=path, check=check, capture_output=True, text=True, stdin=file).stdout


def unpack(repo: Path) -> None:
    """Make a file of its own of each object in a pack, so that what is damaged is that object alone."""
    folder = repo / ".git/objects/pack"
    for pack in folder.glob("*.pack"):
        aside = pack.rename(repo / ".git" / pack.name)
        pack.with_suffix(".idx").unlink()
        git(repo, "unpack-objects", "-q", stdin=aside)
        aside.unlink()
