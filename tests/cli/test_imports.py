"""Nothing heavy is imported before it is needed: a listing must not pay for a backtest engine."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import runvault as rv
from runvault.cli.main import MODULES

HEAVY = ("vectorbt", "pandas", "numba", "dvc", "dvc_data", "pyarrow", "pydantic", "pygit2", "git", "plotly", "rich")

LISTING = [
    ["--help"],
    ["list"],
    ["list", "--json", "--where", "sharpe_ratio > 0.1", "--sort", "-total_return"],
    ["list", "--format", "csv"],
    ["best"],
    ["has", "latest"],
    ["log"],
    ["log", "latest"],
    ["config"],
    ["stale"],
    ["show", "latest"],
    ["show", "latest", "--format", "md"],
]


def imported_by(repo: Path, args: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules_of(repo, args)}


def modules_of(repo: Path, args: list[str]) -> set[str]:
    code = (
        "import sys; from runvault.cli.main import run; status = run(sys.argv[1:]);"
        "print(*sorted(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=repo, env=os.environ.copy(), capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("args", LISTING, ids=" ".join)
def test_listing_commands_import_nothing_heavy(repo: Path, runs: list[rv.Run], args: list[str]) -> None:
    assert imported_by(repo, args).isdisjoint(HEAVY)


def test_comparing_runs_imports_no_engine_and_no_dvc(repo: Path, runs: list[rv.Run]) -> None:
    assert imported_by(repo, ["compare", "latest", "latest-1"]).isdisjoint(set(HEAVY) - {"pydantic"})


@pytest.mark.parametrize(("args", "module"), [(["list"], "reading"), (["note", "latest", "again"], "changing")])
def test_a_command_imports_no_other_commands(repo: Path, runs: list[rv.Run], args: list[str], module: str) -> None:
    assert modules_of(repo, args) & {f"runvault.cli.{each}" for each in MODULES} == {f"runvault.cli.{module}"}


def test_every_module_has_the_commands_that_it_is_asked_for() -> None:
    named = {each: {command.name for command in import_module(f"runvault.cli.{each}").COMMANDS} for each in MODULES}

    assert named == {each: set(names) for each, names in MODULES.items()}
    assert len({name for names in MODULES.values() for name in names}) == sum(map(len, MODULES.values()))


def test_a_diff_of_saved_tables_imports_no_engine(repo: Path, runs: list[rv.Run]) -> None:
    assert imported_by(repo, ["diff", "latest", "latest-1"]).isdisjoint({"vectorbt", "pandas", "numba", "pygit2"})


def test_importing_runvault_imports_nothing_heavy() -> None:
    code = "import sys, runvault; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()).isdisjoint({*HEAVY, "click", "numpy", "orjson"})
