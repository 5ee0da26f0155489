"""Archives laid down by earlier generations open, with the numbers that they had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

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


def test_numbers_and_tables_are_as_they_were(golden: tuple[rv.Vault, dict]) -> None:
    vault, runs = golden

    assert {run.id for run in vault.list()} == {each["id"] for each in runs.values()}
    for name, expected in runs.items():
        run = vault.get(expected["id"])
        assert run.manifest["results_digest"] == expected["results_digest"]
        assert dict(run.metrics) == expected["metrics"]
        assert list(run.equity()["value"]) == expected["tables"]["equity"]
        assert list(run.orders()["size"]) == expected["tables"]["orders"]
        assert (run.strategy, list(run.tags), run.note) == (name, ["golden"], f"{name} é")


def test_it_is_sound(golden: tuple[rv.Vault, dict]) -> None:
    vault, _ = golden

    assert list(vault.verify().findings) == []


@pytest.mark.engine
def test_portfolios_are_rebuilt_with_the_same_equity(golden: tuple[rv.Vault, dict]) -> None:
    vault, runs = golden

    for expected in runs.values():
        run = vault.get(expected["id"])
        rebuilt = run.portfolio()
        assert list(rebuilt.value()) == pytest.approx(expected["tables"]["equity"], rel=1e-12)
        assert rebuilt.total_return() == pytest.approx(expected["metrics"]["total_return"], rel=1e-12)
