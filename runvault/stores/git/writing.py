"""The write recipe: lock, journal, synced objects, compare-and-swap, read-back; only then is anything acknowledged.

In this order, because each step has a failure behind it:

1. the write lock, so that writers queue instead of racing;
2. the journal of a dead writer, whose ``<branch>.lock`` would block everybody;
3. blobs and the trees on the path, then the commit on the tip that was read under the lock, all synced;
4. the journal, then the compare-and-swap of the branch, which refuses when any program moved it in between;
5. a look through a fresh handle: what a prune beside us removed is written again, and tip and paths are read back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pygit2
from pygit2.enums import ObjectType

from runvault.errors import BranchMovedError, IntegrityError, RunvaultError, VaultNotFoundError
from runvault.stores.git.additions import NewObjects
from runvault.stores.git.branch import Branch, MovedError, busy
from runvault.stores.git.bulk import compare, imported
from runvault.stores.git.checkout import Checkout, bring_along, checkouts_of, refuse_dirty
from runvault.stores.git.edits import Edit, FastForward
from runvault.stores.git.failures import DisturbedError
from runvault.stores.git.journal import LockHeldError
from runvault.stores.git.lock import write_lock
from runvault.stores.git.maintenance import Maintenance
from runvault.stores.git.objects import (
    Built,
    Tip,
    build,
    open_repository,
    translated,
)
from runvault.stores.git.packs import gc_is_running, write_pack
from runvault.stores.git.repository import NO_OBJECT, Repository
from runvault.stores.git.signing import sign_commit, signs_commits

TIMEOUT_S = 60.0

# Git programs lock a branch for milliseconds, and a lock that a dead one left is there for ever.
LOCKED_S = 10.0
_LOCKED_PAUSE_S = 0.25

# Beside programs that move the branch without our lock every attempt can lose; with ours alone none does.
_ATTEMPTS = 200

# Beside git's housekeeping an attempt can miss what was there before; in a damaged repository every one does.
_DISTURBANCES = 40
_REPAIRS = 20

Plan = Callable[[Tip], Edit | FastForward | None]


@dataclass(frozen=True)
class _Made:
    """A commit that is written and not yet on the branch."""

    commit: str
    content: bytes
    built: Built
    packs: int = 0

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return self.content.split(b"\n\n", 1)[1].split(b"\n", 1)[0].decode("utf-8", "replace")


class Writer:
    """Commits edits to the archive branch of a repository.

    Parameters
    ----------
    repository : Repository
        Where, and which branch.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._branch = Branch(repository)

    def update(self, plan: Plan, *, timeout_s: float = TIMEOUT_S) -> str | None:
        """Commit what `plan` wants, and return the commit once it will survive anything but a lying disk.

        Parameters
        ----------
        plan : callable
            Given the tip, returns the edit, a commit to move to, or None for "nothing to write". Called again, with
            another tip, when a program that does not take our lock has moved the branch in between.
        timeout_s : float
            How long to wait for other writers; for a program that has the branch itself locked at most `LOCKED_S`.

        Returns
        -------
        str or None
            The new commit; None when there was nothing to write, or the tree would have stayed the same.

        Raises
        ------
        VaultNotFoundError
            There is no archive branch.
        BusyError
            Others held the archive, or the branch, for that long.
        BranchMovedError
            Others moved the branch in every attempt.
        RunvaultError
            The repository could not be written; nothing was acknowledged, and the next call works unaided.
        """
        return self._locked(plan, create=False, timeout_s=timeout_s)

    def create(self, plan: Plan, *, timeout_s: float = TIMEOUT_S) -> str | None:
        """Commit what `plan` wants, making the branch where there is none: `update` for the first commit."""
        return self._locked(plan, create=True, timeout_s=timeout_s)

    def _locked(self, plan: Plan, *, create: bool, timeout_s: float) -> str | None:
        deadline = time.monotonic() + timeout_s
        maintenance = Maintenance(self._repository)
        with write_lock(self._repository.state_dir, timeout_s):
            patience_s = min(LOCKED_S, deadline - time.monotonic())
            made = self._retry(plan, create=create, patience_s=patience_s)
            due = maintenance.count(made.packs) if made else False
        if due:
            maintenance.start()
        return made.commit if made else None

    def _retry(self, plan: Plan, *, create: bool, patience_s: float) -> _Made | None:
        for attempt in range(_ATTEMPTS):
            try:
                return self._attempt_unlocked(plan, create=create, patience_s=patience_s, again=attempt > 0)
            except MovedError:
                pass
            except DisturbedError:
                if attempt >= _DISTURBANCES:
                    raise
            # Jitter, so that two programs that collide do not collide again; not a secret.
            time.sleep(random.uniform(0.001, 0.002 * min(attempt + 1, 25)))  # noqa: S311
        raise BranchMovedError(
            f"branch {self._repository.branch!r} was moved by another program in each of {_ATTEMPTS} attempts",
            "stop the program that writes to it, then try again",
        )

    def _attempt_unlocked(self, plan: Plan, *, create: bool, patience_s: float, again: bool) -> _Made | None:
        """Attempt it, again and again while another program has the branch locked: that is no moved branch."""
        deadline: float | None = None
        pause_s = 0.001
        while True:
            try:
                return self._attempt(plan, create=create, again=again or deadline is not None)
            except LockHeldError as error:
                # Waiting alone counts: the objects of a sweep may have taken longer to write.
                deadline = deadline or time.monotonic() + patience_s
                if time.monotonic() > deadline:
                    raise busy(error.lock) from error
            time.sleep(random.uniform(0.5, 1) * pause_s)  # noqa: S311 - jitter, not a secret
            pause_s = min(2 * pause_s, _LOCKED_PAUSE_S)

    def _attempt(self, plan: Plan, *, create: bool, again: bool) -> _Made | None:
        self._branch.recover()
        prunes = gc_is_running(self._repository.common_dir)
        handle = open_repository(self._repository.common_dir)
        tip = Tip(handle, self._branch.read(handle))
        if tip.commit is None and not create:
            raise VaultNotFoundError(
                f"there is no archive: no branch {self._repository.branch!r} in {str(self._repository.common_dir)!r}",
                "run 'runvault init' first",
            )
        edit = plan(tip)
        if edit is None:
            return None
        self._branch.refuse_locked()
        with self._written(handle, tip, edit, again=again) as made:
            if made is None:
                return None
            checkouts = self._checkouts(tip.commit, made.commit)
            self._branch.move(handle, edit.author, tip.commit, made.commit, made.subject)
            self._confirm(tip, edit, made, prunes=prunes or gc_is_running(self._repository.common_dir))
            # Not before: until the objects were seen, the next writer has to know what this one was about to do.
            self._branch.settle()
        for checkout in checkouts:
            bring_along(checkout, str(tip.commit), made.commit)
        return made

    @contextmanager
    def _written(
        self, handle: pygit2.Repository, tip: Tip, edit: Edit | FastForward, *, again: bool
    ) -> Iterator[_Made | None]:
        """Write the objects of an edit and hold them; None where the tree would stay the same."""
        if isinstance(edit, FastForward):
            yield _found(handle, edit.commit)
            return
        new = NewObjects.of(handle)
        try:
            if edit.bulk:
                draft = commit_content(handle, tip, edit, str(tip.tree.id if tip.tree is not None else NO_OBJECT))
                with imported(self._repository, tip, edit.files, draft, again=again) as built:
                    yield self._commit(handle, new, tip, edit, built)
            else:
                yield self._commit(handle, new, tip, edit, build(handle, tip.tree, edit.files))
        finally:
            new.release()

    def _commit(self, handle: pygit2.Repository, new: NewObjects, tip: Tip, edit: Edit, built: Built) -> _Made | None:
        if tip.tree is not None and built.tree == tip.tree.id and edit.merged is None:
            return None
        with translated("cannot write the commit"):
            content = commit_content(handle, tip, edit, str(built.tree))
            folder = self._repository.common_dir / "objects"
            needed, signed = built.contents, edit.signed and signs_commits(self._repository)
            if signed:
                new.write(folder, needed)  # git looks for the tree
                needed, content = {}, sign_commit(self._repository, content)
            commit = str(handle.odb.write(ObjectType.COMMIT, content))
            imported_too = edit.bulk and not signed and commit not in new.objects
            new.write(folder, {} if imported_too else {**needed, commit: (ObjectType.COMMIT, content)})
        return _Made(commit, content, built, packs=len(new.held) + edit.bulk)

    def _checkouts(self, old: str | None, new: str) -> list[Checkout]:
        """Return the clean checkouts of the archive branch itself; a dirty one is an error before anything moves."""
        checkouts = checkouts_of(self._repository)
        if old is None and checkouts:
            where = str(checkouts[0].work_tree)
            raise RunvaultError(
                f"the archive branch is checked out in {where!r} before it exists", "switch to another branch there"
            )
        for checkout in checkouts:
            refuse_dirty(checkout)
            if old is not None:
                bring_along(checkout, old, new, dry_run=True)
        return checkouts

    def _confirm(self, tip: Tip, edit: Edit | FastForward, made: _Made, *, prunes: bool) -> None:
        """Read back what was written, by eyes that have not seen it being written."""
        handle = self._complete(tip, edit, made, again=prunes)
        with translated("cannot read back what was saved"):
            now = self._branch.read(handle)
            if now is None or not (now == made.commit or handle.descendant_of(now, made.commit)):
                raise BranchMovedError(
                    f"branch {self._repository.branch!r} was moved to {now} while {made.commit} was saved",
                    "git keeps the commit for a while: see 'git reflog' and 'git fsck --lost-found'",
                )
            if isinstance(edit, Edit) and edit.bulk:
                compare(self._repository, tip, made.commit, made.built)
            else:
                _compare(Tip(handle, made.commit), made.built)

    def _complete(self, tip: Tip, edit: Edit | FastForward, made: _Made, *, again: bool) -> pygit2.Repository:
        """Return a fresh handle in which every new object is there.

        A prune beside us may have taken some before the branch held them, and one that runs now may still take some
        (`again`): they are written again, in a form that none takes, or the branch goes back.
        """
        problem, gone = RunvaultError("they vanished again and again"), False
        for _ in range(_REPAIRS):
            try:
                if again:
                    self._write_again(tip, edit, made)
                handle = open_repository(self._repository.common_dir)
                with translated("cannot read back what was saved"):
                    again = gone = _missing(handle, made)
                if not gone:
                    return handle
            except RunvaultError as error:
                problem = error
        if not gone:
            raise problem
        self._branch.set_back(tip.commit, made.commit)
        raise RunvaultError(f"objects of {made.commit} were pruned while it was saved: {problem}", "try again")

    def _write_again(self, tip: Tip, edit: Edit | FastForward, made: _Made) -> None:
        """Write every object of a commit that the branch holds by now, so that no prune takes it."""
        if isinstance(edit, Edit) and edit.bulk:
            with imported(self._repository, tip, edit.files, made.content, again=True):
                pass
        write_pack(self._repository, [*made.built.contents.values(), (ObjectType.COMMIT, made.content)])


