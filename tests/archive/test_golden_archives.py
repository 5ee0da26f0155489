"""Archives laid down by earlier generations open, with the numbers that they had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from machine import git

import runvault as rv

DATA = Path(__file__).parents[1] / "data"
GENERATIONS = sorted(path.parent.name for path in DATA.glob("*/numbers.json"))


@pytest.fixture(params=GENERATIONS)
def golden(request: pytest.FixtureRequest, repo: Path) -> tuple[rv.Vault, dict]:
    """Return an archive as it was laid down, and its numbers."""
    folder = DATA / request.param
    git(repo, "fetch", "--quiet", str(folder / "archive.bundle"), "runvault:runvault")
    rv.init(repo)
    shutil.copytree(folder / "objects", repo / ".dvc/cache/files/md5", dirs_exist_ok=True)
    return rv.open(repo), json.loads((folder / "numbers.json").read_text())["runs"]


def test_there_is_one() -> None:
    assert GENERATIONS


def test_metrics_and_annotations_are_as_they_were(golden: tuple[rv.Vault, dict]) -> None:
    vault, runs = golden

    assert {run.id for run in vault.list()} == {each["id"] for each in runs.values()}
    for name, expected in runs.items():
        run = vault.get(expected["id"])
        assert run.manifest["results_digest"] == expected["results_digest"]
        assert dict(run.metrics) == expected["metrics"]
        assert (run.strategy, list(run.tags), run.note) == (name, ["golden"], f"{name} é")


# Where the engine calls a field otherwise than the archive does.
FIELDS = {"col": "column", "idx": "bar", "entry_idx": "entry_bar", "exit_idx": "exit_bar"}


@pytest.mark.parametrize("table", ["orders", "trades"])
def test_records_are_those_of_the_engine(golden: tuple[rv.Vault, dict], table: str) -> None:
    vault, runs = golden

    for expected in runs.values():
        found = getattr(vault.get(expected["id"]), table)()
        found = found.sort_values("id") if table == "orders" else found  # stored by column; ids are the engine's order
        assert len(expected[table]["id"]) > 3
        for field, values in expected[table].items():
            assert [value.item() for value in found[FIELDS.get(field, field)].to_numpy()] == values, field


def plain(value: Any) -> float | str | None:
    """Return a statistic as `lay_down.py` writes it."""
    if pd.isna(value):
        return None
    return str(value) if isinstance(value, pd.Timestamp | pd.Timedelta) else float(value)


def test_equity_and_statistics_are_those_of_the_engine(golden: tuple[rv.Vault, dict]) -> None:
    vault, runs = golden

    for expected in runs.values():
        run = vault.get(expected["id"])
        assert list(run.equity()["value"]) == expected["equity"]
        told = {label: plain(value) for label, value in run.stats().items()}
        assert told == expected["stats"]


def test_it_is_sound(golden: tuple[rv.Vault, dict]) -> None:
    vault, _ = golden

    assert list(vault.verify().findings) == []


@pytest.mark.engine
def test_portfolios_are_rebuilt_with_the_same_equity(golden: tuple[rv.Vault, dict]) -> None:
    vault, runs = golden

    for expected in runs.values():
        run = vault.get(expected["id"])
        rebuilt = run.portfolio()
        assert list(rebuilt.value()) == pytest.approx(expected["equity"], rel=1e-12)
        assert rebuilt.total_return() == pytest.approx(expected["metrics"]["total_return"], rel=1e-12)
