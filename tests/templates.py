"""Folders that many tests begin with: made in the first such test, copied in all others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from machine import git
from results import make_result

import runvault as rv


class Templates:
    """Folders made so far in this session.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[str] = set()

    def copy(self, make: Callable[[Path], object], path: Path) -> None:
        """Put what `make` makes of an empty folder at `path`, over what is there."""
        name = make.__name__
        if name not in self._made:
            make(self._folder / name)
            self._made.add(name)
        # Hard links stay links, as they are among the objects of an archive; shutil knows none.
        subprocess.run(["cp", "-a", f"{self._folder / name}/.", str(path)], check=True)


def repository(path: Path) -> None:
    """Make a Git repository with one commit and a clean working tree."""
    path.mkdir()
    git(path, "init", "--quiet")
    (path / "strategy.py").write_text("FAST = 10\n")
    git(path, "add", "strategy.py")
    git(path, "commit", "--quiet", "--message", "strategy: first")


def archive(path: Path) -> rv.Vault:
    """Make the same with an empty archive."""
    repository(path)
    return rv.init(path)


def three_runs(path: Path) -> None:
    """Make the same with three runs, each with a tag of its own, and the catalog that a first listing makes."""
    vault = archive(path)
    for total_return, fast in [(0.1, 10), (0.3, 11), (-0.2, 20)]:
        vault.save(make_result(total_return), strategy="dual_sma", params={"fast": fast}, tags=[f"t{fast}"])
    assert vault.count() == 3
