"""The processes that replays run in: one a job, in a clean environment, ended whole whatever happens.

On Linux a job runs in a fork of a server, which has the engine imported and ready; elsewhere a process is started for
each, as the libraries of macOS do not live through a fork, and Windows has none. A server is kept for the next job:
`check` and `bisect` have many. What its forks share is Python's seed of hashes: an entry whose numbers depend on the
order of a set of texts gives the same ones in all of them, and others the next time.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeAlias, cast

from runvault.errors import ReplayError, RunvaultError
from runvault.execution.child import ERROR, OUTPUT
from runvault.execution.forkserver import IDLE_S
from runvault.stores.processes import HOME

Environment: TypeAlias = Mapping[str, str]

FORKS = sys.platform == "linux"

# What a child process keeps of our environment: where programs and caches are, how text is written, how many threads
# a library starts. Credentials and the caller's own Python settings stay out.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TEMP", "TMP", "TZ", "SYSTEMROOT", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("LC_", "NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "XDG_CACHE")
# Of these, what libraries read when they are imported: a server has done that.
_READ_AT_START = ("LANG", "LC_", "NUMBA_", "OMP_", "OPENBLAS_", "MKL_")
# Read by numba in the folder where a process starts: code that has it gets a process that starts there.
_NUMBA_SETTINGS = ".numba_config.yaml"


def run_child(tree: Path, job: Path, out: Path, timeout_s: float | None) -> None:
    """Do a job of `runvault.execution.child` in `tree`, in a process of its own that is ended with all it started.

    Raises
    ------
    ReplayError
        It failed, or took longer than `timeout_s`; a server's import of the engine is not of that time.
    """
    do = _forked if FORKS and not (tree / _NUMBA_SETTINGS).exists() else _started
    status = do(tree, job, out, timeout_s)
    if status:
        raise _failure(out, status)


def _forked(tree: Path, job: Path, out: Path, timeout_s: float | None) -> int:
    environment = _environment()
    while (server := _idle_server(environment)) is not None:
        with suppress(_NotBegunError):  # the system has ended it
            return _done_by(server, job, out, tree, environment, timeout_s)
    return _done_by(_Server(environment), job, out, tree, environment, timeout_s)


def _done_by(
    server: _Server, job: Path, out: Path, tree: Path, environment: Environment, timeout_s: float | None
) -> int:
    try:
        return server.do(job, out, tree, environment, timeout_s)
    finally:
        _idle.append(server) if server.is_idle else server.close()


def _started(tree: Path, job: Path, out: Path, timeout_s: float | None) -> int:
    argv = [sys.executable, "-P", "-m", "runvault.execution.child", str(job), str(out)]
    environment = _environment()
    with (out / OUTPUT).open("wb") as sink:
        # The pipe is never written to: where it ends, we have, and the child does not outlive us.
        child = subprocess.Popen(
            argv, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=sink, stderr=sink, start_new_session=True
        )
        with child:
            try:
                return child.wait(timeout_s)
            except subprocess.TimeoutExpired as error:
                raise _too_slow(timeout_s) from error
            finally:
                _end_group(child.pid) if sys.platform != "win32" else child.kill()


def _environment() -> Environment:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    # Found where this process found it, and after everything installed: the worktree may hold a runvault of its own.
    return {**kept, "RUNVAULT_DISABLED": "1", "PYTHONPATH": str(HOME)}


def _read_at_start(environment: Environment) -> Environment:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


class _NotBegunError(ReplayError):
    """A server ended before it began a job."""


class _Server:
    """A process that does jobs in forks of itself, one at a time: see `runvault.execution.forkserver`."""

    def __init__(self, environment: Environment) -> None:
        self._read = _read_at_start(environment)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as it runs
        watched, self._life = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runvault.execution.forkserver", str(watched)],
            cwd="/",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
            pass_fds=[watched],
        )
        os.close(watched)
        self.is_idle = True
        self._idle_since = time.monotonic()

    def fits(self, environment: Environment) -> bool:
        """Whether it serves jobs in this environment, and will not end for want of them just now."""
        rested_s = time.monotonic() - self._idle_since
        alive = rested_s < IDLE_S / 2 and self._process.poll() is None
        return alive and _read_at_start(environment) == self._read

    def do(self, job: Path, out: Path, tree: Path, environment: Environment, timeout_s: float | None) -> int:
        """Do a job and return its status, negative for a signal; ReplayError where it does not end in time."""
        self.is_idle = False
        asked = {"job": str(job), "out": str(out), "tree": str(tree), "environment": environment}
        with suppress(BrokenPipeError):  # it has ended: the answer says so
            cast(IO[bytes], self._process.stdin).write(json.dumps(asked).encode() + b"\n")
        try:
            pid = self._answer("pid", None)
        except ReplayError as error:
            raise _NotBegunError(error.message) from error
        try:
            return self._done(timeout_s)
        except BaseException:
            _end_group(pid)
            self._done(None)
            raise

    def _done(self, timeout_s: float | None) -> int:
        status = self._answer("status", timeout_s)
        self.is_idle, self._idle_since = True, time.monotonic()
        return status

    def _answer(self, member: str, timeout_s: float | None) -> int:
        pipe = cast(IO[bytes], self._process.stdout)
        with selectors.DefaultSelector() as waiting:  # whatever the pipe's number is
            waiting.register(pipe, selectors.EVENT_READ)
            if not waiting.select(timeout_s):
                raise _too_slow(timeout_s)
        line = pipe.readline()
        if not line:
            raise self._ended()
        return int(json.loads(line)[member])

    def _ended(self) -> ReplayError:
        status = self._process.wait()
        self._errors.seek(0)
        return ReplayError(f"the process for replays ended with status {status}: {_last_line(self._errors.read())}")

    def close(self) -> None:
        """End it, with a job that it may have."""
        os.close(self._life)
        self._process.kill()
        self._process.communicate()
        self._errors.close()


_idle: list[_Server] = []


def _idle_server(environment: Environment) -> _Server | None:
    """Return a server that waits for a job; those that can be of no more use are ended on the way."""
    while _idle:
        server = _idle.pop()
        if server.fits(environment):
            return server
        server.close()
    return None


@atexit.register
def _end_servers() -> None:
    while _idle:
        _idle.pop().close()


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _too_slow(timeout_s: float | None) -> ReplayError:
    return ReplayError(f"the recipe did not end within {timeout_s:g} s", "give it longer: --timeout")


def _failure(out: Path, status: int) -> RunvaultError:
    if (out / ERROR).is_file():
        told = json.loads((out / ERROR).read_text("utf-8"))
        return ReplayError(told["message"], told["hint"])
    return ReplayError(f"the recipe ended with status {status}: {_last_line((out / OUTPUT).read_bytes())}")


def _last_line(output: bytes) -> str:
    return (output.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1][:300]
