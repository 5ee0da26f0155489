"""What people get wrong: one `error:` line, a `hint:` where one helps, the right status, and nothing lost."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from machine import git
from results import make_result

import runvault as rv
from runvault.cli.common import parse_value
from runvault.model.records import dump_json


def check(done, status: int, *words: str) -> None:
    lines = done.err.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert done.status == status, done.err
    assert len(errors) == 1, done.err
    assert all(word in done.err for word in words), done.err
    assert not errors[0].endswith(".")


def test_no_repository(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(program("list"), 10, "no Git repository", "hint: ")


def test_a_password_in_an_address_is_not_told(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = program("clone", "http://ada:sesame@127.0.0.1:9/repository", "there")
    check(done, 3, "cannot clone 'http://127.0.0.1:9/repository'", "hint: ")
    assert "sesame" not in done.err
    assert not (tmp_path / "there").exists()


def test_an_address_in_the_place_of_a_remote_is_told_without_its_password(program, repo: Path, vault: rv.Vault) -> None:
    done = program("push", "https://ada:sesame@127.0.0.1:9/repository")
    check(done, 13, "no Git remote 'https://ada@127.0.0.1:9/repository'", "hint: ")
    assert "sesame" not in done.err

    git(repo, "config", "runvault.remote", "https://ada:sesame@127.0.0.1:9/repository")
    for form in ("table", "json", "csv"):
        told = program("config", "--format", form).out
        assert "https://ada@127.0.0.1:9/repository" in told
        assert "sesame" not in told


def test_no_archive(program) -> None:
    check(program("list"), 10, "no archive branch 'runvault'", "hint: run 'runvault init'")


def test_an_archive_that_only_a_remote_has_is_to_be_pulled(program, repo: Path, vault: rv.Vault) -> None:
    """As in a plain ``git clone``: an archive made anew would look empty."""
    tip = git(repo, "rev-parse", "runvault").strip()
    git(repo, "update-ref", "-d", "refs/heads/runvault")
    git(repo, "remote", "add", "upstream", str(repo / "nowhere"))
    check(program("list"), 10, "hint: run 'runvault pull' where a Git remote has it, 'runvault init' for a new one")

    git(repo, "update-ref", "refs/remotes/upstream/runvault", tip)
    check(program("list"), 10, "hint: run 'runvault pull upstream': the remote 'upstream' has it")
    git(repo, "update-ref", "refs/remotes/upstream/team/alpha", tip)
    done = program("--branch", "team/alpha", "list")
    check(done, 10, "hint: run 'runvault --branch team/alpha pull upstream': the remote 'upstream' has it")
    git(repo, "config", "runvault.remote", "upstream")
    check(program("list"), 10, "hint: run 'runvault pull': the remote 'upstream' has it")


def test_a_misspelt_branch_is_told_which_archives_there_are(program, repo: Path, vault: rv.Vault) -> None:
    git(repo, "branch", "team/alpha", "runvault")
    git(repo, "branch", "some-code")
    check(program("--branch", "runvalt", "list"), 10, "hint: name one that is here with --branch: runvault, team/alpha")


def test_unknown_reference(program, runs: list[rv.Run]) -> None:
    check(program("show", "3f9a3f9a3f9a"), 11, "3f9a3f9a3f9a", "hint: ")


def test_a_run_that_was_removed_can_be_put_back(program, vault: rv.Vault, runs: list[rv.Run]) -> None:
    vault.remove(runs[0])
    check(program("show", runs[0].id[:10]), 11, f"hint: {runs[0].short_id} was removed: 'runvault restore")
    assert program("restore", runs[0].short_id).status == 0


def test_a_metric_that_nothing_is_pruned_by(program, runs: list[rv.Run]) -> None:
    check(program("prune", "--keep-last", "1", "--metric", "sharp_ratio"), 13, "sharp_ratio", "sharpe_ratio")


def test_a_heading_of_the_table_names_its_column(program, runs: list[rv.Run]) -> None:
    done = program("list", "--columns", "run,created", "--format", "csv")
    assert done.out.splitlines()[0] == "short_id,created_at"
    assert runs[0].short_id in done.out


NO_NUMBERS = {
    "timeout nan": lambda vault: vault.replay("latest", timeout=float("nan")),
    "timeout 0": lambda vault: vault.replay("latest", timeout=0),
    "timeout text": lambda vault: vault.replay("latest", timeout="3"),
    "check": lambda vault: vault.check("tech", timeout=float("inf")),
    "rtol nan": lambda vault: vault.replay("latest", rtol=float("nan")),
    "rtol -1": lambda vault: vault.replay("latest", rtol=-1),
    "cash nan": lambda vault: vault.replay("latest", cash=float("nan")),
    "bisect": lambda vault: vault.bisect("latest", good="a", bad="b", metric="sharpe_ratio", tol=float("nan")),
    "similar": lambda vault: vault.similar("latest", tolerance=float("nan")),
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_python_takes_the_numbers_that_the_commands_take(vault: rv.Vault, runs: list[rv.Run], case: str) -> None:
    vault.tag("latest", add=["tech"])
    with pytest.raises(rv.ConfigError, match="number"):
        NO_NUMBERS[case](vault)


def test_python_takes_no_empty_path(vault: rv.Vault, repo: Path, runs: list[rv.Run]) -> None:
    before = sorted(repo.iterdir())
    for call in (lambda: vault.export("latest", ""), lambda: vault.bundle(""), lambda: vault.unbundle("")):
        with pytest.raises(rv.ConfigError, match="is empty"):
            call()
    assert sorted(repo.iterdir()) == before


def test_a_clone_of_nothing_says_how_to_look(program, runs: list[rv.Run], tmp_path: Path) -> None:
    check(program("clone", str(tmp_path / "nosuch"), str(tmp_path / "new")), 3, "cannot clone", "hint: ", "ls-remote")
    check(program("clone", ".", str(tmp_path)), 3, "already exists", "hint: name a folder that is not there yet")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("backtets", "hint: it has backtest\n"),
        ("nothing", "hint: it has backtest, other\n"),
    ],
)
def test_a_function_that_is_not_there_suggests_others(
    program, vault: rv.Vault, repo: Path, function: str, words: str
) -> None:
    text = "import pandas as pd\nfrom os import getcwd\n\ndef backtest(): ...\ndef other(): ...\ndef _own(): ...\n"
    (repo / "suggested.py").write_text(text)
    check(program("run", f"suggested.py:{function}"), 50, words)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_may_be_closed(program, runs: list[rv.Run], repo: Path, closed: str) -> None:
    """What is opened next must not get its number: git would write its errors there."""
    argv = f"{shlex.quote(sys.executable)} -m runvault.cli.main"
    for words in ("note latest hello", "replay latest --print", "list"):
        done = subprocess.run(["bash", "-c", f"{argv} {words} {closed}"], cwd=repo, capture_output=True, check=False)
        assert done.returncode == (50 if words.startswith("replay") else 0), done.stderr
    assert rv.open(repo).get("latest").note == "hello"
    assert rv.open(repo).verify().findings == []


def test_what_the_output_has_no_sign_for_is_shown_all_the_same(program, runs: list[rv.Run], repo: Path) -> None:
    rv.open(repo).note(runs[0], "up \N{EN DASH} down")
    argv = [sys.executable, "-m", "runvault.cli.main", "show", runs[0].id]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(argv, cwd=repo, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"up \u2013 down" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_output_to_a_full_disk_is_nothing_to_report(program, runs: list[rv.Run], repo: Path) -> None:
    with Path("/dev/full").open("w") as full:
        argv = [sys.executable, "-m", "runvault.cli.main", "list"]
        done = subprocess.run(argv, cwd=repo, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        3,
        "error: No space left on device\nhint: free some space and do it again\n",
    )


def test_a_hint_names_the_command(program, vault: rv.Vault, runs: list[rv.Run]) -> None:
    check(program("note", "latest", ""), 13, "see 'runvault note --help'")


def test_an_entry_that_is_no_python(program, vault: rv.Vault, repo: Path) -> None:
    (repo / "broken.py").write_text("def f(:\n")
    check(program("run", "broken.py:f"), 50, "broken.py, line 1", "hint: mend that line")


def test_a_folder_that_cannot_be_written(program, runs: list[rv.Run], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check(program("export", runs[0].id, str(tmp_path / "file" / "out")), 3, "cannot write", "Not a directory", "hint: ")
    assert (tmp_path / "file").read_text() == "mine"


def test_ambiguous_prefix(program, vault: rv.Vault) -> None:
    ids = [vault.save(make_result(), strategy="s", seed=seed).id for seed in (1, 2)]
    check(program("show", ids[0][:8]), 12, *ids)


def test_unknown_field_in_a_filter_suggests_near_ones(program, runs: list[rv.Run]) -> None:
    check(program("list", "--where", "sharp_ratio > 1"), 13, "sharp_ratio", "sharpe_ratio")


@pytest.mark.parametrize("where", ["strategy == momentum", "momentum in tags", "'dual_sma' < momentum"])
def test_a_text_without_quotes_is_answered_with_them(program, runs: list[rv.Run], where: str) -> None:
    check(
        program("list", "--where", where), 13, "no run has 'momentum'", "hint: a text is written in quotes, 'momentum'"
    )


@pytest.mark.parametrize("said", [["--sort", ""], ["--sort", "-"], ["--columns", ""], ["--columns", "id,"]])
def test_an_empty_name_is_no_field(program, runs: list[rv.Run], said: list[str]) -> None:
    check(program("list", *said), 13, "''", "hint: ")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        ["list", "--periods-per-year"],
        ["replay", "latest", "--timeout"],
        ["replay", "latest", "--rtol"],
        ["replay", "latest", "--cash"],
        ["check", "--timeout"],
        ["bisect", "latest", "--good", "a", "--bad", "b", "--timeout"],
        ["bisect", "latest", "--good", "a", "--bad", "b", "--metric", "sharpe_ratio", "--tol"],
        ["similar", "latest", "--tolerance"],
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_a_number_is_finite(program, runs: list[rv.Run], words: list[str], number: str) -> None:
    check(program(*words, number), 2, number, words[-1], "hint: ")


@pytest.mark.parametrize("said", [["--debug"], ["--repo", "."], ["--branch", "team"], ["--branch=team"]])
def test_what_is_said_of_the_program_goes_before_the_command(program, runs: list[rv.Run], said: list[str]) -> None:
    name = said[0].partition("=")[0]
    check(program("list", *said), 2, f"hint: it goes before the command: runvault {name} … list …")


def test_a_run_without_a_recipe_is_named_with_its_seed(program, runs: list[rv.Run]) -> None:
    check(program("replay", "latest"), 50, f"run {runs[-1].short_id} was saved without a recipe", "hint: record one")


def test_the_latest_of_too_few_runs(program, vault: rv.Vault) -> None:
    check(program("show", "latest"), 11, "there is no run on refs/heads/runvault yet", "runvault pull")
    vault.save(make_result(), strategy="s")
    check(program("show", "latest-3"), 11, "no latest-3", "the first of its 1 run(s) is latest\n")
    vault.save(make_result(), strategy="s", seed=1)
    check(program("show", "latest-2"), 11, "the first of its 2 run(s) is latest-1\n")


@pytest.mark.parametrize("said", [["--set", "params.fast=3"], ["--seed", "0"], ["--at", "HEAD"], ["--record"]])
def test_lines_are_printed_for_the_run_as_it_is(program, runs: list[rv.Run], said: list[str]) -> None:
    check(program("replay", "latest", "--print", *said), 2, "--print", "hint: ")


@pytest.mark.parametrize(
    "where", ["__import__('os').system('true')", "sharpe_ratio", "1 +", "lambda: 1", "[x for x in y]"]
)
def test_a_filter_that_is_no_condition(program, runs: list[rv.Run], where: str) -> None:
    done = program("list", "--where", where)
    if where == "sharpe_ratio":  # a bare name asks whether it is there and not zero
        assert done.status == 0
    else:
        check(done, 13)


@pytest.mark.parametrize(
    "words",
    [
        ["export", "latest", ""],
        ["bundle", ""],
        ["unbundle", ""],
        ["clone", "elsewhere", ""],
        ["save", "", "--strategy", "s"],
        ["save", "here", "--strategy", "s", "--data", "prices="],
        ["run", "a.py:f", "--data", ""],
        ["run", "a.py:f", "--params", ""],
        ["run", "a.py:f", "--report", ""],
        ["run", "a.py:f", "--metrics", ""],
        ["run", "--result", "", "--", "true"],
    ],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_current_folder(program, repo: Path, runs: list[rv.Run], words: list[str]) -> None:
    (repo / "here").write_bytes(b"")
    before = sorted(repo.iterdir())

    check(program(*words), 2, "is empty", "hint: ")
    assert sorted(repo.iterdir()) == before


@pytest.mark.parametrize("value", ["nan", "NaN", "-inf", "Infinity"])
def test_nan_in_parameters(program, vault: rv.Vault, tmp_path: Path, value: str) -> None:
    (tmp_path / "pf.pkl").write_bytes(b"")
    check(program("save", str(tmp_path / "pf.pkl"), "--strategy", "s", "--param", f"x={value}"), 2, value)


def test_text_that_begins_as_nan_or_an_object_does() -> None:
    assert parse_value("NaNo", "--param x") == "NaNo"
    assert parse_value('{"a": 1, "a": 2} or so', "--param x") == '{"a": 1, "a": 2} or so'
    with pytest.raises(click.BadParameter, match="too deeply"):
        parse_value("[" * 100_000, "--param x")


@pytest.mark.parametrize("text", ['{"slow": NaN}', '{"slow": -Infinity}', '{"slow": 1, "slow": 2}', "{", "[1]"])
def test_bad_parameters_in_a_file(program, vault: rv.Vault, tmp_path: Path, text: str) -> None:
    (tmp_path / "pf.pkl").write_bytes(b"")
    (tmp_path / "params.json").write_text(text)
    done = program("save", str(tmp_path / "pf.pkl"), "--strategy", "s", "--params", str(tmp_path / "params.json"))
    check(done, 2, "hint: ")


def test_a_run_whose_config_is_not_that_of_its_address(program, repo: Path, runs: list[rv.Run]) -> None:
    replace_manifest(repo, runs[0], lambda text: text.replace(b'"fast": 10', b'"fast": 99'))

    for before, after in ((["show"], []), (["has"], []), (["diff"], ["latest"]), (["export"], ["out"])):
        check(program(*before, runs[0].id, *after), 30, "hint: ")
    assert program("list", "--count").out.strip() == "2"


@pytest.mark.engine
@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({"a": 1})], ids=["empty", "text", "another object"]
)
def test_a_pickle_that_is_no_portfolio(program, vault: rv.Vault, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pf.pkl").write_bytes(content)
    done = program("save", str(tmp_path / "pf.pkl"), "--strategy", "s")

    assert done.status >= 3
    check(done, done.status, "hint: ")


def test_a_manifest_of_a_newer_format(program, repo: Path, runs: list[rv.Run]) -> None:
    replace_manifest(repo, runs[0], lambda text: text.replace(b'"format": 1', b'"format": 2'))

    check(program("show", runs[0].id), 21, "newer", "hint: ")
    done = program("list", "--json")
    assert (done.status, done.json["total"]) == (0, 2)
    assert runs[0].id in done.err
    assert program("verify").status == 1


def test_an_archive_of_a_newer_format_is_neither_read_nor_changed(program, repo: Path, runs: list[rv.Run]) -> None:
    replace_file(repo, "runvault.json", lambda _: b'{"format": 2}')

    for args in (["list"], ["show", "latest"], ["note", runs[0].id, "x"], ["verify"]):
        check(program(*args), 21, "runvault.json", "hint: ")


def test_a_manifest_that_is_no_json(program, repo: Path, runs: list[rv.Run]) -> None:
    replace_manifest(repo, runs[0], lambda text: text[: len(text) // 2])

    check(program("show", runs[0].id), 20)
    assert program("list", "--count").out.strip() == "2"


def replace_manifest(repo: Path, run: rv.Run, change) -> None:
    replace_file(repo, f"runs/{run.id[:2]}/{run.id}/manifest.json", change)


def replace_file(repo: Path, name: str, change) -> None:
    work = repo.parent / "checkout"
    git(repo, "worktree", "add", "--quiet", str(work), "runvault")
    path = work / name
    path.write_bytes(change(path.read_bytes()))
    git(work, "commit", "--quiet", "--all", "--message", "by hand")
    git(repo, "worktree", "remove", str(work))


def test_a_truncated_table(program, repo: Path, runs: list[rv.Run]) -> None:
    md5 = runs[0].artifacts["equity.parquet"]["md5"]
    path = repo / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:100])

    check(program("show", runs[0].id, "--file", "equity.parquet"), 30, md5)


def test_a_cache_without_the_object(program, repo: Path, runs: list[rv.Run]) -> None:
    md5 = runs[0].artifacts["equity.parquet"]["md5"]
    for root in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5"):
        (repo / root / md5[:2] / md5[2:]).unlink()

    check(program("show", runs[0].id, "--file", "equity.parquet"), 31, md5, "hint: ")
    done = program("diff", runs[0].id, runs[1].id, "--json")
    assert done.status == 0
    assert done.json["equity"] is None
    assert "equity.parquet" in done.json["missing"][0]


def test_a_read_only_repository(repo: Path, runs: list[rv.Run]) -> None:
    assert read_only(repo, "list", "--count").stdout.strip() == "3"
    assert read_only(repo, "show", "latest", "--json").returncode == 0
    done = read_only(repo, "note", runs[0].id, "x")
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def read_only(repo: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the program where nothing below `repo` can be written: by modes, or for root by a mount of its own."""
    program = [sys.executable, "-m", "runvault.cli.main", *args]
    if os.geteuid() == 0:
        mount = f"mount --bind {repo} {repo} && mount -o remount,ro,bind {repo} && cd {repo} && exec "
        return subprocess.run(["unshare", "-m", "sh", "-c", mount + shlex.join(program)], **CAPTURED)
    folders = [path for path in (repo, *repo.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        return subprocess.run(program, cwd=repo, **CAPTURED)
    finally:
        for folder in folders:
            folder.chmod(0o755)


CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "check": False}


def test_the_archive_checked_out_with_changes(program, repo: Path, runs: list[rv.Run]) -> None:
    work = repo.parent / "checkout"
    git(repo, "worktree", "add", "--quiet", str(work), "runvault")
    (work / "README.md").write_text("mine")

    check(program("note", runs[0].id, "x"), 3, "checked out", "hint: ")
    with pytest.raises(rv.RunvaultError, match="checked out"):
        rv.open(repo)
    assert program("list", "--count").out.strip() == "3"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["lst"], ["lst"]),
        (["list", "--limit", "many"], ["many"]),
        (["save"], ["PORTFOLIO"]),
        (["list", "--since", "yesterday"], ["yesterday"]),
        (["best", "--metric", "no_such_metric"], ["no_such_metric"]),
        (["similar", "latest", "--tolerance", "nan"], ["tolerance"]),
        (["tag", "latest", "--add", "a\nb"], []),
        (["alias", "latest", "latest"], ["latest"]),
    ],
    ids=lambda value: " ".join(value)[:30].replace("\n", "_") if isinstance(value, list) else None,
)
def test_wrong_usage(program, runs: list[rv.Run], args: list[str], words: list[str]) -> None:
    done = program(*args)
    assert done.status in (2, 13)
    check(done, done.status, *words)


