"""What `dvc init` writes, for a repository that has no DVC yet."""

from __future__ import annotations

from pathlib import Path

# Byte for byte what DVC 3 writes
DVC_FILES = {
    ".dvc/config": "",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvcignore": (
        "# Add patterns of files dvc should ignore, which could improve\n"
        "# the performance. Learn more at\n"
        "# https://dvc.org/doc/user-guide/dvcignore\n"
    ),
}


def init_dvc_files(work_tree: Path) -> list[Path]:
    """Make `work_tree` a DVC repository, unless it is one; return the files written, of which none is staged."""
    if (work_tree / ".dvc").is_dir():
        return []
    missing = {work_tree / name: text for name, text in DVC_FILES.items() if not (work_tree / name).exists()}
    for path, text in missing.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(missing)
