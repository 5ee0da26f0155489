"""A sweep: one commit, shared tables, a run a column."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import git
from results import make_sweep

import runvault as rv


def test_a_sweep_is_one_commit_and_a_run_a_column(vault: rv.Vault, repo: Path) -> None:
    saved = vault.save_sweep(make_sweep([0.1, 0.2, 0.3], fast=[5, 10, 20]), strategy="s", params={"slow": 50})

    assert (len(saved), saved.created) == (3, 3)
    assert [each.run.params for each in saved] == [{"fast": fast, "slow": 50} for fast in (5, 10, 20)]
    assert [each.run.metrics["total_return"] for each in saved] == [0.1, 0.2, 0.3]
    assert git(repo, "rev-list", "--count", vault.branch).strip() == "2"
    assert len({each.run.artifacts["orders.parquet"]["md5"] for each in saved}) == 1
    assert len({each.run.lineage["sweep"] for each in saved}) == 1
    assert [each.run.manifest["artifacts"]["orders.parquet"]["column"] for each in saved] == [0, 1, 2]


def test_the_orders_of_a_column_are_its_own(vault: rv.Vault) -> None:
    saved = vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s")

    assert saved[1].run.orders()["column"].unique().tolist() == [1]


def test_a_sweep_saved_again_writes_nothing(vault: rv.Vault, repo: Path) -> None:
    vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s")
    tip = git(repo, "rev-parse", vault.branch)
    again = vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s")

    assert again.created == 0
    assert git(repo, "rev-parse", vault.branch) == tip


def test_a_sweep_adds_what_is_new_and_reports_what_drifted(vault: rv.Vault) -> None:
    vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s")
    again = vault.save_sweep(make_sweep([0.1, 0.25, 0.3], fast=[5, 10, 20]), strategy="s")

    assert [each.created for each in again] == [False, True, True]
    assert [each.run.revision for each in again] == [1, 2, 1]
    assert [each.run.params["fast"] for each in again.drifted] == [10]


def test_tags_are_added_to_columns_that_are_there_already(vault: rv.Vault) -> None:
    vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s")
    again = vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s", tags=["wide"])

    assert [each.run.tags for each in again] == [["wide"], ["wide"]]


def test_columns_of_one_address_are_refused_by_name(vault: rv.Vault) -> None:
    with pytest.raises(rv.ConfigError, match="columns 0 and 1"):
        vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 5]), strategy="s")


def test_no_dumps_where_none_are_wanted(vault: rv.Vault) -> None:
    saved = vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s", portfolio=False)

    assert all("portfolio.pkl" not in each.run.artifacts for each in saved)


def test_dumps_are_shared_by_slices_of_columns(vault: rv.Vault) -> None:
    count = 150
    sweep = make_sweep([i / 1000 for i in range(1, count + 1)], fast=list(range(count)))
    saved = vault.save_sweep(sweep, strategy="s")

    entries = [each.run.manifest["artifacts"]["portfolio.pkl"] for each in saved]
    assert [entry["column"] for entry in entries] == [*range(100), *range(50)]
    assert len({entry["md5"] for entry in entries}) == 2


def test_a_sweep_saved_again_for_its_tags_is_an_annotation(vault: rv.Vault) -> None:
    vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s")
    saved = vault.save_sweep(make_sweep([0.1, 0.2], fast=[5, 10]), strategy="s", tags=["wide"])
    newest = vault.log()[0]

    assert newest["kind"] == "annotate"
    assert sorted(newest["runs"]) == sorted(each.id for each in saved)
    assert len(vault.log()[1]["runs"]) == 2
