"""Programs of this package in processes of their own, beside this one: what they are given, what they answer.

A child is this very package, wherever it starts, and answers with lines of JSON. It is gone behind the block that it
was started for, whatever ends that; where this process is killed, what the child reads ends, and with it the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import IO, Any, TypeAlias, cast

from runvault.errors import RunvaultError

Json: TypeAlias = Any
Parcels: TypeAlias = Queue[bytes | None]

HOME = Path(__file__).resolve().parents[2]
"""Where this package was imported from: on its ``PYTHONPATH``, a child imports the same one."""


class Child:
    """A process, and the thread that hands it what is waiting: neither waits for the other before `waiting` parcels.

    Parameters
    ----------
    work : str
        What it does, as in "the process that *checks statistics* ended with 1".
    """

    def __init__(
        self, work: str, process: subprocess.Popen[bytes], said: IO[bytes], errors: IO[bytes], waiting: int
    ) -> None:
        self.work = work
        self.process = process
        self.parcels: Parcels = Queue(waiting)
        self._said = said
        self._errors = errors
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        pipe = cast(IO[bytes], self.process.stdin)
        while (parcel := self.parcels.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended: why, its status and words say
                pipe.write(parcel)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()

    def finish(self) -> None:
        """Let what the process reads end, behind what it was given."""
        if self._thread.is_alive():
            self.parcels.put(None)
            self._thread.join()

    def answers(self) -> Iterator[Json]:
        """Yield what the process answered, when it has ended.

        Raises
        ------
        RunvaultError
            It did not do its work; the message has its last words.
        """
        if self.process.wait():
            self._errors.seek(0)
            last = self._errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RunvaultError(f"the process that {self.work} ended with {self.process.returncode}: {last}")
        self._said.seek(0)
        yield from map(json.loads, self._said)  # orjson refuses half a surrogate pair, as in a path of other bytes


@contextlib.contextmanager
def started(work: str, module: str, *args: str, waiting: int = 1) -> Iterator[Child]:
    """Start the program `module` of this package, and see it end.

    Parameters
    ----------
    work : str
        What it does: see `Child`.
    module : str
        Its name; what is imported with it is imported anew.
    *args : str
        Its arguments.
    waiting : int
        How many parcels may wait before whoever gives one waits as well.
    """
    argv = [sys.executable, "-P", "-m", module, *args]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(HOME), *_python_path()]))}
    with (
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=said, stderr=errors, env=environment) as process,
    ):
        child = Child(work, process, said, errors, waiting)
        try:
            yield child
        finally:
            process.kill()
            child.finish()


def end_with_caller() -> None:
    """End this process, which is given nothing to read, as soon as whoever started it is no more."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _python_path() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)
