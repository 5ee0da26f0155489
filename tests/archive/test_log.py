"""The archive's log: which runs each commit is about, at the price of two processes."""

from __future__ import annotations

import sys

import pytest
from results import make_result, make_sweep

import runvault as rv
from runvault.stores.git import reading


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each git that the reader starts."""
    names: list[str] = []
    start = reading.start_git

    def noting(args, **options):
        names.append(next(word for word in args if word in ("log", "cat-file", "diff-tree", "ls-tree")))
        return start(args, **options)

    monkeypatch.setattr(reading, "start_git", noting)
    return names


@pytest.mark.parametrize("loaded", [False, True], ids=["program", "library"])
def test_each_commit_names_its_runs_and_a_log_of_many_sweeps_takes_two_processes(
    vault: rv.Vault, started: list[str], monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    sweeps = [vault.save_sweep(make_sweep([0.1, 0.2], fast=[n, n + 1]), strategy="s") for n in (1, 3, 5)]
    single = vault.save(make_result(0.1), strategy="s", params={"fast": 7})
    vault.tag(single.id, add=["golden"])
    if not loaded:
        monkeypatch.delitem(sys.modules, "pygit2")  # as in a process that saves nothing
    started.clear()
    commits = vault.log()

    assert [commit["kind"] for commit in commits] == ["annotate", "save", "sweep", "sweep", "sweep", None]
    assert [sorted(commit["runs"]) for commit in commits] == [
        [single.id],
        [single.id],
        *(sorted(saved.id for saved in sweep) for sweep in reversed(sweeps)),
        [],
    ]
    assert started == (["log"] if loaded else ["log", "cat-file"])
    started.clear()
    assert [commit["subject"] for commit in vault.log(runs=False)] == [commit["subject"] for commit in commits]
    assert started == ["log"]


def test_the_log_ends_where_it_is_told_to(vault: rv.Vault) -> None:
    for n in (1, 3, 5):
        vault.save_sweep(make_sweep([0.1, 0.2], fast=[n, n + 1]), strategy="s")

    assert [len(commit["runs"]) for commit in vault.log(2)] == [2, 2]
    assert vault.log(0) == []
