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


def git(path: Path, *args: str, check: bool = True) -> str:
    """Run git in `path` and return what it printed."""
    return subprocess.run(["git", *args], cwd=path, check=check, capture_output=True, text=True).stdout
