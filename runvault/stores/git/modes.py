"""What in a tree is no plain file: links and programs, which an archive has none of."""

from __future__ import annotations

from runvault.stores.git.repository import Repository

PLAIN = "100644"
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git knows it without having it
_NAMES = {"120000": "a symbolic link", "160000": "a submodule", "100755": "a program"}


def odd_modes(repository: Repository, old: str, new: str) -> dict[str, str]:
    """Return what differs between two commits and is no plain file in the newer one: its path, and what it is."""
    args = ["diff-tree", "-r", "-z", "--raw", "-O/dev/null", "--no-renames", "--end-of-options", old, new]
    fields = repository.git(*args).stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found = {}
    for meta, path in zip(fields[::2], fields[1::2], strict=True):
        mode = meta.split(" ")[1]
        if mode not in (PLAIN, "000000"):
            found[path] = _NAMES.get(mode, f"of mode {mode}")
    return found
