"""Making an archive where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runvault.archive.stores import Stores


@dataclass(frozen=True)
class Started:
    """What `init_archive` did.

    `created` is false where the branch was there already. `written` are DVC's files, written to the working tree of a
    repository that had no DVC; they are neither staged nor committed.
    """

    created: bool
    written: tuple[Path, ...]


def init_archive(stores: Stores) -> Started:
    """Make the archive branch, and DVC's three files where the repository has no DVC; idempotent.

    Raises
    ------
    RunvaultError
        The repository is of a kind that cannot be written safely.
    """
    from runvault.stores.dvc import init_dvc_files
    from runvault.stores.git.init import init_archive as init_branch

    created = init_branch(stores.repository)
    work_tree = stores.repository.work_tree
    return Started(created, tuple(init_dvc_files(work_tree)) if work_tree is not None else ())