def test_hostile_names_are_shown_inertly(program, vault: rv.Vault) -> None:
    vault.save(make_result(), strategy="=cmd()|<b>\u202e", note="\tnote\nwith lines")

    shown = program("list").out + program("show", "latest").out + program("log").out
    assert "\u202e" not in shown
    assert "\\u202e" in shown
    assert program("list", "--format", "csv", "--columns", "strategy").out.splitlines()[1].startswith("'=cmd()")
    assert "\\|" in program("list", "--format", "md").out
    assert "&lt;b&gt;" in vault.list()._repr_html_()


@pytest.mark.parametrize("member", ["metric_definitions", "lineage"])
def test_a_member_of_another_type_damages_its_own_run_alone(
    program, repo: Path, runs: list[rv.Run], member: str
) -> None:
    replace_manifest(repo, runs[0], lambda text: dump_json({**json.loads(text), member: ["x"]}))

    for args in (["list"], ["best"], ["compare", "--where", "seed == 0"]):
        done = program(*args)
        assert done.status == 0, done.err
    assert member in program("list").err
    check(program("show", runs[0].id), 20)


@pytest.mark.parametrize("environment", [None, [], "x", {"packages": ["vectorbt"], "<b>\u202e": {"a": [1]}}])
@pytest.mark.parametrize("warnings", [None, {"a": 1}, [1, "\x1b[31mred"]])
def test_surroundings_of_any_shape_are_shown(
    program, repo: Path, runs: list[rv.Run], environment: object, warnings: object
) -> None:
    more = {"environment": environment, "warnings": warnings}
    replace_manifest(repo, runs[0], lambda text: dump_json({**json.loads(text), **more}))

    for args in ([], ["--format", "md"]):
        done = program("show", runs[0].id, *args)
        assert done.status == 0, done.err
        assert not {"\u202e", "\x1b"} & set(done.out)


def test_a_ledger_whose_packages_are_a_list(program, repo: Path, runs: list[rv.Run]) -> None:
    replay = {"at": "2030-01-01T00:00:00.000000Z", "by": "Eve <e@example.org>", "verdict": "exact", "code": None}
    path = f"runs/{runs[0].id[:2]}/{runs[0].id}/annotations.json"
    replays = [{**replay, "environment": {"packages": ["vectorbt"]}}]
    replace_file(repo, path, lambda text: dump_json({**json.loads(text), "replays": replays}))

    assert "replayed exactly once, last on 2030-01-01 by Eve" in program("show", runs[0].id).out
