"""Trees that no honest program writes, as raw objects in a remote."""

from __future__ import annotations

import subprocess
from pathlib import Path

from machine import git

Entry = tuple[str, bytes, str]  # mode, name, object id


def write_object(repository: Path, kind: str, content: bytes) -> str:
    args = ["git", "hash-object", "-t", kind, "--literally", "-w", "--stdin"]
    return subprocess.run(args, cwd=repository, input=content, capture_output=True, check=True).stdout.decode().strip()


def read_tree(repository: Path, tree: str) -> list[Entry]:
    args = ["git", "ls-tree", "-z", tree]
    listed = subprocess.run(args, cwd=repository, capture_output=True, check=True).stdout
    lines = [line.partition(b"\t") for line in listed.split(b"\0")[:-1]]
    # As raw trees write modes: without the leading zero of folders
    return [(meta.split(b" ")[0].decode().lstrip("0"), name, meta.split(b" ")[2].decode()) for meta, _, name in lines]


def write_tree(repository: Path, entries: list[Entry]) -> str:
    """Write a tree with its entries in git's order, whatever their names are."""
    ordered = sorted(entries, key=lambda entry: entry[1] + (b"/" if entry[0] == "40000" else b""))
    parts = [mode.encode() + b" " + name + b"\0" + bytes.fromhex(name_id) for mode, name, name_id in ordered]
    return write_object(repository, "tree", b"".join(parts))


def commit_tree(repository: Path, tree: str, parent: str) -> str:
    return git(repository, "commit-tree", tree, "-p", parent, "-m", "hostile\n\nKind: save").strip()


def put(repository: Path, root: str, folders: list[bytes], entries: list[Entry]) -> str:
    """Return a tree with `entries` added to (or in place of those in) the folder that `folders` lead to."""
    present = read_tree(repository, root) if root else []
    if not folders:
        names = {name for _, name, _ in entries}
        return write_tree(repository, [each for each in present if each[1] not in names] + entries)
    below = next((oid for mode, name, oid in present if name == folders[0] and mode == "40000"), "")
    new = put(repository, below, folders[1:], entries)
    return write_tree(repository, [each for each in present if each[1] != folders[0]] + [("40000", folders[0], new)])
