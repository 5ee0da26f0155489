"""The one place that starts git: argument lists, no hooks, no locks for convenience, one language of messages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from runvault.errors import RunvaultError
from runvault.stores.git.failures import failure

# Hooks of the user never run for an archive; a folder that cannot exist holds none.
# Without --no-optional-locks a plain `git status` rewrites the user's index.
_ALWAYS = ("git", "--no-optional-locks", "-c", f"core.hooksPath={os.devnull}")

# Set while git runs a hook: they name the caller's repository and index, which need not be the ones meant here.
_PLACE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE")

# What git may say before it must wait for us: in a usual pipe no more than a dozen manifests.
_ANSWERS = 1 << 20

# An address names no program to start, and no open file of this process, on which git would wait for ever.
PLACES_ALONE = ("-c", "protocol.ext.allow=never", "-c", "protocol.fd.allow=never")

# Packs, loose objects and refs reach the disk before git says that it is done; git's defaults do not promise that.
DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")


def git_argv(args: Sequence[str]) -> list[str]:
    """Return the whole argument list of a git call."""
    return [*_ALWAYS, *args]


def git_environment(*, keep_place: bool = False, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a child's environment: the caller's, with untranslated messages and without another repository's place."""
    kept = {name: value for name, value in os.environ.items() if keep_place or name not in _PLACE}
    return kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | dict(extra or {})


def run_git(
    args: Sequence[str],
    *,
    cwd: Path,
    stdin: bytes | None = None,
    ok: Collection[int] = (0,),
    keep_place: bool = False,
    extra: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run git to its end and return what it printed.

    Parameters
    ----------
    args : sequence of str
        What follows ``git``; text of others belongs behind ``--end-of-options`` or ``--``.
    cwd : Path
        The folder that git starts in.
    stdin : bytes or None
        Its input; None is none at all.
    ok : collection of int
        Exit statuses that are answers, not failures.
    keep_place : bool
        Honour ``GIT_DIR`` and its kin as git does, for questions about the user's own place.
    extra : mapping or None
        Environment variables to set besides.

    Raises
    ------
    RunvaultError
        git is missing, or ended with another status; the message holds git's own first words.
    """
    try:
        done = subprocess.run(
            git_argv(args),
            cwd=cwd,
            env=git_environment(keep_place=keep_place, extra=extra),
            check=False,
            capture_output=True,
            input=stdin or b"",
        )
    except OSError as error:
        raise not_started(cwd, error) from error
    if done.returncode not in ok:
        raise git_failure(args, done.returncode, done.stderr)
    return done


@contextmanager
def start_git(args: Sequence[str], *, cwd: Path, answers: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Start git with pipes to talk to it, and see it end; an exception in the block ends it at once.

    Parameters
    ----------
    args : sequence of str
        As for `run_git`.
    cwd : Path
        The folder that git starts in.
    answers : bool
        Whether its output is read.

    Raises
    ------
    RunvaultError
        It could not be started.
    """
    try:
        process = subprocess.Popen(
            git_argv(args),
            cwd=cwd,
            env=git_environment(),
            bufsize=_ANSWERS if answers else -1,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise not_started(cwd, error) from error
    try:
        _widen(process.stdout)
        yield process
    except BaseException:
        process.kill()
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):  # nothing is left in them that anybody waits for
                if pipe is not None:
                    pipe.close()
        process.wait()


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold more, where the system allows it."""
    if sys.platform == "linux" and pipe is not None:
        import fcntl

        with suppress(OSError):  # the user's pipes hold as much as they may already
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _ANSWERS)


def not_started(cwd: Path, error: OSError) -> RunvaultError:
    """Return the error for a git that could not be started in `cwd`, or not be talked to."""
    if not isinstance(error, FileNotFoundError):
        return RunvaultError(f"cannot run git: {error.strerror or error}")
    if not cwd.is_dir():
        return RunvaultError(f"there is no folder {str(cwd)!r}")
    return RunvaultError("git is not installed", "install git 2.36 or newer and see that it is on PATH")


def git_failure(args: Sequence[str], status: int, stderr: bytes) -> RunvaultError:
    r"""Return the error for a git call that ended with `status`.

    Examples
    --------
    >>> str(git_failure(["-c", "a.b=c", "cat-file", "blob"], 128, b"fatal: bad object\nmore"))
    'git cat-file failed: bad object'
    """
    words = iter(args)
    name = next((word for word in words if not (word.startswith("-") and (word != "-c" or next(words)))), "")
    told = (line.strip() for line in stderr.decode("utf-8", "replace").splitlines())
    lines = [line for line in told if line not in ("", "error:", "fatal:")]  # a signer that says nothing is quoted so
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    said = (fatal or lines or [f"exit status {status}"])[0]
    said = said.removeprefix("fatal: ").removeprefix("error: ")
    return failure(f"git {name} failed", said)
