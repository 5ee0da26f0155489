"""The stores of one archive, each opened when first needed: a listing opens neither pygit2 nor the DVC cache."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from runvault.archive.gate import SWITCH, Gate, check_switch
from runvault.errors import IntegrityError, VaultNotFoundError
from runvault.model.records import MAX_FILE_BYTES
from runvault.stores.git.repository import Repository

DVC_CONFIG = ".dvc/config"

if TYPE_CHECKING:
    from runvault.stores.catalog.catalog import Catalog
    from runvault.stores.dvc import ObjectStore
    from runvault.stores.dvc.remotes import ObjectRemote
    from runvault.stores.git.edits import Edit, FastForward
    from runvault.stores.git.objects import Tip
    from runvault.stores.git.reading import Reader
    from runvault.stores.git.writing import Writer


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class Stores:
    """Git, DVC cache and catalog of one archive branch.

    Parameters
    ----------
    repository : Repository
        The Git repository and the archive's ref in it.
    code : Repository, optional
        Where the user's code is checked out: the same repository, but inside a DVC experiment's throw-away clone.
    """

    def __init__(self, repository: Repository, code: Repository | None = None) -> None:
        self.repository = repository
        self.code = code or repository
        self.say: Callable[[str], None] = _say

    @cached_property
    def reader(self) -> Reader:
        """The archive's history and files, through the git programs."""
        from runvault.stores.git.reading import Reader

        return Reader(self.repository, MAX_FILE_BYTES)

    @cached_property
    def writer(self) -> Writer:
        """The only way to change the branch."""
        from runvault.stores.git.writing import Writer

        return Writer(self.repository)

    @cached_property
    def objects(self) -> ObjectStore:
        """The DVC cache that the repository is configured with, and our second names for its objects."""
        from runvault.stores.dvc import ObjectStore

        store = ObjectStore.find(self.repository.work_tree, self.repository.common_dir)
        store.elsewhere = self._bring
        return store

    def object_remote(self) -> ObjectRemote | None:
        """Return the default DVC remote: the checkout's, else the archive's; None where neither names one."""
        from runvault.stores.dvc.remotes import default_remote

        tip = self.repository.tip()
        shared = self.reader.read_file(tip, DVC_CONFIG) if tip else None
        return default_remote(self.objects.dvc_folder, shared or b"")

    def _bring(self, md5: str) -> None:
        """Fetch an object of somebody else's when it is first needed, and say so."""
        remote = self.object_remote()
        if remote is None:
            return
        from runvault.stores.dvc.transfer import Wanted, fetch

        moved = fetch(remote, self.objects, [Wanted(md5)])
        if moved.objects:
            self.say(f"fetched {moved.objects} object(s), {moved.bytes:,} bytes, from the DVC remote {remote.name!r}")
        for problem in moved.failed.values():
            self.say(f"object {md5} was not fetched: {problem}")

    @cached_property
    def _catalog(self) -> Catalog:
        from runvault.stores.catalog.catalog import Catalog

        return Catalog(self.repository.state_dir / "catalog.db")

    def catalog(self) -> Catalog:
        """Return the catalog, brought up to the branch's tip."""
        self._catalog.refresh(Gate(self.reader), self.repository.ref, self.require_tip())
        return self._catalog

    def update(self, plan: Callable[[Tip], Edit | FastForward | None]) -> str | None:
        """Change the branch by what `plan` makes of its tip; return the new commit, None where nothing is to be done.

        Raises
        ------
        SchemaTooNewError
            A newer runvault wrote the archive.
        """

        def guarded(tip: Tip) -> Edit | FastForward | None:
            check_switch(tip.read(SWITCH))
            return plan(tip)

        return self.writer.update(guarded)

    def rebuild_catalog(self) -> None:
        """Make the catalog anew from the archive."""
        self._catalog.rebuild(Gate(self.reader), self.repository.ref, self.require_tip())

    def require_tip(self) -> str:
        """Return the commit that the archive is at.

        Raises
        ------
        VaultNotFoundError
            The repository has no archive branch.
        IntegrityError
            The file that says where the branch is at is damaged.
        """
        tip = self.repository.tip()
        if tip is None:
            self._refuse_damaged()
            from runvault.stores.git.elsewhere import hint_of_archives

            where = f"no archive branch {self.repository.branch!r} in {str(self.repository.common_dir)!r}"
            raise VaultNotFoundError(where, hint=hint_of_archives(self.repository, SWITCH))
        return tip

    def _refuse_damaged(self) -> None:
        """Raise where the branch seems to be missing because the file of its ref is damaged."""
        from runvault.stores.git.refs import ref_damage

        for damage in ref_damage(self.repository):
            if damage.path in (self.repository.ref, "packed-refs"):
                message = (
                    f"the archive branch {self.repository.branch!r} cannot be read: {damage.path} {damage.problem}"
                )
                raise IntegrityError(message, hint="run 'runvault verify --repair'")
