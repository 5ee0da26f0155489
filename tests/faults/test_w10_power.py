"""W10: the power goes. A file system of its own, in a file, whose state at any moment can be copied.

What a process wrote and did not sync is in the kernel's memory alone, and not in the copy: that is what is left of a
disk whose computer lost its power. It is mounted as it would be after a start, with the journal that it has.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machine import full_counts, git
from results import make_result

import runvault as rv

pytestmark = pytest.mark.faults

SAVER = Path(__file__).with_name("powered.py")
SIZE = 64 << 20
CUTS = full_counts(4, 200)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    # Without being asked the kernel writes after half a minute, and the file system after five: less than nothing.
    options = "loop,commit=300,nodiscard"
    done = subprocess.run(["mount", "-o", options, str(image), str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a file system needs root and a loop device: {done.stderr.strip()}")
    try:
        yield place
    finally:
        gc.collect()  # a vault holds its note of what it has put
        deadline = time.monotonic() + 10
        # Programs that a killed process had started end a moment after it, and nobody can wait for them.
        while subprocess.run(["umount", str(place)], stderr=subprocess.DEVNULL).returncode:
            assert time.monotonic() < deadline, f"{place} stays busy"
            time.sleep(0.1)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)
    with mounted(path, tmp_path / "mount") as place:
        git(place, "init", "--quiet")
        rv.init(place).save(make_result(0.5), strategy="before")
    return path


def cut(place: Path, image: Path, number: int, after_s: float) -> set[str]:
    """Save runs for a while, and leave the disk as it would be then; return the runs that were acknowledged before."""
    child = subprocess.Popen(
        [sys.executable, str(SAVER), str(place), str(number)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(SAVER.parents[1])},
    )
    assert child.stdout is not None
    try:
        acknowledged = [child.stdout.readline()]
        assert acknowledged[0].startswith("ack ")  # now it is at work
        time.sleep(after_s)
        os.killpg(child.pid, signal.SIGSTOP)
        time.sleep(0.05)  # a sync that has begun ends: the disk had been told before
        left = image.with_name("left")
        shutil.copyfile(image, left)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        acknowledged += child.stdout.readlines()
        child.communicate()
    return {line.split()[1] for line in acknowledged if line.startswith("ack ") and line.endswith("\n")}


def check(place: Path, number: int, acknowledged: set[str]) -> int:
    """Look at an archive after the cut, and make room; return how many of the notes that nobody synced are gone."""
    vault = rv.open(place)
    kept = {run.id for run in vault.list(strategy=f"cut {number}")}
    assert acknowledged <= kept
    assert len(kept) <= len(acknowledged) + 1  # the one on its way
    assert vault.list(strategy="before").total == 1
    assert vault.verify(artifacts=True).findings == []
    git(place, "fsck", "--strict", "--no-dangling")
    assert vault.save(make_result(0.5), strategy=f"after {number}").created

    notes = [place / f"unsynced-{number}-{n}" for n in range(len(acknowledged))]
    lost = sum(not note.exists() or note.read_text() != "not synced" for note in notes)
    for run in vault.list(where="strategy != 'before'"):
        vault.remove(run)
    vault.gc()
    for note in place.glob("unsynced-*"):
        note.unlink()
    return lost


def test_no_acknowledged_run_is_lost_when_the_power_goes(image: Path, tmp_path: Path) -> None:
    chance, lost_notes = random.Random(10), 0
    for number in range(CUTS):
        with mounted(image, tmp_path / "mount") as place:
            acknowledged = cut(place, image, number, chance.uniform(0, 0.6))
        image.with_name("left").replace(image)
        with mounted(image, tmp_path / "mount") as place:
            lost_notes += check(place, number, acknowledged)
    assert lost_notes > 0  # else nothing was cut off
