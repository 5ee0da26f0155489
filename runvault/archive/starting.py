"""Making an archive where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runvault.archive.stores import Stores


@dataclass(frozen=True)
class Started:
    """What `init_archive` did.

    `created` is false where the branch was there already. `written` are DVC's files, written to the working tree of a
    repository that had no DVC; they are neither staged nor committed. `copies` says that the DVC cache is on another
    file system, so that what protects its objects from deletion is a second copy instead of a link.
    """

    created: bool
    written: tuple[Path, ...]
    copies: bool


def init_archive(stores: Stores) -> Started:
    """Make the archive branch, and DVC's three files where the repository has no DVC; idempotent.

    In a clone that knows the branch from one remote it starts where that is.

    Raises
    ------
    RunvaultError
        The repository is of a kind that cannot be written safely.
    """
    from runvault.stores.dvc import init_dvc_files
    from runvault.stores.git.init import follow_remote
    from runvault.stores.git.init import init_archive as init_branch

    repository = stores.repository
    created = follow_remote(repository) or init_branch(repository)
    # A linked worktree uses the main one's cache: worktrees come and go, and their caches with them.
    linked = repository.git_dir != repository.common_dir and repository.common_dir.name == ".git"
    main = repository.common_dir.parent if linked else repository.work_tree
    written = tuple(init_dvc_files(main)) if main is not None and repository.work_tree is not None else ()
    return Started(created, written, stores.objects.keep_takes_space)
