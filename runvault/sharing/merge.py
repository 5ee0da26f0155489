"""Two archives become one, run by run, by rules that do not depend on who merges first.

Which runs there are
    A run is there if something was said of it, a save or an annotation, that no removal had seen. So the commits decide
    that stand behind the two tips, and not the way in which they were joined.
What a run holds
    The side that changed the manifest since the common base gives it; where both did, the later one (`created_at`, then
    the digest). Annotations are the union of both sides', and of what a side held when it removed the run.
What is refused
    A run that an archive may not hold stays as it is here, or out; it hides no other.
What is merely too new
    A run whose manifest a newer runvault wrote is passed on unread. Where one side has the run so that it can be read,
    that one stands: nobody can hide a run by a greater number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.archive.gate import SWITCH, check_switch
from runvault.archive.request import Provenance
from runvault.archive.stores import DVC_CONFIG, Stores
from runvault.errors import ConfigError, FormatError, RunvaultError, one_line_of
from runvault.model.annotations import Annotations, merge
from runvault.model.ids import RunId
from runvault.model.records import ANNOTATIONS, MANIFEST, MAX_RECORD_BYTES
from runvault.sharing.incoming import Refusal, Version, problem_of_input, read_version
from runvault.stores.dvc.remotes import SharedRemotes, configured_remotes, shared_remotes
from runvault.stores.git.edits import Content, Edit, FastForward, Known, Signature
from runvault.stores.git.layout import STATIC_FILES
from runvault.stores.git.merging import Change, Difference, Entry, Sides
from runvault.stores.git.secrets import secret_in_address

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip

Json: TypeAlias = Any


@dataclass
class Joined:
    """What a merge did.

    Attributes
    ----------
    commit : str or None
        Where the archive is now; None where it stayed.
    runs_added, revisions_added : int
        Runs that were not here, and revisions of runs that were.
    drift : list of str
        Runs known here for which the other side has other results.
    refused : list of Refusal
        What was not let in.
    unread : list of Refusal
        What was let in without being read: a newer runvault wrote it.
    removed_runs : list of str
        The runs that are not here any more.
    between : dict of str to tuple of str
        Of each run in `drift` the commits with either results: ours alone where the other side has removed the run, and
        the tip the results that it had there.
    """

    commit: str | None = None
    runs_added: int = 0
    revisions_added: int = 0
    drift: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    unread: list[Refusal] = field(default_factory=list)
    removed_runs: list[str] = field(default_factory=list)
    between: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def removed(self) -> int:
        """How many runs are not here any more."""
        return len(self.removed_runs)

    def to_dict(self) -> dict[str, Json]:
        """Return the members that ``push``, ``pull`` and ``merge`` print."""
        refused = [{"run": each.run, "problem": each.problem} for each in self.refused]
        return {
            "runs_added": self.runs_added,
            "revisions_added": self.revisions_added,
            "removed": self.removed,
            "drift": self.drift,
            "refused": refused,
        }


def join(stores: Stores, theirs: str, name: str, provenance: Provenance) -> Joined:
    """Bring what a commit of another archive has into this one, in one commit.

    Parameters
    ----------
    theirs : str
        The commit; its objects are here.
    name : str
        What it is called in the message.

    Raises
    ------
    RunvaultError
        The two have no commit in common: the other one is no archive, or its history was made anew.
    SchemaTooNewError
        A newer runvault wrote the other archive.
    """
    done = Joined()

    def plan(tip: Tip) -> Edit | FastForward | None:
        nonlocal done
        joining = _Joining(Sides(stores.repository, tip.commit or "", theirs), name, provenance)
        edit, done = joining.edit(), joining.done
        return edit

    before = stores.repository.tip()
    done.commit = stores.update(plan)
    if before is not None and done.commit is not None:
        with suppress(ConfigError):  # of the user's own configuration: whoever moves objects is told
            _tell_of_remote(stores, before, done.commit)
    return done


def _tell_of_remote(stores: Stores, before: str, after: str) -> None:
    """Say where objects go from now on, where what came names another place: bought prices go there, too."""
    if stores.reader.is_same(before, after, DVC_CONFIG):
        return
    places = []
    for commit in (before, after):
        found = configured_remotes(stores.objects.dvc_folder, stores.reader.read_file(commit, DVC_CONFIG) or b"")
        places.append(found.default and (found.default, secret_in_address(found.urls[found.default])[1]))
    old, new = places
    if old and new and old != new:
        stores.say(f"warning: objects go to the DVC remote {new[0]!a}, {new[1]!a}, from now on, not to {old[1]!a}")


class _Joining:
    def __init__(self, sides: Sides, name: str, provenance: Provenance) -> None:
        self.sides = sides
        self.name = name
        self.provenance = provenance
        self.done = Joined()
        self.files: list[tuple[str, Content]] = []
        self.forward = sides.is_behind(sides.ours, sides.theirs)

    def edit(self) -> Edit | FastForward | None:
        sides = self.sides
        if sides.is_behind(sides.theirs, sides.ours):
            return None
        if not sides.bases:
            hint = "it is no archive of runvault, or its history was made anew; nothing was changed here"
            if sides.is_shallow:
                hint = "this clone is shallow and lacks history: run 'git fetch --unshallow', then try again"
            raise RunvaultError(
                f"{self.name} is at {sides.theirs}, which has no commit in common with this archive at {sides.ours}",
                hint,
            )
        switch = sides.entry_at(sides.theirs, SWITCH)
        check_switch(sides.read(switch) if switch is not None and switch.plain_file else None)
        self._decide_all()
        author = Signature(self.provenance.author_name, self.provenance.author_email)
        if self.forward and not self.done.refused:
            return FastForward(sides.theirs, author)
        message = f"Merge {' '.join(self.name.split())}\n\nKind: merge\n"
        return Edit(tuple(self.files), message, author, self.provenance.now, merged=sides.theirs)

    def _decide_all(self) -> None:
        one_sided: list[_Pair] = []
        for difference in self.sides.differences():
            part = difference.path.split("/", 1)[0]
            if part == "data":
                self._decide_input(difference)
            elif part != "runs":
                self._decide_file(difference)
            else:
                pair = self._read(difference)
                if pair is not None and (pair.both or self.forward):
                    self._decide(pair)
                elif pair is not None:
                    one_sided.append(pair)
        self._decide_one_sided(one_sided)

    def _decide(self, pair: _Pair) -> None:
        """Decide over a run that both sides have, or that only changed on one side since they were one."""
        versions = [each for each in (pair.ours, pair.theirs) if each is not None]
        if versions:
            self._place(pair, versions)
        else:
            self._remove(pair)

    # Runs

    def _read(self, difference: Difference) -> _Pair | None:
        """Return the two versions of a run; None where theirs is refused, or there is nothing to decide."""
        run = RunId.from_path(difference.path)
        if run is None or run.path != difference.path:
            if difference.theirs is not None:
                self._refuse(difference.path, "does not belong to a run")
            return None
        ours = theirs = None
        if difference.theirs is not None:
            try:
                theirs = read_version(self.sides, run, difference.theirs)
            except RunvaultError as error:
                self._refuse(str(run), one_line_of(error))
                return None
        if difference.ours is not None and (theirs is not None or not self.forward):
            try:
                ours = read_version(self.sides, run, difference.ours)
            except RunvaultError:
                if theirs is None:
                    return None  # damaged here, and the other side knows nothing of it: it stays
        if ours is not None and theirs is not None and ours.newer != theirs.newer:
            if theirs.newer:
                self._refuse(str(run), theirs.unread or "")
                return None
            ours = None  # theirs can be read
        return _Pair(run, difference, ours, theirs)

    def _decide_one_sided(self, pairs: list[_Pair]) -> None:
        """Decide over runs that one side has and the other has not: never had, or removed."""
        for present, absent in ((self.sides.ours, self.sides.theirs), (self.sides.theirs, self.sides.ours)):
            here = [pair for pair in pairs if (pair.theirs is None) == (present == self.sides.ours)]
            removals = _by_run(self.sides.removals(absent, unlike=present)) if here else {}
            doubtful = {p.run.path for p in here if p.run.path in removals or any(p.difference.bases)}
            said = _by_run(self.sides.changes(present, absent, sorted(doubtful)))
            for pair in here:
                if pair.run.path in doubtful and not self._outlives(said.get(pair.run.path, [])):
                    self._remove(pair)
                else:
                    version = pair.ours or pair.theirs
                    gone = self._last_versions(pair.run, removals.get(pair.run.path, []))
                    self._place(pair, [version, *gone] if version else [])

    def _outlives(self, said: list[Change]) -> bool:
        """Return whether something was said of a run that no removal on the same side had seen."""
        removals = [change.commit for change in said if change.removed]
        return any(
            not any(self.sides.is_behind(change.commit, removal) for removal in removals)
            for change in said
            if not change.removed
        )

    def _last_versions(self, run: RunId, removals: Iterable[Change]) -> Iterator[Version]:
        """Yield what a run was when it was removed."""
        for removal in removals:
            for parent in self.sides.parents(removal.commit):
                entry = self.sides.entry_at(parent, run.path)
                if entry is not None:
                    try:
                        yield read_version(self.sides, run, entry)
                    except RunvaultError:
                        continue

    def _place(self, pair: _Pair, versions: list[Version]) -> None:
        """Put what several versions of a run come to in its place."""
        path, ours, theirs = pair.run.path, pair.ours, pair.theirs
        chosen = self._manifest_of(pair, versions)
        annotations = _union(versions)
        if chosen is theirs and theirs is not None and annotations in (theirs.annotations, None):
            self._put(path, Known(theirs.entry.object_id, folder=True))
        elif chosen is not ours or ours is None or annotations != ours.annotations:
            before = ours.files if ours is not None else {}
            if pair.difference.ours is not None and ours is None:
                self._put(path, None)  # not readable here
            for name in before.keys() - chosen.files.keys() - {ANNOTATIONS}:
                self._put(f"{path}/{name}", None)
            for name, entry in chosen.files.items():
                if name != ANNOTATIONS and before.get(name) != entry:
                    self._put(f"{path}/{name}", Known(entry.object_id))
            if annotations is not None and (ours is None or annotations != ours.annotations):
                self._put(f"{path}/{ANNOTATIONS}", annotations)
        if chosen is theirs and chosen.newer:
            self.done.unread.append(Refusal(str(pair.run), chosen.unread or ""))
        self._count(pair, chosen)

    def _manifest_of(self, pair: _Pair, versions: list[Version]) -> Version:
        """Return the version whose manifest stands: of those that changed it since the bases, the latest."""
        known = self._known(pair)
        changed = [version for version in versions if _manifest_id(version.files) not in known]
        return max(changed or versions, key=_rank)

    def _known(self, pair: _Pair) -> set[str | None]:
        """Return the manifests of a run at the bases. One that is refused counts for none: both sides passed it by."""
        known = set()
        for base in pair.difference.bases:
            if base is None or base in (pair.difference.ours, pair.difference.theirs):
                known.add(_manifest_id(self.sides.folder(base)))  # nothing, or read already
            else:
                with suppress(RunvaultError):
                    known.add(_manifest_id(read_version(self.sides, pair.run, base).files))
        return known

    def _count(self, pair: _Pair, chosen: Version) -> None:
        ours, theirs = pair.ours, pair.theirs or chosen  # what a side held when it removed the run counts as its
        if pair.difference.ours is None:
            self.done.runs_added += 1
        elif ours is None or (
            _manifest_id(ours.files) != _manifest_id(theirs.files)
            and (chosen is theirs or _manifest_id(theirs.files) not in self._known(pair))
        ):
            self.done.revisions_added += 1
            if ours is None or _digest(ours) != _digest(theirs):
                self.done.drift.append(str(pair.run))
                sides = (self.sides.ours, self.sides.theirs)
                self.done.between[str(pair.run)] = sides if pair.theirs else sides[:1]

    def _remove(self, pair: _Pair) -> None:
        if pair.difference.ours is not None:
            self._put(pair.run.path, None)
            self.done.removed_runs.append(str(pair.run))

    # Everything else

    def _decide_input(self, difference: Difference) -> None:
        """Pointers to data are never removed by a merge: a run of the other side may need them."""
        ours, theirs = difference.ours, difference.theirs
        if theirs is None:
            return
        problem = problem_of_input(self.sides, difference.path, theirs)
        if problem is not None:
            self._refuse(difference.path, problem)
        elif ours is None or theirs.object_id < ours.object_id:
            self._put(difference.path, Known(theirs.object_id))

    def _decide_file(self, difference: Difference) -> None:
        """Files at the root are fixed by the format; what else lies there is nothing of an archive's."""
        path, ours, theirs = difference.path, difference.ours, difference.theirs
        if theirs is None:
            return
        if path not in STATIC_FILES or not theirs.plain_file:
            self._refuse(path, "does not belong to an archive")
        elif path == DVC_CONFIG:
            self._decide_config(ours, theirs, difference.bases)
        elif ours in difference.bases or (theirs not in difference.bases and _is_greater(theirs, ours)):
            self._put(path, Known(theirs.object_id))

    def _decide_config(self, ours: Entry | None, theirs: Entry, bases: Sequence[Entry | None]) -> None:
        """Join the remotes that both sides name; a file of theirs that cannot be read would stop every command here."""
        if theirs in bases:
            return
        try:
            their_remotes = self._remotes_of(theirs)
        except RunvaultError as error:
            self._refuse(DVC_CONFIG, one_line_of(error))
            return
        content: Content = Known(theirs.object_id)
        with suppress(RunvaultError):  # damaged here, or where both come from: theirs is whole
            if ours not in bases:
                before = [self._remotes_of(base) for base in bases]
                content = _joined_remotes(self._remotes_of(ours), their_remotes, before).to_bytes()
        self._put(DVC_CONFIG, content)

    def _remotes_of(self, entry: Entry | None) -> SharedRemotes:
        if entry is None:
            return SharedRemotes({}, None)
        if self.sides.size(entry) > MAX_RECORD_BYTES:
            raise FormatError(f"{self.sides.size(entry):,} bytes are too many")
        return shared_remotes(self.sides.read(entry))

    def _put(self, path: str, content: Content) -> None:
        self.files.append((path, content))

    def _refuse(self, run: str, problem: str) -> None:
        self.done.refused.append(Refusal(run, problem))


