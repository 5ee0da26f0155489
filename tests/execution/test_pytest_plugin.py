"""The pytest fixtures, in a pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from machine import git

import runvault as rv

pytest_plugins = "pytester"

STRATEGY = """
import os
import pandas as pd
import vectorbt as vbt

def hold(cash, moving=False):
    last = 130.0 + (int.from_bytes(os.urandom(4)) if moving else 0)
    prices = pd.Series([100.0, 120.0, 90.0, last], pd.date_range("2024-01-01", periods=4))
    return vbt.Portfolio.from_holding(prices, init_cash=cash, freq="1D", engine="rust")
"""

TESTS = f"""
import pytest

STRATEGY = {STRATEGY!r}

@pytest.fixture
def vault(runvault_vault):
    (runvault_vault.stores.repository.work_tree / "hold.py").write_text(STRATEGY)
    return runvault_vault

def test_it_replays(vault, assert_replays):
    saved = vault.run("hold.py:hold", params={{"cash": 100.0}})
    assert vault.author.email == "test@example.org"
    assert assert_replays(saved).ok
    assert_replays(saved.run, exact=True)

def test_it_drifts(vault, assert_replays):
    saved = vault.run("hold.py:hold", params={{"cash": 100.0, "moving": True}})
    assert_replays(saved)

def test_it_has_no_recipe(vault, assert_replays):
    import vectorbt as vbt
    import sys
    sys.path.insert(0, str(vault.stores.repository.work_tree))
    from hold import hold
    saved = vault.save(hold(100.0), strategy="hold")
    assert_replays(saved.run)

def test_it_is_not_there(vault, assert_replays):
    assert_replays("beef0000", vault=vault)
"""


@pytest.mark.engine
def test_a_replay_is_an_assertion(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)

    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")

    done.assert_outcomes(passed=1, failed=3)
    done.stdout.re_match_lines_random(
        [
            r"E +Failed: [0-9a-f]{8}-0: drift \(other numbers came out\)",
            r"E +total_return .*",
            r"E +Failed: .*was saved without a recipe.*",
            r"E +Failed: beef0000 cannot be replayed: no run starts with .*",
            r"E +hint: .*",
        ]
    )
    shown = done.stdout.str().partition("FAILURES")[2]
    assert shown.count(">       assert_replays(") == 3  # the line of each test that failed
    assert not re.search(r"runvault/\w+/|pytest_plugin", shown)  # and none of ours


HERE = """
def test_here(vault_here):
    assert vault_here.count() == 0
"""


def test_the_archive_of_the_project(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(HERE)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(skipped=1)

    git(pytester.path, "init", "--quiet")
    rv.init(pytester.path)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, runvault.pytest_plugin; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    heavy = {"vectorbt", "pandas", "numpy", "numba", "dvc", "pyarrow", "pydantic", "pygit2", "click", "orjson"}
    assert set(done.stdout.split()).isdisjoint(heavy)
