"""ENOSPC and EIO at every system call of a save: no false acknowledgement, a typed error, and the next save works."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import assert_sound, count_calls, needs_strace, new_archive, saved_runs, serving, spread
from machine import full_counts

pytestmark = [pytest.mark.faults, needs_strace]

CALLS = ("openat", "write", "rename", "link", "unlink", "mkdir", "fsync", "close", "pwrite64")


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
@pytest.mark.parametrize("lasting", ["", "+"], ids=["once", "from then on"])
@pytest.mark.parametrize("problem", ["ENOSPC", "EIO"])
def test_a_failing_disk_is_a_typed_error(repo: Path, tmp_path: Path, problem: str, lasting: str, bulk: bool) -> None:
    repository = new_archive(repo)
    with serving(repository) as server:
        counts = count_calls(server, "counted", CALLS, tmp_path / "trace", bulk=bulk)
        acknowledged = {"counted"}
        for place, (call, turn) in enumerate(spread(counts, full_counts(8, 600))):
            name = f"failed-{place}"
            before = repository.tip()
            fault = f"inject={call}:error={problem}:when={turn}{lasting}"
            outcome = server.save(name, "-o", "/dev/null", "-e", f"trace={call}", "-e", fault, bulk=bulk)
            # The answer itself can be what fails to be written; then there is none.
            assert outcome.acknowledged or outcome.typed or outcome.said == "", (call, turn, outcome.said)
            present = saved_runs(repository)
            if outcome.acknowledged:
                assert repository.tip() != before
                assert name in present, (call, turn)
                acknowledged.add(name)
            assert acknowledged <= present, (call, turn)
            assert server.save(f"after-{place}").acknowledged, (call, turn)
            assert server.save(name, bulk=bulk).acknowledged
            acknowledged |= {f"after-{place}", name}
    assert acknowledged <= saved_runs(repository)
    assert_sound(repository)
    folder = repository.common_dir / "objects/pack"
    assert list(folder.glob("tmp_runvault-*")) == []
    assert [keep for keep in folder.glob("*.keep") if b"runvault" in keep.read_bytes()] == []
