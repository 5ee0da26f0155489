"""Two people, a bare Git remote and a folder as the DVC remote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from machine import git
from results import make_result

import runvault as rv
from runvault.api.sharing import clone


@dataclass
class Team:
    """A remote and those who share through it."""

    origin: Path
    storage: Path
    ada: rv.Vault
    folder: Path

    def join(self, name: str) -> rv.Vault:
        """Clone the remote for somebody else."""
        path = self.folder / name
        clone(str(self.origin), path, None, artifacts=True, data=True)
        git(path, "config", "user.name", name)
        git(path, "config", "user.email", f"{name.lower()}@example.org")
        return rv.open(path)


def place(vault: rv.Vault) -> Path:
    found = vault.stores.repository.work_tree
    assert found is not None
    return found


def save(vault: rv.Vault, total_return: float | None = None, fast: int = 10, **words: object) -> rv.Run:
    """Save a run whose address follows from `fast`, and whose results do where `total_return` is not given."""
    result = make_result(fast / 20 if total_return is None else total_return)
    return vault.save(result, strategy="dual_sma", params={"fast": fast}, **words).run


def tree_of(vault: rv.Vault) -> str:
    return git(place(vault), "rev-parse", f"{vault.branch}^{{tree}}").strip()


def name_storage(repository: Path, storage: Path) -> None:
    """Make a folder the default DVC remote of a checkout."""
    text = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {storage}\n"
    (repository / ".dvc" / "config").write_text(text, encoding="utf-8")
