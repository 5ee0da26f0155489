"""A damaged index of packs is an error of ours, whatever libgit2 would do with it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from machine import full_counts, git
from results import make_result

import runvault as rv
from runvault.stores.git import summed
from runvault.stores.git.objects import object_reader


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


@pytest.mark.parametrize("of", ["a pack", "many packs"])
def test_no_flipped_bit_of_an_index_reaches_libgit2(index: Path, repo: Path, of: str) -> None:
    if of == "many packs":
        git(repo, "multi-pack-index", "write")
        index = index.with_name("multi-pack-index")
        index.chmod(0o644)
    sound = index.read_bytes()
    for bit in random.Random(4).sample(range(8 * len(sound)), full_counts(200, 8 * len(sound))):
        changed = bytearray(sound)
        changed[bit // 8] ^= 1 << bit % 8
        index.write_bytes(changed)
        with pytest.raises(rv.IntegrityError, match=f"objects/pack/{index.name} is damaged"):
            object_reader(repo / ".git")
    index.write_bytes(sound)
    names = git(repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    assert object_reader(repo / ".git")(names).keys() == set(names)


def test_a_save_over_a_damaged_index_is_refused_until_it_is_repaired(index: Path, repo: Path) -> None:
    content = bytearray(index.read_bytes())
    content[-60] ^= 0x10  # in the last place
    index.write_bytes(content)
    with pytest.raises(rv.IntegrityError, match="is damaged"):
        rv.open(repo).save(make_result(0.7), strategy="s", params={"n": 7})
    vault = rv.open(repo, read_only=True)
    assert vault.verify(repair=True).findings == []
    assert rv.open(repo).save(make_result(0.7), strategy="s", params={"n": 7}).created


def test_an_index_is_summed_once(index: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def sum_of(path: Path) -> bool:
        asked.append(path)
        return True

    monkeypatch.setattr(summed, "ends_in_own_sum", sum_of)
    for _ in range(3):
        summed.refuse_damaged_indexes(repo / ".git")
    assert asked == [index]
    index.write_bytes(index.read_bytes() + b"\0")
    summed.refuse_damaged_indexes(repo / ".git")
    assert asked == [index, index]
