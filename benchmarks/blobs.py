"""Files of an archive, read through git alone."""

from __future__ import annotations

import subprocess
from pathlib import Path


def files_at(path: Path, revision: str = "runvault") -> dict[str, bytes]:
    """Return all files of runs at a revision, by path."""
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", revision, "runs/"], cwd=path, check=True, capture_output=True
    ).stdout
    entries = [entry.split("\t", 1) for entry in listed.decode().split("\0")[:-1]]
    blobs = {name: head.split()[2] for head, name in entries}
    contents = dict(read_blobs(path, list(dict.fromkeys(blobs.values()))))
    return {name: contents[blob] for name, blob in blobs.items()}


def files_of_tip(path: Path, branch: str = "runvault") -> dict[str, bytes]:
    """Return the files that the last commit of an archive brought, by path."""
    asked = ["git", "diff-tree", "-r", "-z", "--name-only", "--no-commit-id", branch]
    names = subprocess.run(asked, cwd=path, check=True, capture_output=True).stdout.decode().split("\0")[:-1]
    return {
        name: subprocess.run(["git", "show", f"{branch}:{name}"], cwd=path, check=True, capture_output=True).stdout
        for name in names
    }


def manifest_blobs(path: Path, revision: str = "runvault") -> list[str]:
    """Return the ids of all manifests at a revision."""
    listed = subprocess.run(["git", "ls-tree", "-r", "-z", revision], cwd=path, check=True, capture_output=True).stdout
    entries = (entry.split(b"\t", 1) for entry in listed.split(b"\0")[:-1])
    return [head.split()[2].decode() for head, name in entries if name.endswith(b"/manifest.json")]


def read_blobs(path: Path, blobs: list[str]) -> list[tuple[str, bytes]]:
    """Return blobs by one `git cat-file --batch`."""
    asked = "".join(f"{blob}\n" for blob in blobs).encode()
    out = subprocess.run(["git", "cat-file", "--batch"], cwd=path, input=asked, check=True, capture_output=True).stdout
    found, place = [], 0
    for blob in blobs:
        end = out.index(b"\n", place)
        size = int(out[place:end].split()[2])
        found.append((blob, out[end + 1 : end + 1 + size]))
        place = end + size + 2
    return found
