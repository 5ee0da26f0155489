"""Git bundles of an archive: all of it, or a few runs on top of the commit that every archive begins with."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from runvault.errors import FormatError
from runvault.stores.git.coderefs import CODE_REFS
from runvault.stores.git.edits import Edit, Known
from runvault.stores.git.init import FIRST_COMMIT
from runvault.stores.git.objects import Tip, build, open_repository, translated
from runvault.stores.git.remotes import drop_false_code_refs, fetch_checked, resolve
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import commit_content

BUNDLED = "refs/runvault/bundle"
INCOMING = "refs/runvault/incoming/bundle"


def commit_of_paths(repository: Repository, paths: Iterable[str], edit: Edit) -> str:
    """Return a commit on no branch that holds some paths of the tip, on top of every archive's first commit.

    Parameters
    ----------
    paths : iterable of str
        Files and folders at the tip; what is not there is left out.
    edit : Edit
        Message, author and time.
    """
    handle = open_repository(repository.common_dir)
    tip, first = Tip(handle, repository.tip()), Tip(handle, FIRST_COMMIT)
    with translated("cannot choose runs for a bundle"):
        found = [(path, tip.tree[path]) for path in paths if tip.tree is not None and path in tip.tree]
        known = [(path, Known(str(entry.id), isinstance(entry, pygit2.Tree))) for path, entry in found]
        built = build(handle, first.tree, known)
        return str(handle.odb.write(ObjectType.COMMIT, commit_content(handle, first, edit, str(built.tree))))


def write_bundle(repository: Repository, path: Path, commit: str, code: Sequence[str]) -> None:
    """Write a commit of the archive, and the code snapshots among `code` that are here, with all behind them."""
    ref = f"{BUNDLED}/{secrets.token_hex(8)}"
    kept = [f"{CODE_REFS}/{each}" for each in code if resolve(repository, f"{CODE_REFS}/{each}") == each]
    repository.git("update-ref", ref, commit)
    try:
        asked = "".join(f"{each}\n" for each in (ref, *kept)).encode("ascii")
        repository.git("bundle", "create", "--quiet", str(path.absolute()), "--stdin", stdin=asked)
    finally:
        repository.git("update-ref", "-d", ref)


def fetch_bundle(repository: Repository, path: Path) -> str:
    """Fetch what a bundle holds, checked, and return the commit of the archive in it.

    Raises
    ------
    FormatError
        It holds no archive.
    RunvaultError
        It is no bundle, or holds what git itself refuses.
    """
    forget_bundle(repository)
    fetch_checked(repository, str(path.absolute()), f"+{BUNDLED}/*:{INCOMING}/*", f"{CODE_REFS}/*:{CODE_REFS}/*")
    drop_false_code_refs(repository)
    found = repository.git("for-each-ref", "--format=%(objectname)", f"{INCOMING}/").stdout.decode("ascii").split()
    if len(found) != 1:
        raise FormatError(f"{str(path)!r} holds no archive of runvault")
    return found[0]


def forget_bundle(repository: Repository) -> None:
    """Remove the refs that hold what a bundle brought, while it is taken in."""
    listed = repository.git("for-each-ref", "--format=delete %(refname)", f"{INCOMING}/").stdout
    repository.git("update-ref", "--stdin", stdin=listed)
