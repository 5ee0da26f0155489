"""The inputs of a recorded run, as files where its recipe expects them."""

from __future__ import annotations

import json
from pathlib import Path

from runvault.archive.stores import Stores
from runvault.errors import ReplayError, RunvaultError
from runvault.execution.recipe import Input
from runvault.stores.dvc.stored import describe


def place_input(stores: Stores, given: Input, code: str | None, tree: Path, folder: Path) -> Path:
    """Write an input to where the recipe expects it, inside `tree`; elsewhere into `folder`. Return its path.

    Parameters
    ----------
    code : str or None
        The commit of the run's own code, which may hold what no store has.

    Raises
    ------
    ReplayError
        The input is not here.
    """
    inside = given.path and not Path(given.path).is_absolute() and ".." not in Path(given.path).parts
    path = tree / given.path if inside else folder / "inputs" / given.md5[:8] / (Path(given.path).name or given.name)
    content = _content(stores, given, code)
    if given.md5.endswith(".dir"):
        _make_way(path, tree)
        _place_folder(stores, content, path)
    else:
        _place_file(content, path, tree)
    return path


def _place_file(content: bytes, path: Path, top: Path) -> None:
    _make_way(path, top)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _make_way(path: Path, top: Path) -> None:
    """Remove what is no folder where one on the way to `path` is to be, and a link at `path`: that is not followed."""
    for place in reversed((path, *path.parents)):
        if top in place.parents and (not place.is_dir() or (place == path and place.is_symlink())):
            place.unlink(missing_ok=True)


def is_at_hand(stores: Stores, given: Input, code: str | None) -> bool:
    """Return whether an input is here, in a store or in the run's own code."""
    return stores.objects.has(given.md5) or _committed(stores, given, code) is not None


def _content(stores: Stores, given: Input, code: str | None) -> bytes:
    try:
        return stores.objects.get(given.md5)
    except RunvaultError as error:
        committed = _committed(stores, given, code)
        if committed is None:
            message = f"the input {given.path or given.name} is not here: {error.message}"
            raise ReplayError(message, error.hint) from error
        return committed


def _committed(stores: Stores, given: Input, code: str | None) -> bytes | None:
    """Return an input that the code itself brings: small data is kept in Git, and a fresh clone has no cache."""
    if code is None or not given.path:
        return None
    found = stores.repository.git("cat-file", "blob", f"{code}:{given.path}", ok=(0, 128))
    return found.stdout if not found.returncode and describe(found.stdout).md5 == given.md5 else None


def _place_folder(stores: Stores, listing: bytes, path: Path) -> None:
    for entry in json.loads(listing):
        relative = Path(entry["relpath"])
        if relative.is_absolute() or ".." in relative.parts:
            raise ReplayError(f"an input folder holds a file at {entry['relpath']!a}")
        _place_file(stores.objects.get(entry["md5"]), path / relative, path)
