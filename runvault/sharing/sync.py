"""Push and pull: objects to and from the DVC remote, the branch and the code to and from the Git remote.

In this order, so that an interruption leaves both ends whole: objects first, then what points to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import BranchMovedError, RunvaultError
from runvault.model.ids import RunId
from runvault.model.records import MANIFEST
from runvault.sharing.incoming import Refusal, read_version
from runvault.sharing.merge import Joined, join
from runvault.sharing.pointers import pointers_brought
from runvault.stores.dvc.remotes import ObjectRemote
from runvault.stores.dvc.transfer import Moved, Tell, Wanted, fetch, send
from runvault.stores.git.merging import Entry, Sides
from runvault.stores.git.programs import DURABLE
from runvault.stores.git.remotes import GitRemote, resolve
from runvault.stores.git.secrets import secret_in_address

Json: TypeAlias = Any

ATTEMPTS = 10  # of a push that others overtake


@dataclass
class Synced:
    """What a push or a pull did.

    Attributes
    ----------
    joined : Joined
        Of a pull what came here, of a push what the remote got.
    moved : Moved
        The objects.
    withheld : dict of str to int
        Objects that were not moved because somebody said so, or because there is no DVC remote, with their sizes.
    inputs : dict of str to int
        New input data that was sent: where its pointer lies, and its size in bytes.
    """

    joined: Joined = field(default_factory=Joined)
    moved: Moved = field(default_factory=Moved)
    withheld: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``push`` and ``pull`` print."""
        return {**self.joined.to_dict(), "artifacts": self.moved.objects, "bytes": self.moved.bytes}


@dataclass(frozen=True)
class Choice:
    """Which objects go along: the artifacts of runs, and the input data.

    `again` asks for those, too, that were sent or fetched before, or that the remote did not have.
    """

    artifacts: bool = True
    data: bool = True
    again: bool = False

    def takes(self, path: str) -> bool:
        """Return whether the object of a pointer goes along."""
        return self.data if path.startswith("data/") else self.artifacts


NOTHING = Choice(artifacts=False, data=False)
Pointed: TypeAlias = tuple[str, Wanted]


def pull(
    stores: Stores,
    remote_name: str,
    provenance: Provenance,
    choice: Choice | None = None,
    *,
    tell: Tell | None = None,
) -> Synced:
    """Bring what the remote has into this archive; make the archive where there is none.

    Raises
    ------
    RunvaultError
        The remote has no archive, or what it has now does not follow from what it had: it was rewritten.
    """
    remote = GitRemote(stores.repository, remote_name)
    synced = Synced()
    theirs = remote.fetch()
    if theirs is None:
        hint = f"run 'runvault push {remote_name}' to put one there"
        raise RunvaultError(f"{remote_name!a} has no archive branch {stores.repository.branch!r}", hint)
    before = stores.repository.tip()
    synced.joined = _take(stores, remote, theirs, provenance)
    remote.note_seen(theirs)
    _fetch_objects(stores, before, theirs, synced, choice or Choice(), tell)
    return synced


def _take(stores: Stores, remote: GitRemote, theirs: str, provenance: Provenance) -> Joined:
    """Merge what was fetched, unless the remote was rewritten since it was last looked at."""
    from runvault.stores.git.init import archive_to_fill

    seen = remote.seen()
    _refuse_rewritten(stores, remote, seen, theirs)
    with archive_to_fill(stores.repository):
        return join(stores, theirs, f"{stores.repository.branch} of {remote.name}", provenance)


def _refuse_rewritten(stores: Stores, remote: GitRemote, seen: str | None, theirs: str) -> None:
    if seen is None or stores.reader.is_ancestor(seen, theirs):
        return
    back = stores.reader.is_ancestor(theirs, seen)
    what = "went back" if back else "was rewritten"
    raise RunvaultError(
        f"the archive of {remote.name!a} {what}: it was at {seen} and is at {theirs}, which does not follow from it",
        "nothing was changed here; ask who did it. 'runvault merge " + theirs + "' takes what it has now, and "
        "'git update-ref -d refs/runvault/remotes/" + f"{remote.name}/{stores.repository.branch}' forgets what it had",
    )


