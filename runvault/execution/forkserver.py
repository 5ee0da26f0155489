"""A server of processes for replays: ``python -m runvault.execution.forkserver LIFE``.

It imports the engine, and reads jobs, a line of JSON each: `job` and `out`, as `runvault.execution.child` takes them,
the folder `tree` to do it in, and the `environment`. For each it forks, answers with the fork's `pid`, and with its
`status` once it has ended, and what it left running was. Whoever has two jobs has many: before the second one, the
server has the engine load what it compiled, which takes longer than most backtests. It runs nothing of anybody's
itself.

A fork watches the pipe LIFE, which ends with the caller. The server ends with its own input, or after `IDLE_S` without
a job.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from runvault.execution import child
from runvault.execution.own_process import end_quickly, import_engine

IDLE_S = 60.0


def main(life: int) -> int:
    """Serve until there is nothing to do; return the exit status of this process, which may be a fork by then."""
    os.set_inheritable(life, False)
    end_quickly()
    import_engine()
    with os.fdopen(os.dup(1), "w", encoding="ascii") as answers:
        os.dup2(2, 1)  # whatever a library prints is no answer
        for number, asked in enumerate(_jobs()):
            if number == 1:
                _load_compiled()
            pid = os.fork()
            if not pid:
                answers.close()
                return _become(asked, life)
            with suppress(PermissionError, ProcessLookupError):  # the fork does it as well: whoever is first
                os.setpgid(pid, pid)
            _answer(answers, pid=pid)
            _answer(answers, status=_ended(pid))
    return 0


def _jobs() -> Iterator[dict[str, Any]]:
    while select.select([0], [], [], IDLE_S)[0] and (line := sys.stdin.buffer.readline()):
        yield json.loads(line)


def _answer(answers: IO[str], **members: int) -> None:
    answers.write(json.dumps(members) + "\n")
    answers.flush()


def _load_compiled() -> None:
    from runvault.engines.vectorbt.compiled import load_compiled

    load_compiled()
    gc.freeze()


def _ended(pid: int) -> int:
    """Wait for a fork, end what it has left running, and return its status as `subprocess` does."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with suppress(PermissionError, ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # its number is not given away before it is asked for
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _become(asked: dict[str, Any], life: int) -> int:
    """Do a job as a process of its own: its group, folder, environment, output, random numbers."""
    with suppress(PermissionError):
        os.setpgid(0, 0)
    child.detach(life)
    os.chdir(asked["tree"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    tempfile.tempdir = None  # as the environment says, not as it said to the server
    output = os.open(Path(asked["out"]) / child.OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    import numpy as np

    np.random.seed()  # Python seeds its own after a fork
    return child.main(Path(asked["job"]), Path(asked["out"]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
