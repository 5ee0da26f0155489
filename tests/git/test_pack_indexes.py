"""A damaged index of a pack is an error of ours, whatever libgit2 would do with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import full_counts, git
from results import make_result

import runvault as rv
from runvault.stores.git import indexes
from runvault.stores.git.indexes import refuse_wild_indexes

READ_ALL = """
import os, random, sys
from pathlib import Path
from runvault.errors import IntegrityError
from runvault.stores.git.indexes import refuse_wild_indexes
from runvault.stores.git.objects import object_reader
index, wanted, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
common_dir = index.parents[2]
sound = index.read_bytes()
if index.suffix:
    first, size = 8 + 4 * 256 + 24 * len(names), 4 * len(names)
else:
    first, size = len(sound) - 20 - 8 * len(names), 8 * len(names)
refused = ended = 0
for bit in random.Random(4).sample(range(8 * first, 8 * (first + size)), wanted):
    changed = bytearray(sound)
    changed[bit // 8] ^= 1 << bit % 8
    index.write_bytes(changed)
    child = os.fork()
    if not child:
        try:
            object_reader(common_dir)(names)
        except IntegrityError:
            os._exit(3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    refused += status == 3 << 8
    ended += os.WIFSIGNALED(status)
print(refused, ended)
"""


@pytest.fixture
def index(repo: Path) -> Path:
    """Return the index of a pack that holds the whole archive; it may be written."""
    vault = rv.init(repo)
    for number in range(3):
        vault.save(make_result(0.1 * number), strategy="s", params={"n": number})
    git(repo, "repack", "--quiet", "-a", "-d")
    git(repo, "prune-packed", "--quiet")
    [path] = (repo / ".git/objects/pack").glob("*.idx")
    path.chmod(0o644)
    return path


def place_of_the_places(index: Path) -> tuple[int, int]:
    content = index.read_bytes()
    count = int.from_bytes(content[1028:1032], "big")
    return 1032 + 24 * count, count


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("of", ["a pack", "many packs"])
def test_no_flipped_bit_of_a_place_ends_the_process(index: Path, repo: Path, of: str) -> None:
    if of == "many packs":
        git(repo, "multi-pack-index", "write")
        index = index.with_name("multi-pack-index")
        index.chmod(0o644)
        assert index.read_bytes()[6] == 4, "no long places"
    names = git(repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    flips = full_counts(80, 1000)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(index), str(flips), *names], capture_output=True, text=True, check=True
    )
    refused, ended = map(int, done.stdout.split())
    assert ended == 0
    assert refused > flips // 5


@pytest.mark.parametrize("counting", ["numpy", "array"])
def test_a_save_over_a_wild_index_is_refused_until_it_is_repaired(
    index: Path, repo: Path, monkeypatch: pytest.MonkeyPatch, counting: str
) -> None:
    if counting == "array":
        monkeypatch.delitem(sys.modules, "numpy")
    first, _ = place_of_the_places(index)
    content = bytearray(index.read_bytes())
    content[first] ^= 0x10
    index.write_bytes(content)
    with pytest.raises(rv.IntegrityError, match=r"pack-[0-9a-f]{40}\.idx is damaged"):
        refuse_wild_indexes(repo / ".git")
    monkeypatch.undo()
    with pytest.raises(rv.IntegrityError, match="is damaged"):
        rv.open(repo).save(make_result(0.7), strategy="s", params={"n": 7})
    vault = rv.open(repo, read_only=True)
    assert vault.verify(repair=True).findings == []
    assert rv.open(repo).save(make_result(0.7), strategy="s", params={"n": 7}).created


def test_long_places_are_looked_at_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a pack beyond 2 GB: a hole of a file stands in for it."""
    pack = tmp_path / "objects/pack/pack-1.pack"
    pack.parent.mkdir(parents=True)
    with pack.open("wb") as file:
        file.truncate(5 << 30)
    count = 2
    fan_out = b"\0\0\0\0" * 255 + count.to_bytes(4, "big")
    head = b"\377tOc\0\0\0\2" + fan_out + bytes(24 * count) + (100).to_bytes(4, "big") + (1 << 31).to_bytes(4, "big")
    for counting in ("numpy", "array"):
        if counting == "array":
            monkeypatch.delitem(sys.modules, "numpy")
        pack.with_suffix(".idx").write_bytes(head + (4 << 30).to_bytes(8, "big") + bytes(40))
        refuse_wild_indexes(tmp_path)
        pack.with_suffix(".idx").write_bytes(head + (6 << 30).to_bytes(8, "big") + bytes(40))
        with pytest.raises(rv.IntegrityError):
            refuse_wild_indexes(tmp_path)
        pack.with_suffix(".idx").unlink()


def test_what_was_looked_at_costs_a_save_next_to_nothing(index: Path, repo: Path) -> None:
    refuse_wild_indexes(repo / ".git")
    assert index.stat().st_ino in {inode for inode, _, _ in indexes._seen.values()}
    begun = time.perf_counter()
    for _ in range(100):
        refuse_wild_indexes(repo / ".git")
    assert (time.perf_counter() - begun) / 100 < 0.001
