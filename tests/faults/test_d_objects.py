"""Objects of the DVC store under kills, damage, races, and whatever state DVC's own locks are in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from machine import full_counts

from runvault.errors import IntegrityError
from runvault.stores.dvc import ObjectStore, init_dvc_files

STRACE = shutil.which("strace")

PUT = """
import sys
from pathlib import Path
from runvault.stores import disk
from runvault.stores.dvc import ObjectStore
disk.SLOW_S = float("inf")  # one thread: strace counts calls by thread
keep, dvc_folder = Path(sys.argv[1]), Path(sys.argv[2])
store = ObjectStore(keep, dvc_folder)
store.cache
open("begin", "w").close()
with store.batch():
    for number in range(3):
        store.put(bytes([65 + number]) * 5000)
open("acknowledged", "w").close()
"""
OBJECTS = [bytes([65 + number]) * 5000 for number in range(3)]
CALLS = ("openat", "write", "rename", "link", "unlink", "mkdir", "fsync", "close", "chmod", "fchmod")


def object_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and re.fullmatch("[0-9a-f]{30}", path.name)]


@pytest.fixture
def place(repo: Path) -> Path:
    """Return a repository whose user has a file of their own in the cache's folder, and beside it."""
    init_dvc_files(repo)
    (repo / ".dvc/cache/files/md5/ab").mkdir(parents=True)
    (repo / ".dvc/cache/files/md5/ab/mine.tmp").write_text("mine")
    return repo


def traced(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    keep = place / ".git/runvault/keep/files/md5"
    command = [sys.executable, "-B", "-c", PUT, str(keep), str(place / ".dvc")]
    return subprocess.run([str(STRACE), "-f", *options, *command], cwd=place, capture_output=True, text=True)


def calls_of_a_put(place: Path, trace: Path) -> dict[str, range]:
    """Return for each system call which of its occurrences belong to putting objects, counted as strace counts."""
    copy = place.with_name("counted")
    shutil.copytree(place, copy)
    assert traced(copy, "-o", str(trace), "-e", f"trace={','.join(CALLS)}").returncode == 0
    shutil.rmtree(copy)
    seen = dict.fromkeys(CALLS, 0)
    first: dict[str, int] = {}
    for line in trace.read_text().splitlines():
        name = re.match(r"\d+ +(\w+)\(", line)
        if name is None:
            continue
        seen[name[1]] = seen.get(name[1], 0) + 1
        if '"begin"' in line:
            first = dict(seen)
        if '"acknowledged"' in line:
            break
    return {name: range(first.get(name, 0) + 1, seen[name] + 1) for name in CALLS if seen[name] > first.get(name, 0)}


def assert_whole(place: Path, acknowledged: bool) -> None:
    """Nothing half is under a final name, the user's file is there, and what was acknowledged is durable."""
    roots = (place / ".dvc/cache/files/md5", place / ".git/runvault/keep/files/md5")
    for root in roots:
        for path in object_files(root):
            data = path.read_bytes()
            assert path.parent.name + path.name == hashlib.md5(data).hexdigest()  # noqa: S324 - DVC's names
    assert (roots[0] / "ab/mine.tmp").read_text() == "mine"
    assert (place / "strategy.py").read_text() == "FAST = 10\n"
    store = ObjectStore.find(place, place / ".git")
    for data in OBJECTS:
        if acknowledged:
            assert store.check(hashlib.md5(data).hexdigest()) == []  # noqa: S324 - DVC's names
        stored = store.put(data)  # works unaided
        assert store.check(stored.md5, stored.sha256, len(data)) == []


def points(calls: dict[str, range], limit: int) -> list[tuple[str, int]]:
    every = [(name, number) for name, numbers in calls.items() for number in numbers]
    step = max(1, -(-len(every) // limit))
    return every[::step]


@pytest.mark.faults
@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_d1_a_put_that_dies_anywhere_leaves_whole_objects_or_none(place: Path, tmp_path: Path, fault: str) -> None:
    calls = calls_of_a_put(place, tmp_path / "trace")
    assert sum(map(len, calls.values())) > 30
    for name, number in points(calls, full_counts(10, 10_000)):
        if fault != "signal=KILL" and name == "close":
            continue  # an error of close is not one that Linux gives
        copy = place.with_name(f"{name}-{number}")
        shutil.copytree(place, copy)
        done = traced(copy, "-o", os.devnull, "-e", f"inject={name}:{fault}:when={number}")
        acknowledged = (copy / "acknowledged").exists()
        assert (copy / "begin").exists()
        if fault == "signal=KILL":
            assert done.returncode != 0
        assert acknowledged == (done.returncode == 0), done.stderr
        assert_whole(copy, acknowledged)
        shutil.rmtree(copy)


DAMAGE = {
    "a flipped bit": lambda data, n: data[:n] + bytes([data[n] ^ 1 << n % 8]) + data[n + 1 :],
    "cut short": lambda data, n: data[:n],
    "empty": lambda _data, _n: b"",
    "longer": lambda data, n: data + bytes(n + 1),
}


@pytest.mark.parametrize("mode", [0o444, 0o644])
@pytest.mark.parametrize("kind", DAMAGE)
def test_d2_damage_is_detected_by_check_and_by_get(place: Path, kind: str, mode: int) -> None:
    store = ObjectStore.find(place, place / ".git")
    data = bytes(range(256)) * 8
    stored = store.put(data)
    assert store.cache is not None
    detected = 0
    spots = range(0, len(data), len(data) // full_counts(13, 200))
    for spot in spots:
        cache = store.cache / stored.md5[:2] / stored.md5[2:]
        cache.chmod(0o644)
        cache.write_bytes(DAMAGE[kind](data, spot))
        cache.chmod(mode)
        problems = store.check(stored.md5, stored.sha256, stored.size)
        assert {(problem.place, problem.kind) for problem in problems} == {("cache", "damaged"), ("keep", "damaged")}
        with pytest.raises(IntegrityError):
            store.get(stored.md5, stored.sha256)
        store.put(data)
        assert store.check(stored.md5, stored.sha256, stored.size) == []
        detected += 1
    assert detected == len(spots)


@pytest.mark.parametrize("processes", [8])
def test_d5_processes_that_put_the_same_objects_at_once_all_succeed(place: Path, processes: int) -> None:
    (place / ".dvc/tmp").mkdir()
    (place / ".dvc/tmp/lock").write_text("99999\n")  # of a process that died
    (place / ".dvc/tmp/rwlock").write_text("{ not JSON")
    (place / ".dvc/tmp/rwlock.lock").write_text("99999\n")
    code = """
import sys
from pathlib import Path
from runvault.stores.dvc import ObjectStore
place = Path(sys.argv[1])
store = ObjectStore.find(place, place / ".git")
store.cache
sys.stdin.read()  # until all are ready
for number in range(int(sys.argv[3])):
    store.put(b"shared %d" % number * 300)
    store.put(b"own %s %d" % (sys.argv[2].encode(), number))
"""
    count = full_counts(15, 200)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place), str(number), str(count)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    store = ObjectStore.find(place, place / ".git")
    assert store.cache is not None
    for root in (store.cache, store.keep):
        assert len(object_files(root)) == count * (processes + 1)
        assert [path.name for path in root.rglob("*.tmp")] == (["mine.tmp"] if root == store.cache else [])
    for number in range(count):
        data = b"shared %d" % number * 300
        assert store.check(store.put(data).md5) == []
