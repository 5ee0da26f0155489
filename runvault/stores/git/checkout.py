"""Checkouts of the archive branch itself: a clean one is brought along, a dirty one is an error at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runvault.errors import RunvaultError
from runvault.stores.git.programs import run_git
from runvault.stores.git.repository import Repository


@dataclass(frozen=True)
class Checkout:
    """A work tree that has the archive branch checked out.

    Parameters
    ----------
    git_dir : Path
        Its own git directory, with its HEAD and index.
    work_tree : Path
        Its files.
    rebasing : bool
        In the middle of a rebase of the branch, so that HEAD does not name it.
    """

    git_dir: Path
    work_tree: Path
    rebasing: bool = False

    def git(self, *args: str) -> bytes:
        """Run git in this work tree."""
        place = [f"--git-dir={self.git_dir}", f"--work-tree={self.work_tree}"]
        return run_git([*place, *args], cwd=self.work_tree).stdout


def checkouts_of(repository: Repository) -> list[Checkout]:
    """Return every work tree on the archive branch; a few small files are read, no process is started for none."""
    try:
        return list(_checkouts(repository))
    except OSError as error:
        raise RunvaultError(f"cannot tell what is checked out: {error.strerror or error}") from error


def _checkouts(repository: Repository) -> Iterator[Checkout]:
    for git_dir in _git_dirs(repository.common_dir):
        head, rebased = _text(git_dir / "HEAD"), _rebased(git_dir)
        if repository.ref not in (head.removeprefix("ref: "), rebased):
            continue
        work_tree = _work_tree(repository, git_dir)
        if work_tree is not None and work_tree.is_dir():
            yield Checkout(git_dir, work_tree, rebasing=rebased == repository.ref)


def refuse_dirty(checkout: Checkout) -> None:
    """Raise when moving the branch would leave the checkout in a state that its owner did not make."""
    where = str(checkout.work_tree)
    if checkout.rebasing:
        raise RunvaultError(f"the archive branch is being rebased in {where!r}", "finish or abort the rebase there")
    if checkout.git("status", "--porcelain", "-z", "--untracked-files=no"):
        hint = f"commit the changes, or drop them with 'git -C {where} reset --hard'"
        raise RunvaultError(f"the archive branch is checked out with changes in {where!r}", hint)


def bring_along(checkout: Checkout, old: str, new: str, *, dry_run: bool = False) -> None:
    """Take a clean checkout from `old` to `new`, files and index, as ``receive.denyCurrentBranch=updateInstead``."""
    where = str(checkout.work_tree)
    try:
        if not dry_run:
            checkout.git("update-index", "-q", "--ignore-submodules", "--refresh")
        checkout.git("read-tree", *(["-n"] if dry_run else []), "-m", "-u", old, new)
    except RunvaultError as error:
        state = "cannot be brought along" if dry_run else "could not be brought along, though the archive is saved"
        hint = f"see 'git -C {where} status'; 'git -C {where} reset --hard' takes the archive's state"
        raise RunvaultError(f"the checkout of the archive branch in {where!r} {state}: {error}", hint) from error


def _git_dirs(common_dir: Path) -> Iterator[Path]:
    yield common_dir
    try:
        yield from sorted((common_dir / "worktrees").iterdir())
    except FileNotFoundError:
        return


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _rebased(git_dir: Path) -> str:
    return _text(git_dir / "rebase-merge" / "head-name") or _text(git_dir / "rebase-apply" / "head-name")


def _work_tree(repository: Repository, git_dir: Path) -> Path | None:
    if git_dir == repository.git_dir and repository.work_tree is not None:
        return repository.work_tree
    if git_dir != repository.common_dir:
        # A linked work tree: the file names its .git, and a name that leads nowhere is one that was deleted.
        return Path(_text(git_dir / "gitdir")).parent
    if repository.flag("core.bare"):
        return None
    asked = run_git([f"--git-dir={git_dir}", "rev-parse", "--show-toplevel"], cwd=git_dir.parent)
    return Path(asked.stdout.decode("utf-8", "surrogateescape").removesuffix("\n"))
