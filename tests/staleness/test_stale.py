"""`stale`: runs whose code or data differ from the working tree, told without running anything."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from machine import git
from results import make_result

import runvault as rv
from runvault.cli.main import run as program
from runvault.execution import stale
from runvault.stores.dvc import ObjectStore


def ran(vault: rv.Vault, repo: Path, gain: float = 0.1, **said: Any) -> str:
    said = {"data": {"prices": repo / "prices.csv"}, "strategy": "s", **said}
    return vault.run(f"{repo}/strategy.py:backtest", params={"gain": gain}, **said).id


def document(vault: rv.Vault, **filters: Any) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = vault.stale(**filters).to_dict()["runs"]
    return runs


def test_a_run_of_the_present_code_and_data_is_not_stale(vault: rv.Vault, repo: Path) -> None:
    ran(vault, repo)

    assert document(vault) == []


def test_changed_code_is_named_by_the_files_that_were_imported(vault: rv.Vault, repo: Path) -> None:
    run = ran(vault, repo)
    (repo / "helper.py").write_text("FACTOR = 2.0\n")
    (repo / "unused.py").write_text("X = 1\n")

    assert document(vault) == [{"run": run, "code": ["helper.py"], "data": []}]


def test_code_that_is_gone_differs_and_code_put_back_does_not(vault: rv.Vault, repo: Path) -> None:
    run = ran(vault, repo)
    (repo / "helper.py").rename(repo / "elsewhere.py")
    gone = document(vault)
    (repo / "elsewhere.py").rename(repo / "helper.py")

    assert gone == [{"run": run, "code": ["helper.py"], "data": []}]
    assert document(vault) == []


def test_changed_and_missing_data_is_named_by_its_argument(vault: rv.Vault, repo: Path) -> None:
    run = ran(vault, repo)
    (repo / "prices.csv").write_text("close\n1.0\n3.0\n")
    changed = document(vault)
    (repo / "prices.csv").unlink()

    assert changed == document(vault) == [{"run": run, "code": [], "data": ["prices"]}]


def test_data_outside_of_the_repository_is_looked_at_where_it_was(vault: rv.Vault, repo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("close\n1.0\n")
    ran(vault, repo, data={"prices": outside})
    before = document(vault)
    outside.write_text("close\n5.0\n")

    assert (before, [each["data"] for each in document(vault)]) == ([], [["prices"]])


def test_a_folder_is_compared_by_its_listing_and_nothing_is_stored(vault: rv.Vault, repo: Path) -> None:
    folder = repo / "ticks"
    folder.mkdir()
    (folder / "a.txt").write_text("1")
    (folder / "b.txt").write_text("2")
    ran(vault, repo, data={"prices": folder})
    before = document(vault)
    (folder / "b.txt").write_text("never stored")
    stored = objects(vault)

    assert before == []
    assert [each["data"] for each in document(vault)] == [["prices"]]
    assert objects(vault) == stored


def objects(vault: rv.Vault) -> set[Path]:
    places = (vault.stores.objects.keep, vault.stores.objects.cache)
    return {path for place in places if place is not None for path in place.rglob("*")}


def test_a_folder_where_a_file_was_differs(vault: rv.Vault, repo: Path) -> None:
    ran(vault, repo)
    (repo / "prices.csv").unlink()
    (repo / "prices.csv").mkdir()

    assert [each["data"] for each in document(vault)] == [["prices"]]


def test_inputs_passed_in_memory_are_not_compared(vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    monkeypatch.chdir(repo)
    monkeypatch.syspath_prepend(str(repo))
    sys.modules.pop("strategy", None)
    sys.modules.pop("helper", None)
    import strategy

    recorded = rv.record(strategy="s")(strategy.backtest)
    recorded(pd.DataFrame({"close": [1.0, 2.0]}))
    (run,) = vault.list()

    assert [each["path"] for each in run.manifest["recipe"]["inputs"].values()] == [""]
    assert vault.stale().runs == []


def test_runs_without_a_recipe_are_counted_and_left_out(vault: rv.Vault, repo: Path) -> None:
    vault.save(make_result(0.3), strategy="saved")
    ran(vault, repo)
    (repo / "helper.py").unlink()

    found = vault.stale()

    assert (len(found.runs), found.without_recipe) == (1, 1)


def test_a_recipe_that_reaches_out_of_the_repository_is_not_followed(
    vault: rv.Vault, repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.py").write_text("")
    now = stale._Now(vault.stores, repo)

    assert now.changed_code({"../secret.py": "x", str(tmp_path / "secret.py"): "x"}) == [
        "../secret.py",
        str(tmp_path / "secret.py"),
    ]
    assert now._blob("../secret.py") is None


def test_the_filters_of_list_choose_the_runs_in_its_order(vault: rv.Vault, repo: Path) -> None:
    first, second = ran(vault, repo, 0.1), ran(vault, repo, 0.2, tags=["golden"])
    (repo / "helper.py").unlink()

    assert [each["run"] for each in document(vault)] == [second, first]
    assert [each["run"] for each in document(vault, tags=["golden"])] == [second]
    assert [each["run"] for each in document(vault, where="params.gain < 0.15")] == [first]


def test_each_path_is_hashed_once_whatever_the_number_of_runs(
    vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        ran(vault, repo, 0.1 + number)
    hashed: list[Path] = []
    blob_of, name_of = stale.blob_of_file, ObjectStore.name_of
    monkeypatch.setattr(stale, "blob_of_file", lambda path: hashed.append(path) or blob_of(path))
    monkeypatch.setattr(ObjectStore, "name_of", lambda self, path: hashed.append(path) or name_of(self, path))

    assert document(vault) == []
    assert sorted(path.name for path in hashed) == ["helper.py", "prices.csv", "strategy.py"]


def test_nothing_is_run_or_imported(vault: rv.Vault, repo: Path) -> None:
    ran(vault, repo)
    (repo / "helper.py").write_text("raise SystemExit('imported')\n")
    sys.modules.pop("helper", None)

    assert len(document(vault)) == 1
    assert "helper" not in sys.modules


def test_a_bare_repository_has_nothing_to_compare_with(vault: rv.Vault, repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")

    with pytest.raises(rv.VaultNotFoundError, match="bare repository"):
        rv.open(tmp_path / "bare.git", read_only=True).stale()


@pytest.mark.parametrize("form", ["table", "json", "csv", "md"])
def test_the_command_prints_every_format_and_ends_with_0(
    vault: rv.Vault, repo: Path, capfd: pytest.CaptureFixture[str], form: str
) -> None:
    run = ran(vault, repo)
    vault.save(make_result(0.3), strategy="saved")
    (repo / "helper.py").unlink()
    (repo / "prices.csv").unlink()
    capfd.readouterr()

    status = program(["--repo", str(repo), "stale", "--format", form])
    out, err = capfd.readouterr()

    assert status == 0
    assert "1 run(s) without a recipe" in err
    if form == "json":
        assert json.loads(out) == {"runs": [{"run": run, "code": ["helper.py"], "data": ["prices"]}]}
    elif form == "csv":
        assert list(csv.reader(out.splitlines())) == [["run", "code", "data"], [run, "helper.py", "prices"]]
    else:
        assert run[:8] in out
        assert "helper.py" in out
        assert out.startswith("|") == (form == "md")


def test_the_command_says_so_where_nothing_differs(
    vault: rv.Vault, repo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran(vault, repo)
    capfd.readouterr()

    assert program(["--repo", str(repo), "stale", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"runs": []}
    assert "no run differs" in err
