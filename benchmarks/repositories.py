"""Repositories to measure in: empty, or with an archive of a given number of runs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import runvault
from benchmarks.backtests import SETTINGS, Prepared, new_params
from benchmarks.forge import Template, forge_archive
from runvault.api.vault import Vault

_numbers = itertools.count()


def git(path: Path, *args: str) -> str:
    """Run git in `path` and return what it printed."""
    return subprocess.run(["git", *args], cwd=path, check=True, capture_output=True, text=True).stdout


def new_repository(path: Path) -> Path:
    """Make a repository with one commit."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet")
    (path / "strategy.py").write_text("FAST = 10\n", encoding="utf-8")
    git(path, "add", "strategy.py")
    git(path, "commit", "--quiet", "--message", "strategy: first")
    return path


class Archives:
    """Makes an archive of each size once, and copies of it to measure in.

    Parameters
    ----------
    scratch : Path
        A folder of ours. What is made there is used again by a later call of the benchmarks with the same folder.
    """

    def __init__(self, scratch: Path, prepared: Prepared) -> None:
        self._scratch = scratch
        self._prepared = prepared

    def folder(self, name: str) -> Path:
        """Return a folder that is not there yet."""
        path = self._scratch / f"{name}-{next(_numbers)}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def empty(self, name: str = "empty") -> Path:
        """Return a repository with an archive of no runs."""
        path = new_repository(self.folder(name))
        runvault.init(path)
        return path

    def copy(self, runs: int) -> Path:
        """Return a repository with an archive of so many runs, to be changed at will."""
        path = self.folder(f"copy-{runs}")
        shutil.copytree(self._made(runs), path)
        return path

    def _made(self, runs: int) -> Path:
        path = self._scratch / f"archive-{runs}"
        if not (path / ".made").exists():
            shutil.rmtree(path, ignore_errors=True)
            new_repository(path)
            vault = runvault.init(path)
            if runs:
                forge_archive(path, runs, self._template())
                vault.count()  # the catalog is there, as it is where runs were listed before
            (path / ".made").touch()
        return path

    def _template(self) -> Template:
        """Return the files of a run that was really saved."""
        vault = runvault.init(new_repository(self.folder("template")))
        saved = vault.save(self._prepared.new(), strategy="dual_sma", params=new_params(), settings=SETTINGS)
        return Template.read(vault.stores.repository.common_dir, saved.id)


def save_prepared(vault: Vault, prepared: Prepared, *, dump: bool = True) -> None:
    """Save one prepared result as a new run."""
    vault.save(prepared.new(dump=dump), strategy="dual_sma", params=new_params(), settings=SETTINGS)
