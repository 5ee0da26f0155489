"""References, listings, comparisons, annotations, history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from machine import git
from results import make_result

import runvault as rv
from runvault.archive.curves import portfolio_tables
from runvault.errors import ConfigError, FormatError
from runvault.model.ids import RunId
from runvault.stores.git.edits import Edit, Signature


def commit_files(vault: rv.Vault, files: dict[str, bytes | None]) -> str:
    """Commit files to the archive as other programs do, without a look at them."""
    who = Signature("Ada", "ada@example.org")
    commit = vault.stores.update(lambda _: Edit(tuple(files.items()), "Damage", who, datetime.now(UTC)))
    assert commit is not None
    return commit


@pytest.fixture
def runs(vault: rv.Vault) -> list[rv.Run]:
    return [
        vault.save(make_result(total_return), strategy="s", params={"fast": fast}).run
        for total_return, fast in [(0.1, 10), (0.3, 11), (0.2, 20), (0.0, 30)]
    ]


def test_a_run_answers_to_id_prefix_alias_and_latest(vault: rv.Vault, runs: list[rv.Run]) -> None:
    vault.alias("golden", runs[0])

    for ref in (runs[0].id, runs[0].id[:16], runs[0].short_id, "golden"):
        assert vault.get(ref).id == runs[0].id
    assert vault.get("latest").id == runs[3].id
    assert vault.get("latest-2").id == runs[1].id


def test_a_reference_to_nothing_says_what_to_do(vault: rv.Vault, runs: list[rv.Run]) -> None:
    with pytest.raises(rv.RunNotFoundError) as caught:
        vault.get("0123456789")
    assert "runvault list" in str(caught.value.hint)
    with pytest.raises(LookupError):
        vault.get("latest-9")
    assert not vault.has("nobody")


def test_an_ambiguous_prefix_lists_the_candidates(vault: rv.Vault) -> None:
    ids = [vault.save(make_result(), strategy="s", seed=seed).id for seed in range(3)]

    with pytest.raises(rv.AmbiguousRunError) as caught:
        vault.get(ids[0][:12])
    assert all(each in str(caught.value.hint) for each in ids)
    assert vault.get(f"{ids[0][:12]}-2").seed == 2


def test_an_alias_moves_from_run_to_run(vault: rv.Vault, runs: list[rv.Run]) -> None:
    vault.alias("golden", runs[0])
    vault.alias("golden", runs[1])

    assert vault.get("golden").id == runs[1].id
    assert vault.get(runs[0].id).alias is None


@pytest.mark.parametrize("name", ["latest", "latest-3", "deadbeef", "a~1", "a@b", "", "-x", "two words"])
def test_an_alias_that_reads_as_something_else_is_refused(vault: rv.Vault, runs: list[rv.Run], name: str) -> None:
    with pytest.raises(rv.ConfigError):
        vault.alias(name, runs[0])


def test_a_listing_is_a_sequence_that_knows_its_total(vault: rv.Vault, runs: list[rv.Run]) -> None:
    listed = vault.list(where="params.fast < 25", sort="-total_return", limit=2)

    assert [run.params["fast"] for run in listed] == [11, 20]
    assert (len(listed), listed.total) == (2, 3)
    frame = listed.to_pandas()
    assert frame["metrics.total_return"].tolist() == [0.3, 0.2]
    assert frame.index.tolist() == [runs[1].id, runs[2].id]
    nothing = vault.list(where="params.fast > 1000").to_pandas()
    assert nothing.empty
    assert nothing.index.name == "id"
    assert nothing.columns.tolist() == [name for name in frame.columns if "." not in name]
    assert nothing["created_at"].dtype == frame["created_at"].dtype


def test_the_leaderboard_follows_the_metric_and_puts_undefined_last(vault: rv.Vault, runs: list[rv.Run]) -> None:
    assert [run.params["fast"] for run in vault.best("sharpe_ratio")] == [11, 20, 10, 30]
    assert vault.best("max_drawdown", n=1)[0].params["fast"] == 30
    assert vault.best("metrics.max_drawdown", n=1)[0].params["fast"] == 30


@pytest.mark.parametrize("name", ["strategy", "created_at", "params.fast", "sharpe_ration"])
def test_a_leaderboard_is_by_a_metric(vault: rv.Vault, runs: list[rv.Run], name: str) -> None:
    with pytest.raises(rv.ConfigError, match=f"no run has a metric '{name}'"):
        vault.best(name)


def test_similar_runs_have_parameters_within_the_tolerance(vault: rv.Vault, runs: list[rv.Run]) -> None:
    assert [run.params["fast"] for run in vault.similar(runs[0], 0.1)] == [11]
    assert [run.params["fast"] for run in vault.similar(runs[0], 0.5)] == [20, 11]


def test_a_comparison_shows_what_differs(vault: rv.Vault, runs: list[rv.Run]) -> None:
    compared = vault.compare(runs[:2])
    rows = dict(compared.rows)

    assert rows["params.fast"] == [10, 11]
    assert rows["metrics.total_return"] == [0.1, 0.3]
    assert "strategy" not in rows
    assert "strategy" in dict(vault.compare(runs[:2], everything=True).rows)
    assert compared.to_pandas().loc["params.fast"].tolist() == [10, 11]


def test_a_diff_is_whole(vault: rv.Vault, repo: Path, runs: list[rv.Run]) -> None:
    (repo / "strategy.py").write_text("FAST = 99\n")
    git(repo, "commit", "--quiet", "--all", "--message", "strategy: faster")
    other = vault.save(make_result(0.5), strategy="s", params={"fast": 50}).run
    found = vault.diff(runs[0], other).to_dict()

    assert found["config"] == [{"path": "params.fast", "a": 10, "b": 50}]
    moved = {row["name"]: round(row["delta"], 6) for row in found["metrics"]}
    assert moved["total_return"] == 0.4
    assert found["trades"] == {"only_a": 0, "only_b": 0, "changed": 1, "same": 0}
    assert found["equity"]["correlation"] == pytest.approx(1.0)
    assert found["equity"]["max_abs_gap"] == pytest.approx(40.0)
    assert "strategy.py" in found["code"]["stat"]
    assert found["environment"] == []


def test_a_diff_prints_as_the_command_does(vault: rv.Vault, runs: list[rv.Run]) -> None:
    found = vault.diff(runs[0], runs[1])

    assert "params.fast" in str(found)
    assert found._repr_html_().startswith("<pre>")


def test_a_run_does_not_differ_from_itself(vault: rv.Vault, runs: list[rv.Run]) -> None:
    assert not vault.diff(runs[0], runs[0]).differs
    assert vault.diff(runs[0], runs[1]).differs


def test_tags_and_notes_change_without_a_revision(vault: rv.Vault, runs: list[rv.Run]) -> None:
    vault.tag(runs[:2], add=["golden", "tech"])
    vault.tag(runs[0], remove=["tech"])
    noted = vault.note(runs[0], "the one")

    assert noted.tags == ["golden"]
    assert noted.note == "the one"
    assert noted.revision == 1
    assert [run.id for run in vault.list(tags=["golden", "tech"])] == [runs[1].id]
    assert vault.list(search="one").total == 1


def test_a_removed_run_is_gone_and_can_be_restored(vault: rv.Vault, runs: list[rv.Run]) -> None:
    assert vault.remove([runs[0], runs[1]]) == [runs[0].id, runs[1].id]
    assert vault.list().total == 2
    assert not vault.has(runs[0].id)
    with pytest.raises(rv.RunNotFoundError):
        vault.remove(runs[0].id)

    restored = vault.restore(runs[0].short_id)
    assert restored.to_dict() == runs[0].to_dict()
    assert vault.list().total == 3


def test_history_has_every_revision_and_the_log_every_commit(vault: rv.Vault) -> None:
    first = vault.save(make_result(0.1), strategy="s")
    vault.save(make_result(0.2), strategy="s")
    vault.tag(first.id, add=["x"])

    assert [run.metrics["total_return"] for run in vault.history(first.id)] == [0.1, 0.2]
    kinds = [commit["kind"] for commit in vault.log()]
    assert kinds == ["annotate", "save", "save", None]
    assert vault.log()[1]["runs"] == [first.id]
    earlier = vault.history(first.id)[0]
    assert vault.get(f"{first.id}@{earlier.commit}").metrics["total_return"] == 0.1


def test_a_revision_has_the_annotations_it_came_with(vault: rv.Vault, runs: list[rv.Run]) -> None:
    run = runs[0]
    [before] = vault.history(run)
    assert (before.to_dict(), before.commit) == (vault.get(run.id).to_dict(), run.commit)
    vault.tag(run, add=["later"])
    [after] = vault.history(run)
    assert after.to_dict() == before.to_dict()
    assert vault.get(run.id).to_dict() == {**before.to_dict(), "tags": sorted([*before.tags, "later"])}


def test_a_restored_run_has_the_annotations_it_was_removed_with(vault: rv.Vault, runs: list[rv.Run]) -> None:
    vault.tag(runs[0], add=["golden"])
    vault.note(runs[0], "precious")
    vault.alias("star", runs[0])
    before = vault.get(runs[0].id)
    vault.remove(before)

    assert vault.restore(before).to_dict() == before.to_dict()
    assert vault.put_back(before.id)[1] is False


def test_an_earlier_revision_of_a_removed_run_can_be_restored(vault: rv.Vault) -> None:
    vault.save(make_result(0.1), strategy="s")
    run = vault.save(make_result(0.2), strategy="s", tags=["kept"]).run
    vault.remove(run)
    restored = vault.restore(f"{run.id}~1")

    assert (restored.metrics["total_return"], restored.revision, restored.tags) == (0.1, 1, ["kept"])


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": b"{broken"},
        {"manifest.json": None},
        {"annotations.json": b"{broken"},
        {"stats.parquet": b"none"},
        {"equity.parquet.dvc": b"outs: []"},
        {"evil/manifest.json": b"{}"},
    ],
    ids=str,
)
def test_a_damaged_run_is_restored_from_where_it_was_whole(vault: rv.Vault, files: dict[str, bytes | None]) -> None:
    vault.save(make_result(0.1), strategy="s")
    run = vault.save(make_result(0.2), strategy="s", tags=["kept"]).run
    commit_files(vault, {f"{RunId.parse(run.id).path}/{name}": content for name, content in files.items()})
    [hint] = {finding.hint for finding in vault.verify().findings}
    assert hint is not None
    assert "runvault restore" in hint

    restored, changed = vault.put_back(run.short_id)
    assert (restored.metrics["total_return"], restored.tags, changed) == (0.2, ["kept"], True)
    assert not vault.verify().findings
    assert vault.put_back(run.id)[1] is False


def test_a_damaged_revision_hides_none_of_the_others(vault: rv.Vault, capfd: pytest.CaptureFixture[str]) -> None:
    vault.save(make_result(0.1), strategy="s")
    run = vault.save(make_result(0.2), strategy="s").run
    manifest = f"{RunId.parse(run.id).path}/manifest.json"
    damaged = commit_files(vault, {manifest: b"{broken"})
    assert [each.metrics["total_return"] for each in vault.history(run.id)] == [0.1, 0.2]
    assert f"the revision of {damaged} cannot be read" in capfd.readouterr().err
    with pytest.raises(FormatError, match="is damaged") as caught:
        vault.restore(f"{run.id}@{damaged}")
    assert f"runvault restore {run.short_id}" in str(caught.value.hint)

    assert vault.restore(f"{run.id}~1").metrics["total_return"] == 0.2
    assert len(vault.history(run.id)) == 2


def test_a_run_that_was_never_whole_is_not_restored(vault: rv.Vault, runs: list[rv.Run]) -> None:
    forged = RunId.parse(f"{'ab' * 32}-0")
    tip = commit_files(vault, {f"{forged.path}/manifest.json": b"{broken"})
    with pytest.raises(FormatError, match="nothing in the archive's history has it whole") as caught:
        vault.restore(str(forged))
    assert "runvault pull" in str(caught.value.hint)
    assert vault.stores.repository.tip() == tip


def test_a_word_is_one_tag_and_a_numpy_seed_is_a_seed(vault: rv.Vault) -> None:
    import numpy as np

    run = vault.save(make_result(), strategy="s", tags="tech", seed=np.int64(3)).run
    assert (run.tags, run.seed) == (["tech"], 3)
    assert [each.id for each in vault.list(seed=np.int64(3), limit=np.int32(9), tags=None, sort=None)] == [run.id]
    assert vault.tag(run, add="golden")[0].tags == ["golden", "tech"]
    with pytest.raises(ConfigError, match="the seed is a bool, not an integer"):
        vault.save(make_result(), strategy="s", seed=True)


@pytest.mark.parametrize(
    "filters",
    [
        {"strateg": "s"},
        {"where": 3},
        {"sort": "no_such"},
        {"seed": "3"},
        {"seed": 1.5},
        {"limit": "x"},
        {"limit": 2.5},
        {"offset": "x"},
        {"tags": 5},
        {"any_tags": ["tech", 5]},
        {"periods_per_year": "252"},
    ],
    ids=str,
)
def test_a_wrong_filter_is_an_error_of_ours(vault: rv.Vault, runs: list[rv.Run], filters: dict[str, object]) -> None:
    with pytest.raises(rv.ConfigError):
        list(vault.list(**filters))
    with pytest.raises(rv.ConfigError):
        vault.get(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda vault: vault.save(make_result(), strategy="s", note=5),
        lambda vault: vault.save(make_result(), strategy="s", tags=[5]),
        lambda vault: vault.save(make_result(), strategy="s", data=5),
        lambda vault: vault.save(make_result(), strategy="s", data={"prices": 5}),
        lambda vault: vault.note("latest", None),
        lambda vault: vault.alias(5, "latest"),
        lambda vault: vault.tag("latest", add=5),
        lambda vault: vault.remove(5),
        lambda vault: vault.diff("latest", 5),
        lambda vault: vault.log(limit="x"),
    ],
)
def test_a_wrong_argument_is_an_error_of_ours(
    vault: rv.Vault, runs: list[rv.Run], call: Callable[[rv.Vault], object]
) -> None:
    tip = vault.stores.require_tip()
    with pytest.raises(rv.ConfigError):
        call(vault)
    assert vault.stores.require_tip() == tip
    assert [run["id"] for run in vault.compare(runs[0]).runs] == [runs[0].id]


def test_revisions_of_a_run_can_be_told_apart_side_by_side(vault: rv.Vault) -> None:
    vault.save(make_result(0.1), strategy="s")
    run = vault.save(make_result(0.2), strategy="s").run

    assert dict(vault.compare([run, f"{run.id}~1"]).rows)["revision"] == [2, 1]


def test_noise_in_the_last_bits_is_no_difference(vault: rv.Vault) -> None:
    a = vault.save(make_result(0.1 + 0.2), strategy="s", seed=1).run
    b = vault.save(make_result(0.3), strategy="s", seed=2).run

    found = vault.diff(a, b).to_dict()
    assert found["config"] == [{"path": "seed", "a": 1, "b": 2}]
    assert found["metrics"] == []


def test_a_clone_starts_where_its_remote_is(vault: rv.Vault, runs: list[rv.Run], repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repo), "clone")
    with pytest.raises(rv.VaultNotFoundError, match="no archive branch"):
        rv.open(tmp_path / "clone")

    assert rv.init(tmp_path / "clone").list().total == len(runs)


def test_orders_of_a_run_without_any_are_one_error(vault: rv.Vault) -> None:
    """Somebody else's engine may give none, and a manifest may say nothing of a portfolio."""
    result = make_result()
    tables = {name: table for name, table in result.tables.items() if name != "orders.parquet"}
    run = vault.save(replace(result, tables=tables), strategy="s", params={"n": 1}).run
    with pytest.raises(FormatError, match="has no table of orders"):
        run.orders()


def test_a_manifest_without_a_portfolio_is_one_error(vault: rv.Vault) -> None:
    run = vault.save(make_result(), strategy="s", params={"n": 1}).run
    with pytest.raises(FormatError, match="cannot be rebuilt: no reason is recorded"):
        portfolio_tables(vault.stores, {**run.manifest, "portfolio": None})


@pytest.mark.parametrize("periods", [float("nan"), float("inf"), 0, -365])
def test_periods_a_year_are_a_positive_finite_number(vault: rv.Vault, periods: float) -> None:
    with pytest.raises(rv.ConfigError, match="periods_per_year"):
        vault.list(periods_per_year=periods)
