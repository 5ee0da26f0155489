"""Where the archive lives: finding the repository, its configuration, its identity and the tip of the branch."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runvault.errors import ConfigError, RunvaultError, VaultNotFoundError
from runvault.stores.git.edits import Signature
from runvault.stores.git.programs import git_failure, run_git

FALLBACK_IDENTITY = Signature("runvault", "runvault@localhost", fallback=True)
NO_OBJECT = "0" * 40
PACKED_REFS = b"packed-refs"  # in what git says where it cannot read that file

_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# `git check-ref-format --branch`, and no leading dash in any part: it would read as an option elsewhere.
_NO_BRANCH = re.compile(r"(^|/)([-./]|$)|\.\.|[\x00-\x20\x7f~^:?*\[\\]|@\{|^(@|HEAD)$|\.$|\.lock(/|$)|[\ud800-\udfff]")


@dataclass(frozen=True)
class Repository:
    """A Git repository and the name of the archive branch in it.

    Parameters
    ----------
    start : Path
        The folder it was found from.
    common_dir, git_dir : Path
        What all worktrees share, and what belongs to the one found.
    work_tree : Path or None
        The root of the checkout; None in a bare repository and inside ``.git``.
    ref : str
        ``refs/heads/<branch>``.
    object_format : str
        ``sha1`` or ``sha256``.
    found_tip : str or None
        The tip of the branch when the repository was found, at no cost; `tip` asks again.
    """

    start: Path
    common_dir: Path
    git_dir: Path
    work_tree: Path | None
    ref: str
    object_format: str
    found_tip: str | None

    @classmethod
    def find(cls, start: Path, branch: str = "runvault") -> Repository:
        """Find the repository that `start` belongs to, as git does, with one git process.

        Raises
        ------
        VaultNotFoundError
            No repository at `start` or above it.
        ConfigError
            `branch` cannot be the name of a branch.
        """
        if _NO_BRANCH.search(branch):
            raise ConfigError(f"{branch!r} cannot be the name of a branch")
        ref = f"refs/heads/{branch}"
        # The object format stands between the paths: a path may hold a newline, and no other line is needed as a fence.
        # A glob prints nothing where the branch is missing; the class [s] makes it one without matching anything else.
        done = _ask(start, f"--glob=refs/head[s]/{branch}")
        if done.returncode and PACKED_REFS in done.stderr:  # what needs no ref goes on, a verification first of all
            done = _ask(start)
        if done.returncode:
            raise _not_found(start, done)
        return cls._from_answer(start, ref, done.stdout)

    @classmethod
    def _from_answer(cls, start: Path, ref: str, answer: bytes) -> Repository:
        text = answer.decode("utf-8", "surrogateescape")
        object_format, rest = text.split("\n", 1)
        parts = ("\n" + rest).split(f"\n{object_format}\n")
        if len(parts) != 4:
            raise RunvaultError(f"cannot make out the paths of the repository at {str(start)!r}")
        tip, common_dir, git_dir, up = parts
        # Nothing is printed for "no work tree", an empty line for "you are at its root".
        work_tree = (start / up.removesuffix("\n")).resolve() if up else None
        return cls(start, Path(common_dir), Path(git_dir), work_tree, ref, object_format, tip.strip() or None)

    @property
    def branch(self) -> str:
        """The name of the archive branch."""
        return self.ref.removeprefix("refs/heads/")

    @property
    def state_dir(self) -> Path:
        """The folder of what is true of this clone alone: lock, journal, catalog, kept objects. May not exist yet."""
        return self.common_dir / "runvault"

    def git(
        self,
        *args: str,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        extra: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git on this repository, whatever the current directory; no work tree and no index are meant by it.

        Where an argument, or the configuration, may hold a relative path, `cwd` says what it begins at.
        """
        own = [f"--git-dir={self.common_dir}", "--no-replace-objects"]
        return run_git([*own, *args], cwd=cwd or self.common_dir, stdin=stdin, ok=ok, extra=extra)

    def git_here(self, *args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run git on the checkout that was found, from its root; wherever that is, its index and files are meant."""
        root = self.work_tree or self.common_dir
        place = [f"--git-dir={self.git_dir}", f"--work-tree={root}"]
        return run_git([*place, *args], cwd=root, stdin=stdin, keep_place=True)

    def tip(self) -> str | None:
        """Return the commit that the archive branch is at now, None where there is no such branch, or none is read."""
        try:
            text = (self.common_dir / self.ref).read_text("ascii").strip()
        except (OSError, ValueError):
            text = ""  # packed, a reftable, or missing: git knows
        if _OBJECT_ID.fullmatch(text):
            return text
        args = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{self.ref}^{{commit}}"]
        asked = self.git(*args, ok=(0, 1, 128))
        if asked.returncode == 128 and PACKED_REFS not in asked.stderr:
            raise git_failure(args, asked.returncode, asked.stderr)
        return asked.stdout.decode("ascii").strip() or None

    def is_shallow(self) -> bool:
        """Return whether history ends here before it does elsewhere."""
        return self.git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"

    def head(self) -> str | None:
        """Return the commit that HEAD of this work tree is at, None before the first one."""
        try:
            text = (self.git_dir / "HEAD").read_text("utf-8").strip()
            if text.startswith("ref: "):
                text = (self.common_dir / text.removeprefix("ref: ")).read_text("ascii").strip()
        except (OSError, ValueError):
            text = ""
        if _OBJECT_ID.fullmatch(text):
            return text
        args = [f"--git-dir={self.git_dir}", "rev-parse", "--verify", "--quiet", "HEAD^{commit}"]
        return run_git(args, cwd=self.git_dir, ok=(0, 1)).stdout.decode("ascii").strip() or None

    @cached_property
    def config(self) -> dict[str, str]:
        """All of git's configuration, the last value of each key; keys as ``git config --list`` prints them."""
        done = run_git(["config", "--list", "-z"], cwd=self.start, keep_place=True)
        entries = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
        return {key: value if sep else "true" for key, sep, value in (entry.partition("\n") for entry in entries)}

    def setting(self, name: str) -> str | None:
        """Return the value of ``runvault.<name>`` in git's configuration."""
        return self.config.get(f"runvault.{name.lower()}")

    def flag(self, key: str) -> bool:
        """Return a boolean of git's configuration, False where it is not set."""
        return self.config.get(key, "false").lower() in ("true", "yes", "on", "1")

    @cached_property
    def _identity(self) -> Signature:
        done = run_git(["var", "GIT_AUTHOR_IDENT"], cwd=self.start, ok=(0, 128), keep_place=True)
        match = re.fullmatch(r"(.*) <(.*)> \d+ [-+]\d+", done.stdout.decode("utf-8", "replace").strip())
        return Signature(match[1], match[2]) if match and match[1] else FALLBACK_IDENTITY

    def identity(self) -> Signature:
        """Return the author git would use here; a stated fallback where git has none, marked as such."""
        return self._identity


def _ask(start: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    fence = "--show-object-format"
    question = [fence, *more, fence, "--git-common-dir", fence, "--git-dir", fence]
    args = ["rev-parse", "--path-format=absolute", *question, "--show-cdup"]
    return run_git(args, cwd=start, ok=(0, 128, 129), keep_place=True)


def _not_found(start: Path, done: subprocess.CompletedProcess[bytes]) -> RunvaultError:
    said = done.stderr.decode("utf-8", "replace")
    if "not a git repository" in said:
        hint = "change into one, or name one with --repo; 'git init' makes one"
        return VaultNotFoundError(f"no Git repository at {str(start)!r} or above", hint)
    if "dubious ownership" in said:
        hint = f"if you trust its owner, run 'git config --global --add safe.directory {start}'"
        return RunvaultError(f"the repository at {str(start)!r} belongs to somebody else", hint)
    first = said.strip().splitlines()[0].removeprefix("fatal: ") if said.strip() else f"status {done.returncode}"
    return RunvaultError(f"git cannot open the repository at {str(start)!r}: {first}")
