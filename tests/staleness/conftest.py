from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import git

import runvault as rv

STRATEGY = """\
from results import make_result

import helper


def backtest(prices, gain: float = 0.1, seed: int = 0):
    return make_result(gain * helper.FACTOR)
"""


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a strategy imports: another test's repository has modules of the same names."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("strategy", "helper"):
        sys.modules.pop(name, None)


@pytest.fixture
def vault(repo: Path) -> rv.Vault:
    """An archive in a repository with a strategy, a module that it imports and a file of prices."""
    (repo / "strategy.py").write_text(STRATEGY)
    (repo / "helper.py").write_text("FACTOR = 1.0\n")
    (repo / "unused.py").write_text("")
    (repo / "prices.csv").write_text("close\n1.0\n2.0\n")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "strategy: a helper")
    return rv.init(repo)