def push(
    stores: Stores,
    remote_name: str,
    provenance: Provenance,
    choice: Choice | None = None,
    *,
    tell: Tell | None = None,
    announce: Callable[[Mapping[str, int], str], None] | None = None,
) -> Synced:
    """Send what this archive has; what the remote has and is not here is merged first.

    Parameters
    ----------
    announce : callable, optional
        Told of new input data and where it goes, before it is sent: prices that were bought leave with it.

    Raises
    ------
    BranchMovedError
        Others pushed in between each time.
    """
    remote, choice = GitRemote(stores.repository, remote_name), choice or Choice()
    synced = Synced()
    refused: list[Refusal] = []
    unread: list[Refusal] = []
    for _ in range(ATTEMPTS):
        tip = stores.require_tip()
        _send_objects(stores, tip, synced, choice, tell, announce)
        sent = remote.push(tip)
        if not sent.behind:
            before = resolve(stores.repository, sent.before) if sent.before else None  # a shallow clone may lack it
            synced.joined = _gained(stores, before, tip)
            synced.joined.refused, synced.joined.unread = refused, unread
            remote.note_seen(tip)
            return synced
        theirs = remote.fetch()
        if theirs is not None:
            taken = _take(stores, remote, theirs, provenance)
            refused += taken.refused
            unread += taken.unread
            remote.note_seen(theirs)
    raise BranchMovedError(f"others pushed to {remote_name!a} in each of {ATTEMPTS} attempts", "try again")


def _gained(stores: Stores, before: str | None, tip: str) -> Joined:
    """Return what a remote that had `before` got with `tip`."""
    gained = Joined()
    if before is None:
        changed = (path for path, _ in stores.reader.changed_files(None, tip))
        gained.runs_added = sum(path.startswith("runs/") and path.endswith("/manifest.json") for path in changed)
        return gained
    sides = Sides(stores.repository, before, tip)
    for each in sides.differences():
        run = RunId.from_path(each.path)
        if run is None:
            continue
        ours, theirs = sides.folder(each.ours), sides.folder(each.theirs)
        if not ours:
            gained.runs_added += 1
        elif not theirs:
            gained.removed_runs.append(str(run))
        elif ours.get(MANIFEST) != theirs.get(MANIFEST):
            gained.revisions_added += 1
            if _digest(sides, run, each.ours) != _digest(sides, run, each.theirs):
                gained.drift.append(str(run))
                gained.between[str(run)] = (before, tip)
    return gained


def _digest(sides: Sides, run: RunId, entry: Entry | None) -> str | None:
    """Return the digest of a run's results; of one that cannot be read, what stands in its place."""
    if entry is None:
        return None
    try:
        return read_version(sides, run, entry).digest or entry.object_id
    except RunvaultError:
        return entry.object_id


def _send_objects(
    stores: Stores,
    tip: str,
    synced: Synced,
    choice: Choice,
    tell: Tell | None,
    announce: Callable[[Mapping[str, int], str], None] | None,
) -> None:
    remote = stores.object_remote()
    memory = _Memory(stores, remote, "sent")
    since = None if choice.again else memory.commit
    going, synced.withheld = _chosen(pointers_brought(stores, since, tip), choice if remote else NOTHING)
    if remote is None or not going:
        return
    memory.refuse_gone()
    there = remote.present(wanted.md5 for _, wanted in going)
    lacking = [(path, wanted) for path, wanted in going if wanted.md5 not in there]
    inputs = {
        path: wanted.size or 0
        for path, wanted in lacking
        if path.startswith("data/") and stores.objects.has(wanted.md5)
    }
    if inputs and announce is not None:
        announce(inputs, secret_in_address(remote.url)[1])
    synced.inputs.update(inputs)
    moved = send(remote, stores.objects, {wanted.md5 for _, wanted in lacking}, tell)
    # What is not here came from others, and is theirs to send.
    moved.failed = {name: why for name, why in moved.failed.items() if stores.objects.has(name)}
    synced.moved.add(moved)
    if moved.failed:
        name, why = next(iter(moved.failed.items()))
        raise RunvaultError(
            f"{len(moved.failed)} objects could not be sent to {remote.name!a}, {name} for one: {why}",
            "nothing that points to them was pushed; see 'runvault verify', then push again",
        )
    if not synced.withheld:
        memory.note(tip)