def _found(handle: pygit2.Repository, commit: str) -> _Made:
    """Return a commit that is there already."""
    with translated(f"cannot read {commit}"):
        kind, content = handle.odb.read(commit)
        if kind != ObjectType.COMMIT:
            raise RunvaultError(f"{commit} is no commit")
        return _Made(commit, content, Built(tree=handle[commit].peel(pygit2.Commit).tree_id))


def _missing(handle: pygit2.Repository, made: _Made) -> bool:
    ours: tuple[str | pygit2.Oid, ...] = (made.commit, *made.built.contents, *made.built.blobs.values())
    return any(name not in handle.odb for name in ours)


def _compare(tip: Tip, built: Built) -> None:
    """Raise unless a commit holds exactly what was built."""
    tree = tip.tree
    if tree is None or tree.id != built.tree:
        raise IntegrityError(f"commit {tip.commit} does not hold what was saved")
    for path, blob in built.blobs.items():
        if tree[path].id != blob or (isinstance(tree[path], pygit2.Blob) and tip.read(path) is None):
            raise IntegrityError(f"{path!r} does not hold what was saved at {tip.commit}")
    for path in built.removed:
        if tip.exists(path):
            raise IntegrityError(f"{path!r} is still there at {tip.commit}")


def commit_content(handle: pygit2.Repository, tip: Tip, edit: Edit, tree: str) -> bytes:
    """Return the commit object of an edit, never earlier than its parents."""
    parents: list[str | pygit2.Oid] = [parent for parent in (tip.commit, edit.merged) if parent]
    behind = [handle[parent].peel(pygit2.Commit).commit_time for parent in parents]
    seconds = max(int(edit.time.timestamp()), *behind, 0)
    signature = pygit2.Signature(edit.author.name, edit.author.email, seconds, 0)
    message = edit.message if edit.message.endswith("\n") else edit.message + "\n"
    # Annotated as an Oid, though it is the text.
    content: object = handle.create_commit_string(signature, signature, message, tree, parents)
    # libgit2 writes 32 bits of the time: enough until 2106, and not behind a commit that says it is later.
    return str(content).replace(f"> {seconds & 0xFFFFFFFF} +0000\n", f"> {seconds} +0000\n", 2).encode()
