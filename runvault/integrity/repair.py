"""What a second copy can heal is healed: objects from keep, cache and remotes, Git's files, the catalog."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from runvault.errors import RunvaultError
from runvault.stores.dvc.remotes import ObjectRemote
from runvault.stores.dvc.store import NOWHERE
from runvault.stores.git.damage import Damage
from runvault.stores.git.lock import write_lock
from runvault.stores.git.refs import ref_damage
from runvault.stores.git.repairing import repair_git
from runvault.stores.git.soundness import SoundReader, file_damage, history_damage
from runvault.stores.git.writing import TIMEOUT_S

if TYPE_CHECKING:
    from runvault.archive.stores import Stores

Object = tuple[str, str | None, int | None]


class Remotes:
    """The DVC remote that is configured, asked only where something is not here.

    Attributes
    ----------
    problem : str or None
        Why it could not be asked.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.problem: str | None = None

    @cached_property
    def _remote(self) -> ObjectRemote | None:
        try:
            return self._stores.object_remote()
        except RunvaultError as error:
            self.problem = error.message
            return None

    @property
    def hint(self) -> str:
        """Return what to do about an object that is neither here nor there."""
        if self.problem is None and self._remote is None:
            return "there is no default DVC remote: 'runvault remote add NAME URL' names one to all"
        return self.problem or NOWHERE

    def present(self, md5s: Collection[str]) -> set[str]:
        """Return which of these objects the remote has; none where there is no remote, or it does not answer."""
        if not md5s or self._remote is None:
            return set()
        try:
            return self._remote.present(md5s)
        except RunvaultError as error:
            self.problem = error.message
            return set()

    def read(self, md5: str) -> bytes | None:
        """Return what the remote has under this name, None where it has nothing or does not answer."""
        try:
            return None if self._remote is None else self._remote.read(md5)
        except RunvaultError as error:
            self.problem = error.message
            return None


def repair(stores: Stores, objects: Collection[Object], *, git: bool, catalog: bool) -> list[str]:
    """Heal what can be healed, and return what was: paths in the Git folder, and objects.

    Parameters
    ----------
    objects : collection
        MD5, SHA-256 and size of objects of which a copy is missing or damaged.
    git, catalog : bool
        Whether something is wrong with Git's own files, and with the catalog.
    """
    healed: list[str] = []
    stores.repository.state_dir.mkdir(parents=True, exist_ok=True)
    with write_lock(stores.repository.state_dir, TIMEOUT_S):
        if git:
            healed += repair_git(stores.repository, lambda: _damage(stores))
        remotes = Remotes(stores)
        for md5, sha256, size in objects:
            source = stores.objects.heal(md5, sha256, size, remotes.read)
            healed += [f"object {md5} from {source}"] if source else []
        if catalog:
            stores.rebuild_catalog()
            healed.append("runvault/catalog.db")
    return healed


def _damage(stores: Stores) -> Sequence[Damage]:
    """Return all that is wrong with Git's own files now."""
    repository = stores.repository
    found = [*ref_damage(repository), *file_damage(repository)]
    tip = repository.tip()
    if tip is None:
        return found
    known = {damage.object for damage in found}
    folders = SoundReader(repository).files(tip)[1]
    history = [*folders, *history_damage(repository, [tip])]
    return found + [damage for damage in history if damage.object not in known]
