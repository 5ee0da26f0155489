"""A process of ours ends without a look for garbage, and loses nothing that was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENDING = """
import atexit, gc, sys

atexit.register(lambda: print("frozen" if gc.get_freeze_count() else "looked through"))
from runvault.execution.ending import end_quickly

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
