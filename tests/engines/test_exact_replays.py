"""Every portfolio of the corpus, archived on each of vectorbt's backends, replays to the bit, again and again.

The short form takes a fifth of them, half of these on each backend, and each once: all of them on both take four
minutes.

A replay's child process takes seconds to import vectorbt. All but one of them are called in this process instead, on
the worktree and the job that the child would be given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import corpus
import pytest
from machine import full_counts, git

import runvault as rv
from runvault.errors import ReplayError
from runvault.execution import child
from runvault.execution.entries import forget_modules

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore"),  # vectorbt's own, as in the tests of the engine
]

ENTRY = """

def portfolio(name):
    return BUILDERS[name]()
"""
TIMES = full_counts(1, 20)
# Labels of bars and columns are nothing that a backend computes with: their names, and how they begin.
LABELS = ("index ", "hours in ", "days in ", "columns of ", "freq as ", "grouped by ", "sharing cash by ")
BACKENDS = ("rust", "numba")


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a backend vectorbt's choice, as a user's settings would."""
    import vectorbt as vbt

    before = vbt.settings["engine"]
    vbt.settings["engine"] = request.param
    yield request.param
    vbt.settings["engine"] = before


@pytest.fixture
def vault(repo: Path, engine: str) -> Iterator[rv.Vault]:
    """Return a vault whose strategy is the corpus, which names no backend of its own where it may be left out."""
    text = Path(str(corpus.__file__)).read_text(encoding="utf-8").replace('"engine": "rust", ', "")
    (repo / "strategy.py").write_text(text + ENTRY, encoding="utf-8")
    git(repo, "commit", "--quiet", "--all", "--message", "strategy: the corpus")
    before = list(sys.path)
    yield rv.init(repo)
    sys.path[:] = before
    forget_modules(repo)


def in_this_process(tree: Path, job: Path, out: Path, timeout_s: float | None) -> None:
    """Do the child's work here, from vectorbt's own choice of a backend, as the child finds it."""
    import vectorbt as vbt

    vbt.settings["engine"] = "auto"
    try:
        status = child.main(job, out)
    finally:
        forget_modules(tree)
        sys.path.remove(str(tree))
    if status:
        raise ReplayError((out / child.ERROR).read_text(encoding="utf-8"))


def names(engine: str) -> list[str]:
    every = [name for name in corpus.BUILDERS if not name.startswith(LABELS)]
    return full_counts(every[5 * BACKENDS.index(engine) :: 10], every)


@pytest.mark.faults
@pytest.mark.parametrize("engine", BACKENDS, indirect=True)
def test_every_portfolio_replays_to_the_bit(vault: rv.Vault, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = names(engine)
    swept = vault.sweep("strategy.py:portfolio", {"name": chosen}, executor="serial", portfolio=False)
    assert (swept.archived, swept.failed) == (len(chosen), [])
    runs = vault.list()
    backends = [run.manifest["environment"]["backend"] for run in runs]
    assert backends.count(engine) > 0.9 * len(runs)  # a few of the corpus say which they want

    forget_modules(Path(str(vault.stores.code.work_tree)))  # a replay refuses to run what the checkout has
    monkeypatch.setattr("runvault.execution.replay.run_child", in_this_process)
    verdicts = {}
    for run in runs:
        for turn in range(TIMES):
            verdicts[run.params["name"], turn] = vault.replay(run).verdict
    assert {each: verdict for each, verdict in verdicts.items() if verdict != "exact"} == {}


@pytest.mark.parametrize("engine", ["numba"], indirect=True)
def test_a_child_process_computes_on_the_recorded_backend(vault: rv.Vault, engine: str) -> None:
    saved = vault.run("strategy.py:portfolio", params={"name": "signals, one column"})
    assert saved.run.manifest["environment"]["backend"] == engine

    replayed = vault.replay(saved.run, seed=1).run  # a run of its own: its manifest tells of the child

    assert replayed is not None
    assert replayed.manifest["environment"]["backend"] == engine
    assert replayed.manifest["results_digest"] == saved.run.manifest["results_digest"]
