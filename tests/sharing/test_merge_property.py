"""Whoever merges first: any interleaving of saves, annotations and removals ends in one tree and loses nothing.

The model is a set of things said of runs. A removal takes back what its author had seen; a merge is the union. A run is
there if something said of it was not taken back.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import FULL_COUNTS, git
from results import make_result

import runvault as rv
from runvault.errors import RunNotFoundError

PEOPLE = ("ada", "grace", "mary")
RUNS = 3

_who = st.sampled_from(PEOPLE)
_run = st.integers(0, RUNS - 1)
_action = st.one_of(
    st.tuples(st.just("save"), _who, _run, st.integers(1, 3)),
    st.tuples(st.just("tag"), _who, _run, st.integers(1, 3)),
    st.tuples(st.just("note"), _who, _run, st.integers(1, 3)),
    st.tuples(st.just("remove"), _who, _run, st.just(0)),
    st.tuples(st.just("merge"), _who, _run, st.integers(1, 2)),
)


@dataclass
class Knowledge:
    """What one person has seen: what was said of runs, and what of it was taken back."""

    said: set[tuple[int, int, str]] = field(default_factory=set)  # number, run, tag or note or ""
    taken_back: set[tuple[int, int, str]] = field(default_factory=set)

    def alive(self) -> set[int]:
        return {run for _, run, _ in self.said - self.taken_back}

    def learn(self, other: Knowledge) -> None:
        self.said |= other.said
        self.taken_back |= other.taken_back

    def words(self, run: int) -> set[str]:
        return {text for _, of, text in self.said - self.taken_back if of == run and text}


class World:
    """Three archives as branches of one repository, and the model beside them."""

    def __init__(self, path: Path) -> None:
        git(path, "init", "--quiet", "--initial-branch=main")
        git(path, "commit", "--quiet", "--allow-empty", "--message", "first")
        self.path = path
        self.vaults = {name: rv.init(path, branch=name) for name in PEOPLE}
        self.known = {name: Knowledge() for name in PEOPLE}
        self.ids: dict[int, str] = {}
        self.counter = itertools.count()

    def do(self, action: tuple[str, str, int, int]) -> None:
        kind, who, run, number = action
        vault, known = self.vaults[who], self.known[who]
        event = (next(self.counter), run, "")
        if kind == "merge":
            other = PEOPLE[(PEOPLE.index(who) + number) % 3]
            vault.merge(other)
            known.learn(self.known[other])
        elif kind == "save":
            saved = vault.save(make_result(number / 10), strategy="s", params={"n": run})
            self.ids[run] = saved.run.id
            if saved.created:
                known.said.add(event)
        elif run in known.alive():
            if kind == "tag":
                tag = f"{who}-{number}"
                if tag not in vault.get(self.ids[run]).tags:
                    vault.tag(self.ids[run], add=[tag])
                    known.said.add((*event[:2], tag))
            elif kind == "note":
                text = f"note {number} of {who}"
                if text not in vault.get(self.ids[run]).note:
                    vault.note(self.ids[run], text)
                    known.said.add((*event[:2], text))
            else:
                vault.remove(self.ids[run])
                known.taken_back |= {each for each in known.said if each[1] == run}

    def check(self, branch: str, known: Knowledge) -> None:
        vault = rv.open(self.path, branch=branch)
        assert {run.params["n"] for run in vault.list()} == known.alive()
        for number in known.alive():
            run = vault.get(self.ids[number])
            assert known.words(number) <= {*run.tags, *run.note.splitlines()}

    def tree_of(self, branch: str) -> str:
        return git(self.path, "rev-parse", f"{branch}^{{tree}}").strip()


@settings(
    max_examples=150 if FULL_COUNTS else 12,
    deadline=None,
    derandomize=not FULL_COUNTS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(_action, min_size=4, max_size=18))
def test_any_order_ends_in_one_tree_and_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, int, int]]
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        world = World(Path(folder))
        for action in actions:
            world.do(action)
        for name in PEOPLE:
            world.check(name, world.known[name])
        together = Knowledge()
        for name in PEOPLE:
            together.learn(world.known[name])
        trees = set()
        for number, order in enumerate(itertools.permutations(PEOPLE)):
            one = f"left-{number}"
            git(world.path, "branch", one, order[0])
            vault = rv.open(world.path, branch=one)
            vault.merge(order[1])
            vault.merge(order[2])
            world.check(one, together)
            trees.add(world.tree_of(one))
        # (a + b) + c is a + (b + c), and again changes nothing
        git(world.path, "branch", "inner", "grace")
        rv.open(world.path, branch="inner").merge("mary")
        git(world.path, "branch", "outer", "ada")
        outer = rv.open(world.path, branch="outer")
        outer.merge("inner")
        trees.add(world.tree_of("outer"))
        for name in ("left-0", "left-5", "inner", *PEOPLE):
            outer.merge(name)
        trees.add(world.tree_of("outer"))
        assert len(trees) == 1
        git(world.path, "fsck", "--strict")


def test_a_removal_that_saw_all_that_was_said_wins_over_nothing_new(tmp_path: Path) -> None:
    """Two removals, each of which saw one half, take the whole; whoever merges them first."""
    world = World(tmp_path)
    world.do(("save", "ada", 0, 1))
    for who in ("grace", "mary"):
        world.do(("merge", who, 0, 3 - PEOPLE.index(who)))
    world.do(("tag", "grace", 0, 1))
    world.do(("tag", "mary", 0, 1))
    world.do(("merge", "ada", 0, 1))
    world.do(("merge", "ada", 0, 2))
    assert len(world.vaults["ada"].get(world.ids[0]).tags) == 2
    world.do(("remove", "grace", 0, 0))
    world.do(("remove", "mary", 0, 0))
    world.do(("merge", "ada", 0, 1))
    world.check("ada", world.known["ada"])
    assert len(world.vaults["ada"].list()) == 1
    world.do(("merge", "ada", 0, 2))
    world.check("ada", world.known["ada"])
    assert len(world.vaults["ada"].list()) == 0
    with pytest.raises(RunNotFoundError):
        world.vaults["ada"].get(world.ids[0])
