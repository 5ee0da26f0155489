"""Every command end to end: what it prints, in JSON as the contract says, and with which status it exits."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from machine import git
from results import make_result

import runvault as rv

RUN_MEMBERS = {
    "id",
    "short_id",
    "alias",
    "config_hash",
    "seed",
    "strategy",
    "engine",
    "params",
    "settings",
    "data",
    "symbols",
    "interval",
    "start",
    "end",
    "tags",
    "note",
    "created_at",
    "author",
    "metrics",
    "revision",
    "commit",
    "code",
    "lineage",
    "artifacts",
}


def test_init_makes_the_branch_once(program, repo: Path) -> None:
    first, second = program("init"), program("init")

    assert (first.status, second.status) == (0, 0)
    assert "made archive branch runvault" in first.out
    assert ".dvc/config" in first.err
    assert "there already" in second.out
    assert git(repo, "rev-list", "--count", "runvault").strip() == "1"


def test_init_writes_where_the_checkout_is(program, repo: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(repo, "config", "core.worktree", str(elsewhere))

    assert program("init").status == 0
    assert (elsewhere / ".dvc" / "config").is_file()
    assert not (repo / ".dvc").exists()


def test_init_names_where_artifacts_go_once(program, repo: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    assert program("init", "--remote", "bad\naddress").status == 13
    assert git(repo, "branch", "--list", "runvault") == ""
    for _ in range(2):
        assert program("init", "--remote", str(storage)).status == 0

    assert git(repo, "rev-list", "--count", "runvault").strip() == "2"
    [remote] = program("remote", "list", "--json").json["remotes"]
    assert remote == {"name": "storage", "url": str(storage), "kind": "dvc", "default": True}


def test_a_push_without_a_dvc_remote_says_why_objects_stay(
    program, repo: Path, runs: list[rv.Run], tmp_path: Path
) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "origin.git"))
    assert "stayed where they are\n" in program("push", "--no-artifacts").err
    told = "stayed where they are: there is no default DVC remote; 'runvault remote add NAME URL' names one to all"
    assert told in program("push").err


def test_remotes_are_listed_that_cannot_be_used(program, repo: Path, vault: rv.Vault, tmp_path: Path) -> None:
    """Without the passwords that their owners gave them: a listing ends in logs."""
    git(repo, "remote", "add", "origin", "https://ada:sesame@host/x.git")
    git(repo, "remote", "add", "upstream", "ssh://git@host/x.git")
    git(repo, "remote", "add", "signed", "https://host/x.git?sig=sesame")
    vault.add_remote("Storage", "s3://bucket/x")
    (repo / ".dvc/config").write_text("['remote \"share\"']\n    url = /srv/share\n", encoding="utf-8")
    local = "[core]\n    remote = mine\n['remote \"mine\"']\n    url = webdavs://bob:hunter@host/x\n"
    (repo / ".dvc/config.local").write_text(local, encoding="utf-8")

    listed = [tuple(each.values()) for each in program("remote", "list", "--json").json["remotes"]]
    assert listed == [
        ("origin", "https://ada@host/x.git", "git", True),
        ("signed", "https://host/x.git", "git", False),
        ("upstream", "ssh://git@host/x.git", "git", False),
        ("share", "/srv/share", "dvc", False),
        ("mine", "webdavs://bob@host/x", "dvc", True),
        ("Storage", "s3://bucket/x", "dvc", False),
    ]


def test_a_remote_in_other_letters_is_the_same_one(program, vault: rv.Vault) -> None:
    """DVC knows small letters only: of two it would take the address of either."""
    for name in ("Storage", "other"):
        program("remote", "add", name, f"s3://{name.lower()}/x")
    done = program("remote", "add", "STORAGE", "s3://new/x")
    assert done.err.splitlines() == ["the archive names STORAGE: s3://new/x in place of s3://storage/x"]
    listed = [
        (each["name"], each["url"], each["default"]) for each in program("remote", "list", "--json").json["remotes"]
    ]
    assert listed == [("STORAGE", "s3://new/x", True), ("other", "s3://other/x", False)]


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("http://ada:s3cr@t@host/x", "http://ada@host/x"),
        ("ssh://:s3cr@t@host:22/x", "ssh://host:22/x"),
        ("webdavs://ada:@host", "webdavs://ada@host"),
    ],
)
def test_a_password_stays_out_of_the_archive(program, repo: Path, url: str, without: str) -> None:
    for words in (["init", "--remote", url], ["remote", "add", "storage", url]):
        refused = program(*words)
        assert refused.status == 13, refused.err
        assert "'storage' holds a password" in refused.err
        assert f"dvc remote add --local storage {without}'" in refused.err
        assert "s3cr" not in refused.err
        assert program("init").status == 0
    assert program("remote", "list", "--json").json["remotes"] == []

    marked, opaque = "ghp_" + "a1B2" * 9, "s3cr" + "0f" * 16
    for secret in (marked, opaque):
        refused = program("remote", "add", "storage", f"https://{secret}@host/x")
        assert refused.status == 13
        assert "'storage' holds a token" in refused.err
        assert "dvc remote add --local storage https://host/x'" in refused.err
        assert secret not in refused.err
    refused = program("remote", "add", "storage", f"https://host/x?key={marked}")
    assert (refused.status, marked in refused.err) == (13, False)

    for name in ("secret", "access_token", "sig", "password", "X-Amz-Signature"):
        refused = program("remote", "add", "storage", f"https://host/x?v=1&{name}=s3cr3t&w=2")
        assert refused.status == 13
        assert "'storage' holds a secret" in refused.err
        assert "dvc remote add --local storage https://host/x?v=1&w=2'" in refused.err
        assert "s3cr" not in refused.err

    for fine in (
        "https://ada.lovelace-of-london-1815@host/x",
        "ssh://ada@host:22/x",
        "s3://bucket/a:b@c",
        "http://host/?at=a:b@c",
    ):
        assert program("remote", "add", "storage", fine).status == 0


def test_an_address_that_is_replaced_is_named(program, vault: rv.Vault, tmp_path: Path) -> None:
    first, second = "s3://bucket/a", str(tmp_path / "b")
    assert program("remote", "add", "storage", first).err.splitlines()[-1] == f"the archive names storage: {first}"
    replaced = f"the archive names storage: {second} in place of {first}"
    assert program("remote", "add", "storage", second).err.splitlines()[-1] == replaced
    assert program("remote", "add", "storage", second).err.splitlines()[-1] == f"the archive names storage: {second}"


def test_config_says_what_set_each_setting(program, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repo, "config", "runvault.branch", "team/alpha")
    monkeypatch.setenv("RUNVAULT_PICKLES", "none")

    assert program("config", "--json").json == {
        "branch": {"value": "team/alpha", "source": "git config runvault.branch"},
        "pickles": {"value": "none", "source": "RUNVAULT_PICKLES"},
        "periodsPerYear": {"value": "", "source": "default"},
        "remote": {"value": "origin", "source": "default"},
    }
    assert program("--branch", "other", "config", "--json").json["branch"]["value"] == "other"


def test_config_tells_of_values_that_will_be_refused(program, repo: Path) -> None:
    git(repo, "config", "runvault.pickles", "some")
    git(repo, "config", "runvault.periodsPerYear", "daily")

    told = program("config", "--json")
    assert told.json["pickles"]["value"] == "some"
    assert "pickles is 'some', not one of auto, all, none; it is set by git config runvault.pickles" in told.err
    assert "periodsPerYear is 'daily', not a positive number" in told.err


def test_list_as_json_has_every_member(program, runs: list[rv.Run]) -> None:
    document = program("list", "--json").json

    assert document["total"] == 3
    assert [run["id"] for run in document["runs"]] == [run.id for run in reversed(runs)]
    assert set(document["runs"][0]) >= RUN_MEMBERS
    assert document["runs"][0] == runs[2].to_dict()


def test_list_filters_sorts_and_counts(program, runs: list[rv.Run]) -> None:
    where = "params.fast < 20 and sharpe_ratio > 0"
    rows = program("list", "--where", where, "--sort", "-total_return", "--json").json["runs"]

    assert [run["params"]["fast"] for run in rows] == [11, 10]
    assert program("list", "--where", where, "--count").out.strip() == "2"
    assert program("list", "--tag", "t10", "--count").out.strip() == "1"
    assert program("list", "--any-tag", "t10", "--any-tag", "t20", "--count").out.strip() == "2"
    assert program("list", "--since", "1d", "--count").out.strip() == "3"
    assert program("list", "--until", "2020-01-01", "--count").out.strip() == "0"
    assert program("list", "--limit", "1", "--json").json["total"] == 3


def test_list_as_table_csv_and_markdown(program, runs: list[rv.Run]) -> None:
    assert "30.0 %" in program("list").out
    rows = list(csv.reader(io.StringIO(program("list", "--format", "csv", "--columns", "short_id,total_return").out)))
    assert rows == [
        ["short_id", "total_return"],
        *([run.short_id, str(run.metrics["total_return"])] for run in reversed(runs)),
    ]
    assert program("list", "--format", "md").out.startswith("| run")


def test_show_is_whole(program, runs: list[rv.Run]) -> None:
    assert program("show", "latest", "--json").json == runs[2].to_dict()
    shown = program("show", runs[0].id).out
    assert runs[0].id in shown
    assert "params.fast" in shown
    assert program("show", "latest", "--config", "--json").json["params"] == {"fast": 20}
    assert "fast: 20" in program("show", "latest", "--config", "--yaml").out
    manifest = json.loads(program("show", "latest", "--file", "manifest.json").out)
    assert manifest["id"] == runs[2].id


def test_has_answers_by_status(program, runs: list[rv.Run]) -> None:
    assert program("has", runs[0].id).status == 0
    assert program("has", "0000000000").status == 1


def test_diff_as_json_and_by_status(program, runs: list[rv.Run]) -> None:
    done = program("diff", runs[0].id, runs[1].id, "--json")

    assert done.status == 0
    assert set(done.json) >= {"a", "b", "config", "metrics", "trades", "equity", "code", "environment"}
    assert done.json["config"] == [{"path": "params.fast", "a": 10, "b": 11}]
    assert program("diff", runs[0].id, runs[1].id, "--exit-code").status == 1
    assert program("diff", runs[0].id, runs[0].id, "--exit-code").status == 0
    text = program("diff", runs[0].id, runs[1].id, "--trades").out
    assert "params.fast" in text
    assert "1 changed" in text


def test_compare_shows_what_differs(program, runs: list[rv.Run]) -> None:
    document = program("compare", runs[0].id, runs[1].id, "--json").json

    assert [run["id"] for run in document["runs"]] == [runs[0].id, runs[1].id]
    assert {"field": "params.fast", "values": [10, 11]} in document["rows"]
    assert len(program("compare", "--where", "total_return > 0", "--json").json["runs"]) == 2
    assert program("compare").status == 2


@pytest.mark.parametrize("command", ["diff", "compare"])
def test_parameters_that_differ_late_are_told_apart(program, vault: rv.Vault, command: str) -> None:
    for step in (1234567.25, 1234567.5):
        vault.save(make_result(), strategy="s", params={"step": step, "rates": [0.1, step / 1e7]})

    shown = program(command, "latest-1", "latest").out.split("\n")
    assert any(line.split() == ["params.step", "1234567.25", "1234567.5"] for line in shown)
    assert any(line.split()[1:] == ["0.1,", "0.123456725", "0.1,", "0.12345675"] for line in shown)


def test_every_metric_is_aligned_as_a_number(program, vault: rv.Vault) -> None:
    for value in (12345.678, 9.5):
        result = make_result(value)
        vault.save(
            replace(result, metrics={**result.metrics, "profit_factor": value}), strategy="s", params={"n": value}
        )

    shown = program("list", "--columns", "profit_factor,strategy", "--sort", "-profit_factor").out.splitlines()
    assert [line[:13] for line in shown] == ["profit_factor", "-------------", "    12,345.68", "         9.50"]


def test_best_and_similar_are_listings(program, runs: list[rv.Run]) -> None:
    best = program("best", "--metric", "total_return", "-n", "2", "--json").json
    assert [run["params"]["fast"] for run in best["runs"]] == [11, 10]
    assert best["total"] == 3
    similar = program("similar", runs[0].id, "--json").json
    assert [run["params"]["fast"] for run in similar["runs"]] == [11]


def test_log_of_the_archive_and_of_a_run(program, runs: list[rv.Run]) -> None:
    commits = program("log", "--json").json["commits"]
    assert [commit["runs"] for commit in commits[:3]] == [[run.id] for run in reversed(runs)]
    assert set(commits[0]) == {"commit", "kind", "subject", "author", "time", "runs"}
    of_run = program("log", runs[0].id, "--json").json
    assert (of_run["run"], [run["revision"] for run in of_run["revisions"]]) == (runs[0].id, [1])


def test_annotations_change_from_the_command_line(program, runs: list[rv.Run]) -> None:
    assert program("tag", runs[0].id, runs[1].id, "--add", "golden").status == 0
    assert program("list", "--tag", "golden", "--count").out.strip() == "2"
    assert program("tag", runs[0].id, "--remove", "golden").status == 0
    assert program("note", runs[0].id, "the first one").status == 0
    assert program("list", "--search", "first", "--count").out.strip() == "1"
    assert program("alias", "golden-sma", runs[0].id).status == 0
    assert program("show", "golden-sma", "--json").json["id"] == runs[0].id
    assert program("tag", runs[0].id).status == 2


def test_a_machine_without_an_identity_is_told_who_the_author_is(program, sealed: Path, runs: list[rv.Run]) -> None:
    assert "runvault@localhost" not in program("note", runs[0].id, "one").err
    (sealed / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    assert "runvault <runvault@localhost>" in program("note", runs[0].id, "two").err


def test_no_command_is_a_request_for_help(program) -> None:
    done = program()
    assert done.status == 0
    assert "Commands:" in done.out


def test_show_as_markdown_and_has_as_json(program, runs: list[rv.Run]) -> None:
    assert program("show", "latest", "--format", "md").out.startswith("| field")
    assert program("has", "latest", "--json").json == {"has": True}
    assert program("show", "latest", "--yaml").status == 2


def test_a_pipe_gets_whole_cells_and_unknown_columns_are_errors(program, runs: list[rv.Run]) -> None:
    assert runs[0].id in program("list", "--columns", "id").out
    done = program("list", "--columns", "short_id,sharp_ratio")
    assert done.status == 13
    assert "sharpe_ratio" in done.err


def test_compare_takes_names_and_filters_together(program, runs: list[rv.Run]) -> None:
    document = program("compare", runs[0].id, "--where", "total_return < 0", "--json").json
    assert [run["id"] for run in document["runs"]] == [runs[0].id, runs[2].id]
    none, one = program("compare", "--strategy", "nobody"), program("compare", runs[0].id)
    assert (none.out, none.err.strip()) == ("", "no runs")
    assert (one.out, one.err.strip()) == ("", f"only {runs[0].short_id}: nothing to compare it with")


def test_log_of_a_run_has_a_limit(program, vault: rv.Vault) -> None:
    for total_return in (0.1, 0.2, 0.3):
        vault.save(make_result(total_return), strategy="s")
    revisions = program("log", "latest", "--limit", "2", "--json").json["revisions"]
    assert [run["revision"] for run in revisions] == [2, 3]


def test_a_run_that_is_named_twice_is_removed_once(program, vault: rv.Vault, runs: list[rv.Run]) -> None:
    assert len(program("tag", runs[0].id, runs[0].short_id, "--add", "x").err.splitlines()) == 1
    done = program("rm", runs[0].id, runs[0].short_id, "--json")
    assert done.json["removed"] == [runs[0].id]
    assert vault.log(1)[0]["subject"] == f"Remove {runs[0].short_id}"


def test_rm_and_restore(program, runs: list[rv.Run]) -> None:
    assert "would remove" in program("rm", runs[0].id, "--dry-run").out
    assert program("list", "--count").out.strip() == "3"
    alone = sum(entry["size"] for name, entry in runs[0].artifacts.items())
    assert program("rm", runs[0].id, "--json").json == {"removed": [runs[0].id], "bytes": alone}
    assert program("list", "--count").out.strip() == "2"
    assert program("restore", runs[0].id).status == 0
    assert program("list", "--count").out.strip() == "3"


def test_prune_and_gc(program, runs: list[rv.Run]) -> None:
    asked = ("prune", "--keep-last", "1", "--keep-tag", "t10")
    assert program(*asked, "--dry-run", "--json").json["removed"] == [runs[1].id]
    assert program("list", "--count").out.strip() == "3"
    assert program(*asked).out == f"removed {runs[1].id}\n"
    assert program("list", "--count").out.strip() == "2"
    assert program("prune", "--keep-last", "1", "--keep-tag", "t10", "--json").json == {"removed": [], "bytes": 0}

    mine = {entry["md5"] for entry in runs[1].artifacts.values()}
    would = program("gc", "--dry-run")
    assert {line.split()[2].rstrip(",") for line in would.out.splitlines()} == mine
    assert "equity.parquet of" in would.out
    done = program("gc", "--json").json
    assert (set(done["removed"]), done["bytes"] > 0) == (mine, True)
    assert program("gc", "--keep-history", "1", "--json").json == {"removed": [], "bytes": 0}
    assert program("verify").status == 0


def test_prune_and_gc_refuse_what_means_nothing(program, runs: list[rv.Run]) -> None:
    assert program("prune").status == 13
    assert program("prune", "--keep-best", "1", "--metric", "sharp_ratio").status == 13
    assert program("gc", "--keep-history", "0").status == 2
    assert program("list", "--count").out.strip() == "3"


def test_reindex_and_verify(program, runs: list[rv.Run], repo: Path) -> None:
    assert "3 runs" in program("reindex").err
    document = program("verify", "--artifacts", "--json").json
    assert document["findings"] == []
    assert document["checked"]["runs"] == 3
    md5 = runs[0].artifacts["equity.parquet"]["md5"]
    path = repo / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    path.chmod(0o644)
    path.write_bytes(b"")
    done = program("verify")
    assert done.status == 1
    assert "equity.parquet" in done.out


def test_export_writes_the_files_of_a_run(program, runs: list[rv.Run], tmp_path: Path) -> None:
    done = program("export", runs[0].id, str(tmp_path / "out"))

    assert done.status == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"manifest.json", "stats.parquet", "equity.parquet", "orders.parquet", "portfolio.pkl"}


def test_an_export_names_the_files_that_it_replaces(program, runs: list[rv.Run], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert program("export", runs[0].id, str(out)).err == ""
    assert "equity.parquet" not in program("export", runs[0].id, str(out)).err
    done = program("export", runs[1].id, str(out))
    assert f"replaced: {out / 'equity.parquet'}\n" in done.err
    assert json.loads((out / "manifest.json").read_text())["id"] == runs[1].id


def test_verify_repair_heals_from_the_dvc_remote_and_says_so_by_its_status(
    program, runs: list[rv.Run], repo: Path, tmp_path: Path
) -> None:
    md5 = runs[0].artifacts["orders.parquet"]["md5"]
    places = [repo / root / md5[:2] / md5[2:] for root in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5")]
    sound = places[0].read_bytes()
    for path in places:
        path.unlink()
        path.write_bytes(sound[:-1] + b"?")
    assert program("verify").status == 1
    assert program("verify", "--repair").status == 1  # there is nowhere to take it from
    assert {path.read_bytes() for path in places} == {sound[:-1] + b"?"}

    remote = tmp_path / "remote"
    (remote / "files/md5" / md5[:2]).mkdir(parents=True)
    (remote / "files/md5" / md5[:2] / md5[2:]).write_bytes(sound)
    (repo / ".dvc/config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {remote}\n")
    assert program("verify").status == 1
    healed = program("verify", "--repair")
    assert (healed.status, f"repaired object {md5} from remote" in healed.err) == (0, True)
    assert program("verify").status == 0
    assert {path.read_bytes() for path in places} == {sound}