def _fetch_objects(
    stores: Stores, before: str | None, theirs: str, synced: Synced, choice: Choice, tell: Tell | None
) -> None:
    """Fetch what came, and where everything is asked for what earlier pulls left behind as well.

    That is found by the commit up to which all was fetched once, so that a pull with nothing new looks at nothing. What
    the tip does not have, a run that was removed or refused, points to nothing that is wanted.
    """
    refused = {each.run for each in synced.joined.refused}
    remote = stores.object_remote()
    whole = remote is not None and choice.artifacts and choice.data
    memory = _Memory(stores, remote, "fetched")
    old, new = (memory.commit, stores.require_tip()) if whole or choice.again else (before, theirs)
    old = None if choice.again else old
    is_here = cache(stores.objects.has)  # runs share objects
    pointers = (
        (path, wanted)
        for path, wanted in _still_there(stores, old, new)
        if path not in refused and path.split("/")[2] not in refused and not is_here(wanted.md5)
    )
    going, synced.withheld = _chosen(pointers, choice if remote else NOTHING)
    if remote is not None and going:
        synced.moved.add(fetch(remote, stores.objects, [wanted for _, wanted in going], tell))
    if whole and not synced.moved.passing:
        memory.note(new)


def _still_there(stores: Stores, old: str | None, new: str) -> Iterator[Pointed]:
    """Yield the pointers that the commits in ``old..new`` brought to what our tip has."""
    if old == new:
        return
    from runvault.stores.git.objects import Tip, open_repository

    exists = cache(Tip(open_repository(stores.repository.common_dir), stores.require_tip()).exists)
    yield from (each for each in pointers_brought(stores, old, new) if exists(_owner_of(each[0])))


def _owner_of(path: str) -> str:
    """Return what has a pointer: the folder of a run, or the pointer to data itself."""
    return path if path.startswith("data/") else path.rpartition("/")[0]


def _chosen(pointers: Iterable[Pointed], choice: Choice) -> tuple[list[Pointed], dict[str, int]]:
    """Return the pointers whose objects go along, and the sizes of the other objects.

    By object, not by path: revisions of a run point from one path to several.
    """
    every = list(pointers)
    going = [(path, wanted) for path, wanted in every if choice.takes(path)]
    moved = {wanted.md5 for _, wanted in going}
    return going, {wanted.md5: wanted.size or 0 for _, wanted in every if wanted.md5 not in moved}


class _Memory:
    """Up to which commit every object was `sent` to a DVC remote, or `fetched`: only what is new is looked at."""

    def __init__(self, stores: Stores, remote: ObjectRemote | None, what: str) -> None:
        self._repository = stores.repository
        self._remote = remote
        place = hashlib.sha256((remote.url if remote else "").encode()).hexdigest()[:16]
        self._ref = f"refs/runvault/{what}/{place}/{stores.repository.branch}"
        commit = resolve(stores.repository, self._ref)
        known = commit is not None and stores.reader.is_ancestor(commit, stores.require_tip())
        self.commit = commit if known else None

    def refuse_gone(self) -> None:
        """Raise RunvaultError where objects were sent to a folder that is not there any more.

        A new one in its place would get what is new alone, and where a share is not mounted nobody else would see it.
        """
        if self.commit is not None and self._remote is not None and self._remote.is_gone:
            raise RunvaultError(
                f"the DVC remote {self._remote.name!a} is gone: objects were sent to it, and there is no folder "
                f"{str(self._remote.folder)!r}",
                "nothing was pushed; is it mounted? If it begins anew, "
                f"'git update-ref -d {self._ref}' forgets what was sent, and the next push sends all of it",
            )

    def note(self, commit: str) -> None:
        """Remember that everything up to `commit` was moved."""
        if commit != self.commit and not (self._remote is not None and self._remote.is_gone):
            self._repository.git(*DURABLE, "update-ref", self._ref, commit)
