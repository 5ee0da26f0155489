"""A process that saves runs through the Git store, to be killed, starved and traced. Run as a script.

::

    driver.py save REPO BRANCH PREFIX COUNT [bulk]   save runs PREFIX-0 …, say "ack PREFIX-i COMMIT SECONDS" after each
    driver.py serve REPO BRANCH [threads]            fork a child for each line "save NAME [bulk]" on stdin

A child of `serve` says "pid N" and waits for the line "go", so that strace can be attached to it before it begins;
then it says "ack COMMIT" or "error TYPE MESSAGE", and its parent says "end STATUS". strace counts calls by thread: so a
child syncs in one, whatever the disk takes, or always in several (`threads`).
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from runvault.errors import RunvaultError
from runvault.stores import disk
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.git.objects import Tip
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import Writer

ADA = Signature("Ada Quant", "ada@example.org")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FILES = ("manifest.json", "stats.parquet", "prices.parquet.dvc", "orders.parquet.dvc")


def save(repository: Repository, name: str, *, bulk: bool = False, timeout_s: float = 60.0) -> str | None:
    folder = f"runs/{name[-2:].zfill(2)}/{name}"
    files: list[tuple[str, bytes | None]] = [(f"{folder}/{file}", f"{name} {file}\n".encode()) for file in FILES]
    files.append((f"{folder}/annotations.json", b"{}\n"))
    edit = Edit(files, f"save: {name}\n\nRun: {name}\nKind: save", ADA, NOON, bulk)

    def plan(tip: Tip) -> Edit | None:
        return None if all(tip.read(path) == content for path, content in files) else edit

    return Writer(repository).update(plan, timeout_s=timeout_s)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def save_many(repository: Repository, prefix: str, count: int, *, bulk: bool) -> int:
    for number in range(count):
        begun = time.monotonic()
        try:
            commit = save(repository, f"{prefix}-{number}", bulk=bulk)
        except RunvaultError as error:
            say(f"error {prefix}-{number} {type(error).__name__} {error}")
        else:
            say(f"ack {prefix}-{number} {commit} {time.monotonic() - begun:.4f}")
    return 0


def line() -> list[str]:
    text = b""
    while not text.endswith(b"\n"):
        read = os.read(0, 1)
        if not read:
            return []
        text += read
    return text.decode().split()


def child(repository: Repository, name: str, *, bulk: bool) -> None:
    say(f"pid {os.getpid()}")
    line()
    try:
        commit = save(repository, name, bulk=bulk, timeout_s=10.0)
    except RunvaultError as error:
        say(f"error {type(error).__name__} {error}")
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        say(f"untyped {type(error).__name__} {error} at {where}")
    else:
        say(f"ack {commit}")


def serve(repository: Repository) -> int:
    save(repository, "warm")  # whatever is imported late is imported by now
    save(repository, "warm-bulk", bulk=True)
    say("ready")
    while words := line():
        pid = os.fork()
        if pid == 0:
            try:
                child(repository, words[1], bulk="bulk" in words)
            finally:
                os._exit(0)
        say(f"end {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
    return 0


def main(argv: list[str]) -> int:
    action, repo, branch, *rest = argv
    repository = Repository.find(Path(repo), branch)
    if action == "serve":
        disk.SLOW_S = -1.0 if "threads" in rest else float("inf")
        return serve(repository)
    return save_many(repository, rest[0], int(rest[1]), bulk="bulk" in rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
