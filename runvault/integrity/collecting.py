"""Dropping the objects that nothing kept needs: `gc`.

Everything that cannot be read in full is read for whatever looks like an object's name, and what is named stays: a
pointer in a colleague's branch that runvault itself would refuse still keeps its object.

Input data is named by pointers under ``data/``, which a removal of runs leaves: whether others need them is told by all
manifests, and these are read here. What no kept run needs loses its pointer first, in a commit, and then its object.
A merge with an archive that has the pointer still brings it back, and the next collection takes it again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from runvault.archive.changing import edit_of
from runvault.archive.gate import SWITCH
from runvault.archive.inputs import digits_in
from runvault.errors import IntegrityError, RunvaultError
from runvault.model.ids import RunId
from runvault.model.records import MANIFEST
from runvault.stores.git.lock import write_lock
from runvault.stores.git.roots import commits_named, files_of_users
from runvault.stores.git.writing import TIMEOUT_S

if TYPE_CHECKING:
    from runvault.archive.request import Provenance
    from runvault.archive.stores import Stores
    from runvault.stores.git.edits import Edit
    from runvault.stores.git.objects import Tip

Json: TypeAlias = Any

# An object's name where YAML or JSON has one: 32 digits alone, so that no part of a longer digest counts
_MD5 = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?:\.dir)?(?![0-9a-f])")
_INPUT = re.compile(r"data/[0-9a-f]{2}/[0-9a-f]{32}(\.[^/]*)?\.dvc")


@dataclass(frozen=True)
class Removal:
    """What was removed, or would be.

    Parameters
    ----------
    removed : list of str
        Ids of runs; of a collection the names of objects.
    size_bytes : int
        The space that it frees; of runs, what a later collection can free.
    of : mapping of str to str
        What each object was, as far as history tells.
    """

    removed: list[str]
    size_bytes: int
    of: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """Return the document that the command prints as JSON."""
        return {"removed": self.removed, "bytes": self.size_bytes}


def collect(
    stores: Stores, provenance: Provenance, keep_history: int | None = None, *, dry_run: bool = False
) -> Removal:
    """Drop the objects that nothing kept needs, from keep and from the cache.

    First the pointers under ``data/`` go, in a commit, that no kept revision of a run at the archive's tip names.
    Kept is what a branch, a remote branch, a tag or any other ref names at its tip; of the runs there the revisions
    that they had; what the user's own DVC files name, in any commit, in the work trees and in DVC's cache of stages;
    and what a live process has put for a commit that is still to come.

    Parameters
    ----------
    keep_history : int, optional
        How many revisions of each run; all of them by default.
    dry_run : bool
        Find out, and remove nothing.

    Raises
    ------
    IntegrityError
        History is damaged or incomplete, so that nobody can say what is needed; nothing is removed.
    BusyError
        Another process holds the archive.
    """
    archive_tip = stores.require_tip()
    idle = {(archive_tip, path) for path in _idle_pointers(stores, archive_tip, keep_history)}
    if idle and not dry_run:
        stores.update(lambda tip: _without_idle_pointers(stores, tip, keep_history, provenance))
    with write_lock(stores.repository.state_dir, TIMEOUT_S):
        needs = _Needs(stores, keep_history)
        with stores.objects.pending.collecting() as pending:
            needed = needs.objects(idle if dry_run else ()) | pending
            dropped = [md5 for md5 in stores.objects.kept() if md5 not in needed]
            size_bytes = stores.objects.drop(dropped, dry_run=dry_run)
    return Removal(dropped, size_bytes, needs.descriptions(dropped))


def _without_idle_pointers(stores: Stores, tip: Tip, keep_history: int | None, provenance: Provenance) -> Edit | None:
    idle = _idle_pointers(stores, tip.commit, keep_history) if tip.commit else []
    if not idle:
        return None
    subject = f"Remove {len(idle)} pointer{'s' * (len(idle) > 1)} to data that no run needs"
    return edit_of([(path, None) for path in idle], subject, [], "remove", provenance)


def _idle_pointers(stores: Stores, commit: str, keep_history: int | None) -> list[str]:
    """Return the pointers under ``data/`` at a commit that no kept revision of a run there names."""
    files = [(path, blob) for path, blob in stores.reader.changed_files(None, commit) if blob]
    pointers = {path: blob for path, blob in files if _INPUT.fullmatch(path)}
    if not pointers:
        return []
    manifests = {path.rpartition("/")[0]: blob for path, blob in files if path.endswith(f"/{MANIFEST}")}
    named = set().union(*map(digits_in, contents_of(stores, manifests.values())))
    told = dict(zip(pointers, map(digits_in, contents_of(stores, pointers.values())), strict=True))
    idle = [path for path in pointers if named.isdisjoint({path.split("/")[2][:32], *told[path]})]
    if idle:  # the whole history is read only where that may say something else
        needs = _Needs(stores, keep_history)
        kept = [content for folder in manifests for content in needs.kept_revisions(folder)]
        named = set().union(*map(digits_in, kept))
    return [path for path in idle if named.isdisjoint({path.split("/")[2][:32], *told[path]})]


def contents_of(stores: Stores, blobs: Iterable[str]) -> Iterator[bytes]:
    """Yield contents in the order asked.

    Raises
    ------
    IntegrityError
        One of them is not there: it may have named anything.
    """
    asked = list(blobs)
    try:
        found = dict(stores.reader.read_blobs(dict.fromkeys(asked)))
    except RunvaultError as error:
        raise _damaged(error.message) from error
    if len(found) < len(set(asked)):
        raise _damaged(f"{len(set(asked)) - len(found)} objects are missing")
    yield from (found[blob] for blob in asked)


class _Needs:
    """What the refs of a repository need of the object store."""

    def __init__(self, stores: Stores, keep_history: int | None) -> None:
        self._stores = stores
        self._keep_history = keep_history
        if stores.repository.is_shallow():
            raise IntegrityError(
                "this clone is shallow: which revisions there were is not known here", "run 'git fetch --unshallow'"
            )
        named = commits_named(stores.repository)
        self._archives = [commit for commit in named if self._blobs_at(commit, [SWITCH])]
        self._manifests = self._read_history()

    def _blobs_at(self, commit: str, paths: list[str]) -> Mapping[str, bytes]:
        return self._stores.reader.read_files(commit, paths)

    def objects(self, idle: Collection[tuple[str, str]] = ()) -> set[str]:
        """Return the names of all objects that are needed; for the pointers in `idle`, commit and path, none is."""
        needed: set[str] = set()
        at_tips: set[str] = set()
        pointers: set[str] = set()
        for commit in self._archives:
            for path, blob in self._stores.reader.changed_files(None, commit):
                if path.endswith(".dvc") and blob and (commit, path) not in idle:
                    pointers.add(blob)
                if path.startswith("runs/"):
                    at_tips.add("/".join(path.split("/")[:3]))
        for content in contents_of(self._stores, pointers):
            needed |= _names_in(content)
        for folder in at_tips:
            for content in self.kept_revisions(folder):
                needed |= _names_in(content)
        for content in files_of_users(self._stores.repository, self._archives_alone()):
            needed |= _names_in(content)
        folders = [md5 for md5 in needed if md5.endswith(".dir")]
        return needed.union(*map(self._stores.objects.files_in, folders))

    def _archives_alone(self) -> list[str]:
        """Return the archives but those that somebody merged into a branch of their own work."""
        roots = {commit: self._roots_of(commit) for commit in self._archives}
        ours = {root for root in set().union(*roots.values()) if self._blobs_at(root, [SWITCH])}
        return [commit for commit, mine in roots.items() if mine <= ours]

    def _roots_of(self, commit: str) -> set[str]:
        told = self._stores.repository.git("rev-list", "--max-parents=0", commit).stdout.decode("ascii")
        return set(told.split())

    def kept_revisions(self, folder: str) -> list[bytes]:
        """Return the manifests of a run's revisions that are kept, the newest ones."""
        contents = list(self._manifests.get(folder, {}).items())
        if self._keep_history is None or len(contents) <= self._keep_history:
            return [content for _, content in contents]
        ordered = sorted(contents, key=lambda item: (_created_at(item[1]), item[0]))
        return [content for _, content in ordered[-self._keep_history :]]

    def _read_history(self) -> dict[str, dict[str, bytes]]:
        """Return every manifest that a run has had, by its folder and blob."""
        blobs: dict[str, str] = {}
        for commit in self._archives:
            for each in self._stores.reader.introduced(None, commit):
                blobs[each.blob] = each.path.rpartition("/")[0]
        found: dict[str, dict[str, bytes]] = defaultdict(dict)
        for blob, content in zip(blobs, contents_of(self._stores, blobs), strict=True):
            found[blobs[blob]][blob] = content
        return found

    def descriptions(self, md5s: Iterable[str]) -> dict[str, str]:
        """Return which file of which run objects were, as far as the manifests of history tell."""
        wanted = set(md5s)
        told: dict[str, str] = {}
        for folder, manifests in self._manifests.items() if wanted else ():
            run = RunId.from_path(folder)
            for content in manifests.values():
                if run is not None and not wanted.isdisjoint(_names_in(content)):
                    told |= {md5: f"{name} of {run.short}" for name, md5 in _artifacts(content) if md5 in wanted}
        return told


def _damaged(problem: str) -> IntegrityError:
    message = f"the archive's history is damaged, so nobody can say what is needed: {problem}"
    return IntegrityError(message, "run 'runvault verify --repair'; nothing was removed")


def _names_in(content: bytes) -> set[str]:
    return {name.decode("ascii") for name in _MD5.findall(content)}


def _created_at(manifest: bytes) -> str:
    try:
        return str(orjson.loads(manifest)["created_at"])
    except (ValueError, LookupError, TypeError):
        return "~"  # as the newest: what cannot be read is kept


def _artifacts(manifest: bytes) -> Iterator[tuple[str, str]]:
    try:
        yield from ((name, str(entry["md5"])) for name, entry in orjson.loads(manifest)["artifacts"].items())
    except (ValueError, LookupError, TypeError, AttributeError):
        return
