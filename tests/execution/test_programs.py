"""Programs of any kind: run, archived with their words, and replayed as commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from machine import git

import runvault as rv
from runvault.cli.main import run as run_cli
from runvault.errors import ConfigError, FormatError, ReplayError
from runvault.execution.programs import filled

pytestmark = pytest.mark.engine

BACKTEST = """
import sys
from pathlib import Path

import pandas as pd
import vectorbt as vbt

prices = pd.read_csv("prices.csv", index_col=0, parse_dates=True)["close"]
entries = prices > prices.rolling(int(sys.argv[1])).mean()
print("fast is", sys.argv[1])
pf = vbt.Portfolio.from_signals(prices, entries, ~entries, init_cash=1000, freq="1D", engine="rust")
Path(sys.argv[2]).write_bytes(pf.dumps())
"""

# The same without the seconds that importing an engine takes: it hands out results that were made before.
SCRIPT = """
import shutil
import sys
from pathlib import Path

from helper import more

fast, out = int(sys.argv[1]) + more, sys.argv[2]
print("fast is", fast)
rows = len(Path(sys.argv[3] if len(sys.argv) > 3 else "prices.csv").read_text().splitlines()) - 1
root = next(folder for folder in Path(__file__).parents if (folder / "made").is_dir())
with Path("ran.txt").open("a") as log:
    log.write("x")
