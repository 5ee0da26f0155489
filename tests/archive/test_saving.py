"""One save: address, revision, drift, and what lies in the branch afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from machine import git
from results import make_result, with_digest

import runvault as rv

PARAMS = {"fast": 10, "slow": 50}


def commits(vault: rv.Vault, repo: Path) -> int:
    return int(git(repo, "rev-list", "--count", vault.branch))


def test_a_save_makes_one_commit_that_plain_git_can_read(vault: rv.Vault, repo: Path) -> None:
    saved = vault.save(make_result(), strategy="dual_sma", params=PARAMS, seed=42, tags=["tech"], note="first try")

    files = git(repo, "ls-tree", "-r", "--name-only", vault.branch, "runs/").split()
    folder = f"runs/{saved.id[:2]}/{saved.id}"
    assert sorted(file.removeprefix(f"{folder}/") for file in files) == [
        "annotations.json",
        "equity.parquet.dvc",
        "manifest.json",
        "orders.parquet.dvc",
        "portfolio.pkl.dvc",
        "prices.parquet.dvc",
        "stats.parquet",
        "trades.parquet.dvc",
    ]
    manifest = json.loads(git(repo, "show", f"{vault.branch}:{folder}/manifest.json"))
    assert manifest["config"] == {
        "strategy": "dual_sma",
        "engine": "vectorbt",
        "params": PARAMS,
        "settings": {},
        "data": {"prices": {"symbols": ["GOOG"]}},
    }
    assert manifest["author"] == "Ada Quant <ada@example.org>"
    assert manifest["code"]["commit"] == git(repo, "rev-parse", "HEAD").strip()
    assert commits(vault, repo) == 2
    message = git(repo, "log", "-1", "--format=%B", vault.branch)
    assert f"Run: {saved.id}" in message
    assert "Kind: save" in message


def test_the_members_of_the_json_are_attributes(vault: rv.Vault) -> None:
    run = vault.save(make_result(0.25), strategy="s", params=PARAMS, tags=["b", "a"], note="why").run

    assert (run.strategy, run.params, run.tags, run.note) == ("s", PARAMS, ["a", "b"], "why")
    assert run.metrics["total_return"] == 0.25
    assert run.revision == 1
    assert run.to_dict()["id"] == run.id


def test_saving_the_same_run_twice_makes_one_commit(vault: rv.Vault, repo: Path) -> None:
    first = vault.save(make_result(), strategy="s", params=PARAMS)
    second = vault.save(make_result(), strategy="s", params=PARAMS)

    assert (first.created, second.created) == (True, False)
    assert second.drift is None
    assert second.run == first.run
    assert commits(vault, repo) == 2


def test_saving_it_again_with_a_tag_or_a_note_only_annotates(vault: rv.Vault, repo: Path) -> None:
    vault.save(make_result(), strategy="s", tags=["old"])
    again = vault.save(make_result(), strategy="s", tags=["new"], note="looks good")

    assert not again.created
    assert again.run.tags == ["new", "old"]
    assert again.run.note == "looks good"
    assert again.run.revision == 1
    assert "Kind: annotate" in git(repo, "log", "-1", "--format=%B", vault.branch)


def test_other_results_at_the_same_address_are_a_revision_and_a_drift_report(vault: rv.Vault) -> None:
    first = vault.save(make_result(0.5), strategy="s", params=PARAMS)
    second = vault.save(make_result(0.4), strategy="s", params=PARAMS)

    assert second.created
    assert second.id == first.id
    assert second.run.revision == 2
    assert second.drift is not None
    assert second.drift["verdict"] == "drift"
    assert second.drift["previous"] == first.run.commit
    moved = {row["name"]: (row["a"], row["b"]) for row in second.drift["metrics"]}
    assert moved["total_return"] == (0.5, 0.4)
    assert vault.get(f"{first.id}~1").metrics["total_return"] == 0.5


def test_the_same_orders_and_values_with_another_digest_are_close(vault: rv.Vault) -> None:
    vault.save(make_result(0.5), strategy="s")
    second = vault.save(with_digest(make_result(0.5), "another backend"), strategy="s")

    assert second.drift is not None
    assert second.drift["verdict"] == "close"


def test_a_revision_drops_the_files_of_the_one_before(vault: rv.Vault, repo: Path) -> None:
    vault.save(make_result(0.5), strategy="s")
    second = vault.save(make_result(0.4), strategy="s", portfolio=False)

    files = git(repo, "ls-tree", "-r", "--name-only", vault.branch, "runs/")
    assert "portfolio.pkl" not in second.run.artifacts
    assert "portfolio.pkl.dvc" not in files


def test_a_saved_run_can_be_compared_byte_by_byte_with_what_was_given(vault: rv.Vault) -> None:
    run = vault.save(make_result(0.5, dump=b"the engine's own"), strategy="s").run

    assert run.file("portfolio.pkl") == b"the engine's own"
    assert run.equity()["value"].tolist() == make_result(0.5).tables["equity.parquet"].columns["value"].tolist()


def test_a_credential_is_refused_by_name_and_nothing_is_written(vault: rv.Vault, repo: Path) -> None:
    with pytest.raises(rv.ConfigError, match="token"):
        vault.save(make_result(), strategy="s", params={"token": "0123456789abcdef"})
    assert commits(vault, repo) == 1

    assert vault.save(make_result(), strategy="s", params={"token": "0123456789abcdef"}, allow=["token"]).created


def test_a_refusal_names_the_path_of_the_value(vault: rv.Vault) -> None:
    with pytest.raises(rv.ConfigError, match=r"params\.window"):
        vault.save(make_result(), strategy="s", params={"window": float("nan")})


def test_an_input_file_is_known_by_its_hash_and_travels_with_the_archive(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.csv").write_text("date,close\n2020-01-01,100\n")
    run = vault.save(make_result(), strategy="s", data={"prices": repo / "prices.csv"}).run

    entry = run.data["prices"]
    assert entry["symbols"] == ["GOOG"]
    assert (entry["start"], entry["end"], entry["interval"]) == ("2020-01-01", "2020-01-20", "1D")
    md5 = entry["md5"]
    pointer = git(repo, "show", f"{vault.branch}:data/{md5[:2]}/{md5}.csv.dvc")
    assert f"md5: {md5}" in pointer
    assert (repo / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}").read_text() == (repo / "prices.csv").read_text()


def test_a_missing_input_is_an_error_that_names_it(vault: rv.Vault, repo: Path) -> None:
    with pytest.raises(rv.ConfigError, match=r"data\.prices.*gone\.csv"):
        vault.save(make_result(), strategy="s", data={"prices": repo / "gone.csv"})


@pytest.mark.parametrize(
    "name", ["a/b c", "日本語", "--where", "<b>bold</b>", "=cmd()", "\u202eevil", "run: x", "x" * 4096]
)
def test_any_printable_name_is_accepted_and_found_exactly(vault: rv.Vault, name: str) -> None:
    vault.save(make_result(), strategy=name)
    vault.save(make_result(), strategy="other")

    assert [run.strategy for run in vault.list(strategy=name)] == [name]


@pytest.mark.parametrize("name", ["", "x" * 4097, "a\nb", "a\x1b[31m", "\ud800"])
def test_a_name_that_could_break_a_record_is_refused(vault: rv.Vault, name: str) -> None:
    with pytest.raises(rv.ConfigError):
        vault.save(make_result(), strategy=name)


def test_without_an_identity_a_stated_fallback_is_the_author(repo: Path, sealed: Path) -> None:
    vault = rv.init(repo)
    (sealed / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")

    assert "runvault@localhost" in vault.save(make_result(), strategy="s").run.author
