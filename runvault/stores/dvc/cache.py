"""Where DVC keeps its objects, as DVC itself resolves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runvault.errors import ConfigError

SHARED_FOLDER_MODE = 0o2775  # DVC's own, for `cache.shared = group`


@dataclass(frozen=True)
class Cache:
    """The objects' folder of a DVC cache, and the mode of folders made in it (None: as the process makes them)."""

    objects: Path
    folder_mode: int | None = None


def find_dvc_folder(work_tree: Path | None, common_dir: Path) -> Path | None:
    """Return the ``.dvc`` folder that rules: the main worktree's, else that of `work_tree`; None where neither has one.

    Linked worktrees come and go, and their caches with them.
    """
    main = common_dir.parent if common_dir.name == ".git" else work_tree
    folders = [place / ".dvc" for place in (main, work_tree) if place is not None]
    return next((folder for folder in folders if folder.is_dir()), None)


def resolve_cache(dvc_folder: Path) -> Cache:
    """Return the cache that DVC uses for this ``.dvc`` folder; all its levels of configuration count."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        settings = Config(str(dvc_folder))["cache"]
    except DvcException as error:
        raise ConfigError(f"the DVC configuration cannot be read: {error}", "see 'dvc config --list'") from error
    location = str(settings.get("dir") or dvc_folder / "cache")
    if "://" in location:
        raise ConfigError(f"the DVC cache is no local folder: {location}", "set one: dvc cache dir --local FOLDER")
    return Cache(Path(location) / "files" / "md5", SHARED_FOLDER_MODE if settings.get("shared") else None)
