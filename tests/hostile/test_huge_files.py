"""A run's file of half a gigabyte, committed with plain git: named as damaged, and never held in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_trees import commit_tree, put
from machine import full_counts, git
from results import make_result

import runvault as rv

HUGE = full_counts(200, 500) << 20
MARGIN = 120 << 20  # of memory, over what the same commands take where nothing is huge

COMMANDS = """
import json, sys
from runvault.cli.main import run
statuses = [run(args) for args in json.loads(sys.argv[1])]
status = open("/proc/self/status").read()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps([statuses, peak * 1024]), file=sys.stderr)
"""


def looked_at(repo: Path, commands: list[list[str]]) -> tuple[list[int], int, str]:
    """Run commands in one process; return their statuses, the most memory it had, and what was printed."""
    args = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(args, cwd=repo, capture_output=True, text=True, check=True)
    statuses, peak = json.loads(done.stderr.splitlines()[-1])
    return statuses, peak, done.stdout + done.stderr


def grow(repo: Path, run: str, name: str, scratch: Path) -> None:
    """Commit a file of zeros in place of a run's."""
    huge = scratch / "huge"
    with huge.open("wb") as file:
        file.truncate(HUGE)
    blob = git(repo, "-c", "core.compression=1", "hash-object", "-w", str(huge)).strip()
    huge.unlink()
    root = git(repo, "rev-parse", "runvault^{tree}").strip()
    root = put(repo, root, [b"runs", run[:2].encode(), run.encode()], [("100644", name.encode(), blob)])
    git(repo, "update-ref", "refs/heads/runvault", commit_tree(repo, root, git(repo, "rev-parse", "runvault").strip()))


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory is told by Linux alone")


@needs_proc
@pytest.mark.parametrize("name", ["manifest.json", "annotations.json", "stats.parquet", "equity.parquet.dvc"])
def test_a_huge_file_is_named_and_never_held(repo: Path, tmp_path: Path, name: str) -> None:
    vault = rv.init(repo)
    first, second = (vault.save(make_result(0.1 * n), strategy="s", params={"n": n}).run.id for n in (1, 2))
    before = git(repo, "rev-parse", "runvault").strip()
    others = [["list", "--json"], ["show", second], ["log", second]]
    damaged = [["show", first], ["diff", first, second], ["show", first, "--json"], ["verify"]]
    commands = [*others, *damaged, ["review", f"{before}..runvault"]]
    _, usual, _ = looked_at(repo, commands)

    grow(repo, first, name, tmp_path)
    statuses, peak, said = looked_at(repo, commands)
    assert peak < usual + MARGIN
    assert statuses[:3] == [0, 0, 0]
    assert statuses[6] == 1  # verify
    assert not {2, 3} & set(statuses), said
    assert name in said
    assert "please report it" not in said


SAVE = """
import sys
from results import make_result
import runvault as rv
vault = rv.open(".")
peaks = []
for number in (9, 1):
    try:
        vault.save(make_result(0.5), strategy="s", params={"n": number})
    except rv.RunvaultError as error:
        print(error)
    status = open("/proc/self/status").read()
    peaks.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")))
print(1024 * (peaks[1] - peaks[0]))
"""


@needs_proc
@pytest.mark.parametrize("name", ["manifest.json", "annotations.json", "stats.parquet", "more"])
def test_a_save_over_a_huge_file_does_not_hold_it(repo: Path, tmp_path: Path, name: str) -> None:
    vault = rv.init(repo)
    first = vault.save(make_result(0.1), strategy="s", params={"n": 1}).run.id
    grow(repo, first, name, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", SAVE], cwd=repo, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *said, more = done.stdout.splitlines()
    assert int(more) < HUGE // 4
    assert bool(said) == name.endswith(".json"), said
