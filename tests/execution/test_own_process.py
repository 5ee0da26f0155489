"""A process of ours looks for garbage neither when it begins nor when it ends, and loses nothing that was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ENDING = """
import atexit, gc, sys

atexit.register(lambda: print("frozen" if gc.get_freeze_count() else "looked through"))
from runvault.execution.own_process import end_quickly

end_quickly()
atexit.register(lambda: print("at exit"))


class Log:
    def __init__(self, path):
        self.path, self.itself = path, self
        self.text, self.binary = open(path + ".txt", "w"), open(path + ".bin", "wb")
        self.text.write("lines")
        self.binary.write(b"bytes")


log = Log(sys.argv[1])
sys.exit(7)
"""


def test_files_that_nobody_closed_are_written_and_handlers_called(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENDING, str(log)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (7, ["at exit", "frozen", ""], "")
    assert (log.with_suffix(".txt").read_text(), log.with_suffix(".bin").read_bytes()) == ("lines", b"bytes")


IMPORTING = """
import gc
from runvault.execution.own_process import import_engine

whole = []
gc.callbacks.append(lambda phase, told: whole.append(phase) if told["generation"] == 2 else None)
import_engine()
print(len(whole), gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


@pytest.mark.engine
def test_the_engine_is_imported_without_a_look_for_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True)

    assert done.stdout == "0 True True\n"
