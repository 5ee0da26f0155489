"""Shells complete run ids, aliases, strategies, tags and metrics."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runvault as rv


def completed(repo: Path, *words: str) -> list[str]:
    """Return what bash would offer for the last of `words`."""
    environment = {
        **os.environ,
        "_RUNVAULT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "runvault.cli.main"],
        cwd=repo,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_run_ids_and_aliases_complete(repo: Path, vault: rv.Vault, runs: list[rv.Run]) -> None:
    vault.alias("golden", runs[0])

    assert completed(repo, "runvault", "show", runs[1].id[:6]) == [runs[1].short_id]
    assert completed(repo, "runvault", "show", runs[1].id[:20]) == [runs[1].id]
    assert completed(repo, "runvault", "diff", "gol") == ["golden"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["list", "--strategy", "dual"], ["dual_sma"]),
        (["list", "--tag", "t1"], ["t10", "t11"]),
        (["best", "--metric", "sharpe"], ["sharpe_ratio"]),
        (["list", "--sort", "sharpe"], ["sharpe_ratio"]),
        (["list", "--columns", "id,params.f"], ["id,params.fast"]),
        (["save", "pf.pkl", "--strategy", "dual"], ["dual_sma"]),
        (["run", "strategy.py:backtest", "--tag", "t1"], ["t10", "t11"]),
        (["rest"], ["restore"]),
    ],
)
def test_names_complete(repo: Path, runs: list[rv.Run], words: list[str], offered: list[str]) -> None:
    assert completed(repo, "runvault", *words) == offered


def test_outside_an_archive_nothing_is_offered_and_nothing_is_said(tmp_path: Path) -> None:
    assert completed(tmp_path, "runvault", "show", "3f") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str, tmp_path: Path) -> None:
    environment = {**os.environ, "_RUNVAULT_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-m", "runvault.cli.main"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    if shell == "bash" and not done.stdout:
        pytest.skip("this machine's bash is too old for completion")
    assert "_RUNVAULT_COMPLETE" in done.stdout
