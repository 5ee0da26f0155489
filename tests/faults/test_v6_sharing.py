"""V6: clones that save, push and pull as they like end with the same tree. And pushes and pulls killed anywhere."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import full_counts, git
from results import make_result

import runvault as rv
from runvault.api.sharing import clone
from runvault.stores.dvc import parse_pointer

pytestmark = pytest.mark.faults

CLONES = full_counts(3, 8)
SAVES = full_counts(3, 25)
SCHEDULES = full_counts(1, 100)
KILLS = full_counts(4, 60)


def new_origin(folder: Path) -> tuple[Path, Path]:
    """Make a bare remote with an archive, whose code names a folder as the DVC remote."""
    origin, storage, first = folder / "origin.git", folder / "storage", folder / "first"
    git(folder, "init", "--quiet", "--bare", str(origin))
    git(folder, "init", "--quiet", str(first))
    vault = rv.init(first)
    (first / ".dvc" / "config").write_text(
        f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {storage}\n", encoding="utf-8"
    )
    git(first, "add", "--all")
    git(first, "commit", "--quiet", "--message", "first")
    git(first, "remote", "add", "origin", str(origin))
    git(first, "push", "--quiet", "origin", "main")
    rv.open(first).push()
    assert vault.list().total == 0
    return origin, storage


@pytest.mark.parametrize("schedule", range(SCHEDULES))
def test_clones_that_push_and_pull_at_random_end_with_one_tree(tmp_path: Path, schedule: int) -> None:
    chance = random.Random(schedule)
    origin, _ = new_origin(tmp_path)
    vaults = [
        clone(str(origin), tmp_path / f"clone-{number}", None, artifacts=True, data=True)[0] for number in range(CLONES)
    ]
    todo = [number for number in range(CLONES) for _ in range(SAVES)]
    chance.shuffle(todo)
    for count, number in enumerate(todo):
        vault = vaults[number]
        vault.save(make_result((count % 7) / 10), strategy="s", params={"n": count}, tags=[f"by-{number}"])
        if chance.random() < 0.4:
            vault.push(artifacts=chance.random() < 0.5)
        if chance.random() < 0.3:
            chance.choice(vaults).pull(artifacts=chance.random() < 0.5)
    for vault in [*vaults, *vaults]:
        vault.push()
    for vault in vaults:
        vault.pull()
    trees = {git(tmp_path / f"clone-{number}", "rev-parse", "runvault^{tree}") for number in range(CLONES)}
    assert len(trees) == 1
    assert {vault.list().total for vault in vaults} == {CLONES * SAVES}
    assert all(len(run.tags) == 1 for run in vaults[0].list())
    git(tmp_path / "clone-0", "fsck", "--strict")


def pointed_to(repository: Path) -> set[str]:
    """Return the objects that the archive at the remote's tip points to."""
    if not git(repository, "branch", "--list", "runvault"):
        return set()
    names = set()
    for path in git(repository, "ls-tree", "-r", "--name-only", "runvault").splitlines():
        if path.startswith("runs/") and path.endswith(".dvc"):
            content = git(repository, "show", f"runvault:{path}").encode()
            names.add(parse_pointer(content, path.rpartition("/")[2].removesuffix(".dvc")).md5)
    return names


def objects_in(storage: Path) -> set[str]:
    return {
        path.parent.name + path.name
        for path in (storage / "files" / "md5").glob("*/*")
        if not path.name.startswith(".")
    }


def start(folder: Path, command: str) -> subprocess.Popen[bytes]:
    args = [sys.executable, "-m", "runvault.cli.main", "--repo", str(folder), command]
    return subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_push_killed_anywhere_leaves_both_ends_whole(tmp_path: Path) -> None:
    chance = random.Random(6)
    origin, storage = new_origin(tmp_path)
    ada, _ = clone(str(origin), tmp_path / "ada", None, artifacts=True, data=True)
    grace, _ = clone(str(origin), tmp_path / "grace", None, artifacts=True, data=True)
    longest = 1.5
    for number in range(KILLS):
        ada.save(make_result(number / 100), strategy="s", params={"n": number})
        for folder, command in ((tmp_path / "ada", "push"), (tmp_path / "grace", "pull")):
            process = start(folder, command)
            time.sleep(chance.uniform(0.2, longest))
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert pointed_to(origin) <= objects_in(storage)
            git(origin, "fsck", "--strict")
            git(folder, "fsck", "--strict")
        assert rv.open(tmp_path / "ada").list().total == number + 1
    ada.push()
    grace.pull()
    assert rv.open(tmp_path / "grace").list().total == KILLS
    assert rv.open(tmp_path / "grace").verify().findings == []