shutil.copyfile(root / "made" / f"{fast}-{rows}", out)
"""


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    import pandas as pd
    import vectorbt as vbt

    results = {}
    for fast, rows in [(3, 30), (4, 30), (5, 30), (3, 19)]:
        days = pd.date_range("2024-01-01", periods=rows)
        prices = pd.Series([100.5 + (day * 7) % 11 for day in range(1, rows + 1)], days)
        above = prices > prices.rolling(fast).mean()
        pf = vbt.Portfolio.from_signals(prices, above, ~above, init_cash=1000, freq="1D", engine="rust")
        results[f"{fast}-{rows}"] = pf.dumps()
    return results


@pytest.fixture
def project(repo: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, bytes]) -> Path:
    rows = [f"2024-01-{day:02d},{100 + (day * 7) % 11}.5" for day in range(1, 31)]
    (repo / "prices.csv").write_text("\n".join(["date,close", *rows]) + "\n")
    (repo / "sma.py").write_text(SCRIPT)
    (repo / "backtest.py").write_text(BACKTEST)
    (repo / "helper.py").write_text("more = 0\n")
    (repo / ".gitignore").write_text("*.pkl\nran.txt\n")
    (repo / "made").mkdir()
    for name, content in made.items():
        (repo / "made" / name).write_bytes(content)
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "a program")
    monkeypatch.chdir(repo)
    rv.init(repo)
    return repo


COMMAND = [sys.executable, "sma.py", "{fast}", "out.pkl"]


def times_run(project: Path) -> int:
    path = project / "ran.txt"
    return len(path.read_text()) if path.exists() else 0


def test_places_are_filled_and_other_braces_stay() -> None:
    values = {"a": "text", "b": 0.5, "c": [1, True], "d": None}

    assert filled(["{a}-{b}", "{c}", "{d}", "{e}", "{print $1}"], values) == [
        "text-0.5",
        "[1, true]",
        "null",
        "{e}",
        "{print $1}",
    ]


def test_a_command_is_archived_replayed_and_changed(project: Path) -> None:
    vault = rv.open(project)

    first = vault.run_command(COMMAND, "out.pkl", params={"fast": 3}, data={"prices": "prices.csv"})

    assert first.created
    assert first.run.strategy == "sma"
    assert first.run.params == {"fast": 3, "command": COMMAND}
    recipe = first.run.manifest["recipe"]
    assert (recipe["kind"], recipe["result"], recipe["folder"], list(recipe["files"])) == (
        "command",
        "out.pkl",
        ".",
        ["sma.py"],
    )

    again = vault.run_command(COMMAND, "out.pkl", params={"fast": 3}, data={"prices": "prices.csv"})
    assert (again.computed, again.id, times_run(project)) == (False, first.id, 1)

    result = (project / "out.pkl").read_bytes()
    replayed = vault.replay(first.id)
    assert (replayed.verdict, replayed.reason) == ("exact", [])
    assert times_run(project) == 1  # it ran elsewhere
    assert (project / "out.pkl").read_bytes() == result

    changed = vault.replay(first.id, set={"params.fast": 5})
    assert changed.verdict == "changed"
    assert changed.run is not None
    assert changed.run.params == {"fast": 5, "command": COMMAND}
    assert vault.replay(changed.run).verdict == "exact"
    lines = vault.replay_lines(first.id)
    assert "sma.py 3 out.pkl" in lines


def test_a_backtest_in_a_program_comes_out_again(project: Path) -> None:
    vault = rv.open(project)
    saved = vault.run_command([sys.executable, "backtest.py", "{fast}", "out.pkl"], "out.pkl", params={"fast": 3})

    assert saved.run.metrics["total_trades"] > 0
    assert vault.replay(saved.id).verdict == "exact"


def test_a_change_of_any_source_runs_it_again(project: Path) -> None:
    vault = rv.open(project)
    said = {"params": {"fast": 3}}
    first = vault.run_command(COMMAND, "out.pkl", **said)
    (project / "helper.py").write_text("more = 1\n")

    second = vault.run_command(COMMAND, "out.pkl", **said)

    assert second.computed
    assert second.id == first.id
    assert second.drift is not None
    assert vault.replay(first.id).verdict == "exact"  # the newest revision, in its own uncommitted code


def test_a_command_is_stale_where_any_source_but_its_result_and_inputs_differs(project: Path) -> None:
    (project / "late.py").write_text("untracked, and kept with the code\n")
    (project / "out.pkl").write_text("tracked, and another each time\n")
    git(project, "add", "--force", "out.pkl")
    git(project, "commit", "--quiet", "--message", "a result")
    vault = rv.open()
    run = vault.run_command(COMMAND, result="out.pkl", params={"fast": 3}, data={"prices": "prices.csv"}).id
    assert vault.stale().runs == []
    (project / "helper.py").write_text("more = 1\n")
    (project / "new.py").write_text("")
    (project / "late.py").unlink()
    (project / "prices.csv").write_text("date,close\n")

    found = vault.stale().to_dict()["runs"]
    assert found == [{"run": run, "code": ["helper.py", "late.py", "new.py"], "data": ["prices"]}]
    assert times_run(project) == 1


def test_inputs_are_named_by_place_and_replaced(project: Path, tmp_path: Path) -> None:
    vault = rv.open(project)
    outside = tmp_path / "outside.csv"
    outside.write_bytes((project / "prices.csv").read_bytes())
    command = [sys.executable, "sma.py", "{fast}", "{result}", "{prices}"]
    saved = vault.run_command(command, "deep/out.pkl", params={"fast": 3}, data={"prices": outside})
    other = tmp_path / "other.csv"
    other.write_text("\n".join(outside.read_text().splitlines()[:20]) + "\n")
    outside.unlink()

    lines = vault.replay_lines(saved.id)
    assert "mkdir -p deep" in lines
    assert "sma.py 3 deep/out.pkl " in lines
    assert vault.replay(saved.id).verdict == "exact"
    changed = vault.replay(saved.id, data={"prices": other})
    assert changed.run is not None
    assert changed.run.end == "2024-01-19"


@pytest.mark.parametrize(
    "override", [{"set": {"params.command": ["x"]}}, {"cash": 5.0}, {"seed": 3}, {"start": "2024-01-05"}], ids=str
)
def test_what_a_command_would_not_be_told_is_refused(project: Path, override: dict[str, object]) -> None:
    vault = rv.open(project)
    saved = vault.run_command(COMMAND, "out.pkl", params={"fast": 3}, data={"prices": "prices.csv"})

    with pytest.raises(ConfigError, match="command"):
        vault.replay(saved.id, **override)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_failure_names_the_status_and_brings_the_old_file_back(project: Path) -> None:
    (project / "out.pkl").write_bytes(b"mine")
    code = "import pathlib, sys; pathlib.Path('out.pkl').write_bytes(b'half'); sys.exit(7)"

    with pytest.raises(ReplayError, match="status 7"):
        rv.open(project).run_command(python(code), "out.pkl")

    assert (project / "out.pkl").read_bytes() == b"mine"
    assert sorted(path.name for path in project.iterdir() if "out.pkl" in path.name) == ["out.pkl"]


def test_a_file_from_before_does_not_count(project: Path) -> None:
    vault = rv.open(project)
    vault.run_command(COMMAND, "out.pkl", params={"fast": 3})
    before = (project / "out.pkl").read_bytes()

    with pytest.raises(ReplayError, match="left no result at"):
        vault.run_command(python("pass"), "out.pkl")

    assert (project / "out.pkl").read_bytes() == before


def test_a_command_finds_all_untracked_files_again_where_that_was_said(project: Path) -> None:
    (project / "rules.txt").write_text("3\n")
    command = ["sh", "-c", "cp made/$(cat rules.txt)-30 out.pkl"]
    vault = rv.open(project)
    few = vault.run_command(command, "out.pkl")
    assert vault.replay(few.id).verdict == "failed"

    whole = vault.run_command(command, "out.pkl", strategy="whole", snapshot_all=True)

    assert ("rules.txt" in few.left_out, whole.left_out) == (True, ())
    assert vault.replay(whole.id).verdict == "exact"


def test_a_script_that_stays_out_as_a_credential_is_refused_unless_it_is_allowed(project: Path) -> None:
    script = (project / "sma.py").read_text()
    (project / "feed.py").write_text(f"TOKEN = 'ghp_{'a1B2' * 9}'\n{script}")
    command = [sys.executable, "feed.py", "{fast}", "out.pkl"]
    vault = rv.open(project)
    with pytest.raises(ConfigError, match=r"feed\.py"):
        vault.run_command(command, "out.pkl", params={"fast": 3})
    assert times_run(project) == 0

    saved = vault.run_command(command, "out.pkl", params={"fast": 3}, allow=["feed.py"])

    assert [text for text in saved.run.manifest["warnings"] if "feed.py was run and is not kept" in text]


def test_a_misspelt_place_is_refused_before_anything_runs(project: Path) -> None:
    command = [sys.executable, "sma.py", "{fsat}", "out.pkl"]

    with pytest.raises(ConfigError, match=r"fills \{fsat\} in .*, and 'fast' stands nowhere") as caught:
        rv.open(project).run_command(command, "out.pkl", params={"fast": 3})

    assert caught.value.hint == "write {fast}"
    assert times_run(project) == 0


def test_what_a_program_is_not_told_is_a_warning(project: Path) -> None:
    """Others have braces of their own, and a parameter may be a label: none of this is an error."""
    command = [*COMMAND[:-1], "{result}", "{prices}", "{kind}", '{"a":1}', "{print $1}"]
    said = {"data": {"prices": "prices.csv"}, "settings": {"fees": 0.1}, "seed": 5}
    saved = rv.open(project).run_command(command, "out.pkl", params={"fast": 3, "universe": "us"}, **said)

    assert saved.run.warnings == [
        "'fees' stands nowhere in the command: the program is not told of it",
        "'universe' stands nowhere in the command: the program is not told of it",
        "'seed' stands nowhere in the command: the program is not told of it",
        "nothing fills {kind}: the command has it as it is",
    ]
    assert rv.open(project).run_command(COMMAND, "out.pkl", params={"fast": 3}).run.warnings == []


def test_what_is_no_portfolio_is_refused(project: Path) -> None:
    code = "import pickle, pathlib; pathlib.Path('out.pkl').write_bytes(pickle.dumps({'a': 1}))"

    with pytest.raises(FormatError, match="holds a dict"):
        rv.open(project).run_command(python(code), "out.pkl")


@pytest.mark.parametrize(
    ("command", "result", "said", "problem"),
    [
        ([], "out.pkl", {}, "no command"),
        (["no-such-program"], "out.pkl", {}, "cannot be started"),
        (["true"], "../out.pkl", {}, "not in the repository"),
        (["true"], ".", {}, "is a folder"),
        (["true"], "out.pkl", {"params": {"command": "x"}}, "cannot be called 'command'"),
        (["true"], "out.pkl", {"start": "2024-01-01"}, "are not cut"),
        (["true", "--api-key=0123456789abcdef0"], "out.pkl", {}, "looks like a credential"),
        ("true", "out.pkl", {}, "a list of words"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(
    project: Path, command: list[str], result: str, said: dict[str, object], problem: str
) -> None:
    with pytest.raises((ConfigError, ReplayError), match=problem):
        rv.open(project).run_command(command, result, **said)


def test_a_command_that_fails_in_replay_says_its_last_words(project: Path) -> None:
    vault = rv.open(project)
    saved = vault.run_command(COMMAND, "out.pkl", params={"fast": 3})
    (project / "sma.py").write_text("raise SystemExit('no luck')\n")
    git(project, "commit", "--all", "--quiet", "--message", "broken")

    replayed = vault.replay(saved.id, at="HEAD")

    assert replayed.verdict == "failed"
    assert replayed.reason[0].endswith("ended with status 1: no luck")


def test_a_command_of_others_runs_on_a_word_only(project: Path) -> None:
    saved = rv.open(project).run_command(COMMAND, "out.pkl", params={"fast": 3})
    git(project, "config", "user.email", "eve@example.org")
    vault = rv.open(project)

    with pytest.raises(ReplayError, match="not run"):
        vault.replay(saved.id)
    assert vault.replay(saved.id, trust_code=True).verdict == "exact"


def test_the_command_line_runs_programs(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--json", "--param", "fast=3", "--tag", "golden", "--result", "out.pkl", "--", *COMMAND]

    assert run_cli(words) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out)["run"]["params"]["command"] == COMMAND
    assert "fast is 3" in printed.err

    assert run_cli(["check"]) == 0
    assert "exact" in capfd.readouterr().out
    assert run_cli(["run", "a.py:f", "b.py:f"]) == 2


def test_a_command_runs_where_the_caller_stands(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "research").mkdir()
    for name in ("sma.py", "helper.py"):  # untracked by now, and one of them nowhere named
        (project / name).rename(project / "research" / name)
    monkeypatch.chdir(project / "research")
    command = [sys.executable, "sma.py", "{fast}", "out.pkl", "../prices.csv"]
    vault = rv.open()
    saved = vault.run_command(command, "out.pkl", params={"fast": 3})

    recipe = saved.run.manifest["recipe"]
    assert (recipe["folder"], recipe["result"], list(recipe["files"])) == (
        "research",
        "research/out.pkl",
        ["prices.csv", "research/sma.py"],
    )
    assert vault.replay(saved.id).verdict == "exact"
