"""Syncing many files: all of them, together where the disk is slow, and whatever Python is at."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runvault.stores import disk


@pytest.mark.parametrize(("count", "slow", "threads"), [(1, True, 1), (2, True, 1), (9, False, 1), (9, True, 9)])
def test_threads_wait_where_a_sync_is_slow(
    monkeypatch: pytest.MonkeyPatch, count: int, slow: bool, threads: int
) -> None:
    monkeypatch.setattr(disk, "SLOW_S", -1 if slow else float("inf"))
    done: list[tuple[int, int]] = []
    together = threading.Barrier(threads - 1 or 1)

    def sync(item: int) -> None:
        if item and threads > 1:
            together.wait(10)  # all others at once
        done.append((item, threading.get_ident()))

    disk.sync_all(sync, range(count))
    assert sorted(item for item, _ in done) == list(range(count))
    assert len({thread for _, thread in done}) == threads


AT_EXIT = """
import atexit, threading
from runvault.stores import disk
disk.SLOW_S = -1
done = []
atexit.register(lambda: (disk.sync_all(done.append, range(9)), print(sorted(done))))
"""


def test_files_are_synced_while_python_ends(tmp_path: Path) -> None:
    """No thread is to be had by then."""
    done = subprocess.run([sys.executable, "-c", AT_EXIT], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{list(range(9))}\n")


@pytest.mark.parametrize("slow", [False, True])
def test_a_sync_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    monkeypatch.setattr(disk, "SLOW_S", -1 if slow else float("inf"))

    def sync(item: int) -> None:
        if item == 5:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        disk.sync_all(sync, range(9))
