"""Runs in one file, carried to a machine without a network."""

from __future__ import annotations

import json
import re
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machine import git
from results import make_result
from team import Team, place, save, tree_of

import runvault as rv
from runvault.api.sharing import clone
from runvault.api.vault import find_vault
from runvault.cli.main import run as program
from runvault.errors import FormatError, RunNotFoundError, RunvaultError


def elsewhere(path: Path) -> Path:
    """Make a repository that knows nothing of the others."""
    path.mkdir()
    git(path, "init", "--quiet")
    git(path, "commit", "--quiet", "--allow-empty", "--message", "first")
    return path


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let nothing write beyond `size` bytes, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_bundle_of_everything_is_the_archive_with_its_past(team: Team, tmp_path: Path) -> None:
    run = save(team.ada, 0.1)
    save(team.ada, 0.2)  # a second revision
    save(team.ada, fast=11)
    done = team.ada.bundle(tmp_path / "all.runvault")
    assert (done.runs, done.objects, done.missing) == (2, 15, ())
    there = elsewhere(tmp_path / "there")
    taken = find_vault(there).unbundle(tmp_path / "all.runvault")
    assert (taken.runs_added, taken.artifacts) == (2, 15)
    vault = rv.open(there)
    assert tree_of(vault) == tree_of(team.ada)
    assert [each.metrics["total_return"] for each in vault.history(run.id)] == [0.1, 0.2]
    assert vault.get(f"{run.id}~1").equity().equals(team.ada.get(f"{run.id}~1").equity())
    assert vault.verify(artifacts=True).findings == []


@pytest.mark.parametrize("filters", [[], ["--where", "params.fast > 1"]], ids=["all", "chosen"])
def test_what_is_said_to_fetch_missing_objects_does(
    team: Team, tmp_path: Path, capfd: pytest.CaptureFixture[str], filters: list[str]
) -> None:
    team.ada.add_remote("storage", str(team.storage))
    for total_return in (0.1, 0.2):  # a push sends what the tip points to: of two revisions both only in turns
        save(team.ada, total_return)
        team.ada.push()
    clone(str(team.origin), tmp_path / "there", None, artifacts=False, data=False)
    words = ["--repo", str(tmp_path / "there"), "bundle", str(tmp_path / "some.runvault"), *filters, "--json"]
    assert program(words) == 0

    printed = capfd.readouterr()
    assert json.loads(printed.out)["missing"]
    said = re.findall(r"'runvault (.*)' fetches", printed.err)[0]
    assert program([*words[:2], *said.split()]) == 0
    capfd.readouterr()
    assert program(words) == 0
    assert json.loads(capfd.readouterr().out)["missing"] == []


def test_chosen_runs_go_alone_with_their_data_and_their_code(team: Team, tmp_path: Path) -> None:
    repo = place(team.ada)
    (repo / "prices.csv").write_text("day,close\n2020-01-01,100\n")
    tests = Path(__file__).parents[1]
    (repo / "entry.py").write_text(
        f"import sys\nsys.path.insert(0, {str(tests)!r})\nfrom results import make_result\n"
        "def backtest(prices, fast: int):\n    return make_result(fast / 10)\n"
    )
    (repo / ".gitignore").write_text("/prices.csv\n")
    ran = team.ada.run("entry.py:backtest", data={"prices": repo / "prices.csv"}, params={"fast": 3})
    save(team.ada, fast=11)
    done = team.ada.bundle(tmp_path / "some.runvault", where="params.fast == 3")
    assert (done.runs, done.objects) == (1, 6)
    there = elsewhere(tmp_path / "there")
    find_vault(there).unbundle(tmp_path / "some.runvault")
    vault = rv.open(there)
    [run] = vault.list()
    assert run.id == ran.run.id
    assert git(there, "cat-file", "-t", run.code["commit"]).strip() == "commit"
    assert vault.replay(run, trust_code=True).verdict == "exact"
    assert git(repo, "for-each-ref", "refs/runvault/bundle") == ""
    # Into an archive that has other runs: they meet.
    mine = save(vault, fast=20)
    assert {each.id for each in vault.list()} == {run.id, mine.id}
    assert team.ada.bundle(tmp_path / "again.runvault", where="params.fast == 3").runs == 1
    assert vault.unbundle(tmp_path / "again.runvault").runs_added == 0


def test_a_bundle_that_was_taken_keeps_nothing(team: Team, tmp_path: Path) -> None:
    run = save(team.ada)
    team.ada.bundle(tmp_path / "all.runvault")
    there = elsewhere(tmp_path / "there")
    vault = find_vault(there)
    vault.unbundle(tmp_path / "all.runvault")  # by a process that goes on
    vault.remove(run.id)
    assert set(vault.gc().removed) == {entry["md5"] for entry in run.artifacts.values()}


@pytest.mark.parametrize("how", ["pull", "unbundle"])
def test_a_disk_that_takes_no_more_is_not_what_the_objects_come_from(team: Team, tmp_path: Path, how: str) -> None:
    result = make_result(dump=b"x" * 500_000)
    run = team.ada.save(result, strategy="large").run
    team.ada.push()
    file = tmp_path / "all.runvault"
    team.ada.bundle(file)
    clone(str(team.origin), tmp_path / "Grace", None, artifacts=False, data=False)
    grace = rv.open(tmp_path / "Grace")
    take = grace.pull if how == "pull" else lambda: grace.unbundle(file)
    with largest_file(400_000), pytest.raises(RunvaultError, match="cannot store objects: File too large"):
        take()
    assert not grace.stores.objects.has(run.artifacts["portfolio.pkl"]["md5"])
    take()
    assert grace.stores.objects.has(run.artifacts["portfolio.pkl"]["md5"])


def test_no_run_to_bundle_is_an_error(team: Team, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="no run answers"):
        team.ada.bundle(tmp_path / "none.runvault", strategy="nothing")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "files/md5/zz/0", "extra.txt"])
def test_a_file_with_anything_else_in_it_is_no_bundle(team: Team, tmp_path: Path, name: str) -> None:
    save(team.ada)
    path = tmp_path / "forged.runvault"
    team.ada.bundle(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    there = elsewhere(tmp_path / "there")
    with pytest.raises(FormatError, match="is no bundle of runvault: it holds"):
        find_vault(there).unbundle(path)
    assert git(there, "branch", "--list", "runvault") == ""


def test_an_object_that_is_not_what_its_name_says_is_not_taken(team: Team, tmp_path: Path) -> None:
    run = save(team.ada)
    whole, forged = tmp_path / "whole.runvault", tmp_path / "forged.runvault"
    team.ada.bundle(whole)
    md5 = run.artifacts["equity.parquet"]["md5"]
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(forged, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            target.writestr(info.filename, b"forged" if info.filename.endswith(md5[2:]) else content)
    there = elsewhere(tmp_path / "there")
    taken = find_vault(there).unbundle(forged)
    assert list(taken.failed or {}) == [md5]
    assert not rv.open(there).stores.objects.has(md5)
    assert (taken.runs_added, taken.artifacts) == (1, 4)


def test_no_zip_and_no_file_are_errors(team: Team, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FormatError, match="is no bundle of runvault") as caught:
        team.ada.unbundle(tmp_path / "text")
    assert "runvault bundle FILE" in str(caught.value.hint)  # the archive here has nothing to do with it