@dataclass(frozen=True)
class _Pair:
    """A run as both sides have it; None where a side has not, or holds what does not count beside the other's."""

    run: RunId
    difference: Difference
    ours: Version | None
    theirs: Version | None

    @property
    def both(self) -> bool:
        return self.difference.ours is not None and self.difference.theirs is not None


def _by_run(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.run].append(change)
    return found


def _union(versions: Iterable[Version]) -> bytes | None:
    """Return the annotations of all versions together; None where none has any."""
    contents = [version.annotations for version in versions if version.annotations is not None]
    if len(set(contents)) < 2:
        return contents[0] if contents else None
    union = Annotations()
    for content in contents:
        union = merge(union, Annotations.from_bytes(content))
    return union.to_bytes()


def _joined_remotes(ours: SharedRemotes, theirs: SharedRemotes, bases: Sequence[SharedRemotes]) -> SharedRemotes:
    """Return the remotes of both: each as the side has it that changed it, the greater address where both did."""
    names = sorted({*ours.urls, *theirs.urls})
    said = {name: _settled(*(each.urls.get(name) for each in (ours, theirs, *bases))) for name in names}
    urls = {name: url for name, url in said.items() if url is not None}
    default = _settled(*(each.default for each in (ours, theirs, *bases)))
    return SharedRemotes(urls, default if default in urls else next(iter(urls), None))


def _settled(ours: str | None, theirs: str | None, *bases: str | None) -> str | None:
    """Return what two texts come to, None standing for one that is not there."""
    changed = [text for text in (ours, theirs) if text not in bases]
    return max(changed or [ours, theirs], key=lambda text: (text is not None, text or ""))


def _manifest_id(files: dict[str, Entry]) -> str | None:
    return files[MANIFEST].object_id if MANIFEST in files else None


def _digest(version: Version) -> str | None:
    return version.digest or _manifest_id(version.files)


def _rank(version: Version) -> tuple[bool, str, str, str]:
    return not version.newer, version.created_at or "", version.digest or "", version.files[MANIFEST].object_id


def _is_greater(theirs: Entry, ours: Entry | None) -> bool:
    return ours is None or theirs.object_id > ours.object_id
