"""kill -9 at every system call of a save: nothing acknowledged is lost, and the next save works unaided."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import assert_sound, count_calls, needs_strace, new_archive, saved_runs, serving, spread
from machine import full_counts

pytestmark = [pytest.mark.faults, needs_strace]

CALLS = ("openat", "write", "rename", "link", "unlink", "mkdir", "fsync", "close", "pwrite64")


@pytest.mark.parametrize(("bulk", "points"), [(False, full_counts(30, 600)), (True, full_counts(12, 600))])
def test_a_killed_save_costs_nothing_but_itself(repo: Path, tmp_path: Path, bulk: bool, points: int) -> None:
    repository = new_archive(repo)
    with serving(repository) as server:
        counts = count_calls(server, "counted", CALLS, tmp_path / "trace", bulk=bulk)
        acknowledged = {"counted"}
        killed = 0
        chosen = spread(counts, points)
        for place, (call, turn) in enumerate(chosen):
            name = f"killed-{place}"
            before = repository.tip()
            trace = ("-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={turn}")
            outcome = server.save(name, *trace, bulk=bulk)
            tip = repository.tip()
            killed += outcome.status != 0 or outcome.typed  # the saver, or the git that worked for it
            if outcome.acknowledged:
                assert tip != before
                acknowledged.add(name)
            present = saved_runs(repository)
            assert acknowledged <= present, (call, turn)
            assert (name in present) == (tip != before), (call, turn)
            # The next save works unaided, and saving the same again is idempotent.
            assert server.save(f"after-{place}").acknowledged, (call, turn)
            again = server.save(name, bulk=bulk)
            assert again.said == "ack None" if name in present else again.acknowledged, (call, turn)
            acknowledged |= {f"after-{place}", name}
            if place % 10 == 0:
                assert_sound(repository)
    assert killed > len(chosen) * 0.9
    assert acknowledged <= saved_runs(repository)
    assert_sound(repository)
    assert not (repository.common_dir / f"{repository.ref}.lock").exists()
    folder = repository.common_dir / "objects/pack"
    assert list(folder.glob("tmp_runvault-*")) == []
    assert [keep for keep in folder.glob("*.keep") if b"runvault" in keep.read_bytes()] == []
