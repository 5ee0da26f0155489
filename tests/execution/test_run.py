"""Calling a function and archiving what it returns: arguments, inputs, code, what is not computed again."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from machine import git

import runvault as rv
from runvault.stores.dvc import ObjectStore

pytestmark = pytest.mark.engine

DATA = {"prices": "data/prices.csv"}


def run(vault: rv.Vault, entry: str = "strategy.py:backtest", **said: object) -> rv.Saved:
    return vault.run(entry, **{"data": DATA, "params": {"fast": 3}, **said})


def test_arguments_are_parameters_defaults_included(vault: rv.Vault) -> None:
    saved = run(vault, seed=5, tags=["golden"], note="why")

    assert (saved.created, saved.computed) == (True, True)
    assert saved.run.strategy == "backtest"
    assert saved.run.params == {"fast": 3, "slow": 8}
    assert saved.run.to_dict()["seed"] == 5
    assert (saved.run.tags, saved.run.note) == (["golden"], "why")
    assert saved.run.manifest["duration_s"] > 0


def test_the_archived_numbers_are_those_of_a_plain_call(vault: rv.Vault, here: Path) -> None:
    saved = run(vault)
    import strategy

    prices = pd.read_csv(here / "data" / "prices.csv", parse_dates=["date"])
    assert saved.run.metrics["total_return"] == strategy.backtest(prices, 3).total_return()


def test_code_beside_the_repository_is_told(
    vault: rv.Vault, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package installed from another checkout, to be edited: used by a module of ours, and by one of its own."""
    others = tmp_path / "others"
    for name, text in {
        "marketlib": "import marketbase",
        "marketbase": "def mean(c, n): return c.rolling(n).mean()",
    }.items():
        (others / name).mkdir(parents=True)
        (others / name / "__init__.py").write_text(f"{text}\n")
    (here / "smoothing.py").write_text("import marketlib\nmean = marketlib.marketbase.mean\n")
    monkeypatch.syspath_prepend(str(others))

    told = [text.split(" ")[0] for text in run(vault).run.warnings if "outside of the repository" in text]
    swept = vault.sweep("strategy.py:backtest", {"fast": [4]}, data=DATA, executor="serial")

    assert told == ["marketbase", "marketlib"]
    assert [text.split(" ")[0] for text in vault.get(swept.ids[0]).warnings] == told


def test_inputs_are_fingerprinted_and_kept_for_a_replay_elsewhere(vault: rv.Vault, here: Path) -> None:
    saved = run(vault)

    given = saved.run.manifest["recipe"]["inputs"]["prices"]
    assert given["path"] == "data/prices.csv"
    assert saved.run.manifest["config"]["data"]["prices"]["md5"] == given["md5"]
    pointer = git(here, "show", f"{vault.branch}:data/{given['md5'][:2]}/{given['name']}.dvc")
    assert given["md5"] in pointer
    assert vault.stores.objects.get(given["md5"]) == (here / "data" / "prices.csv").read_bytes()


REWRITING = """
from pathlib import Path

import vectorbt as vbt


def backtest(prices):
    with Path("data/prices.csv").open("a") as file:
        file.write("2020-03-01,1.0\\n")
    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")
"""


def test_an_input_that_changes_meanwhile_is_archived_as_it_was_at_the_start(vault: rv.Vault, here: Path) -> None:
    (here / "rewriting.py").write_text(REWRITING)
    before = (here / "data" / "prices.csv").read_bytes()
    manifest = run(vault, "rewriting.py:backtest", params={}).run.manifest

    given = manifest["recipe"]["inputs"]["prices"]
    assert (here / "data" / "prices.csv").read_bytes() != before
    assert manifest["config"]["data"]["prices"]["md5"] == given["md5"]
    assert vault.stores.objects.get(given["md5"]) == before
    assert vault.replay(manifest["id"]).verdict == "exact"


def test_a_run_hashes_and_puts_an_input_once(vault: rv.Vault, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[Path] = []
    inner = ObjectStore.put_file
    monkeypatch.setattr(ObjectStore, "put_file", lambda store, path: put.append(path) or inner(store, path))
    run(vault)
    assert put == [Path("data/prices.csv")]
    run(vault, params={"fast": 4})
    assert len(put) == 2


def test_git_is_asked_once_for_the_state_of_the_code_and_not_where_the_run_is(
    vault: rv.Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(vault)
    started: list[str] = []
    popen = subprocess.Popen

    class Counted(popen):  # type: ignore[type-arg, misc, valid-type]
        def __init__(self, args: list[str], **options: object) -> None:
            started.extend(word for word in args if word in ("status", "rev-parse", "diff-tree"))
            super().__init__(args, **options)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    saved = run(vault, params={"fast": 4})
    assert saved.run.manifest["code"]["commit"]
    assert started == ["status"]
    vault.tag(saved.run, add=["seen"])
    assert started == ["status"]


def test_nothing_waits_for_a_commit_once_a_run_is_archived_or_known(vault: rv.Vault) -> None:
    for _ in range(2):
        run(vault)
        with vault.stores.objects.pending.collecting() as noted:
            assert noted == set()


def test_code_with_new_files_is_kept_by_a_ref_and_the_checkout_is_as_it_was(vault: rv.Vault, here: Path) -> None:
    before = git(here, "status", "--porcelain"), (here / ".git" / "index").read_bytes()
    code = run(vault).run.manifest["code"]

    assert code["dirty"] is True
    assert code["base"] == git(here, "rev-parse", "HEAD").strip()
    assert git(here, "rev-parse", f"refs/runvault/code/{code['commit']}").strip() == code["commit"]
    assert "rolling" in git(here, "show", f"{code['commit']}:smoothing.py")
    assert before == (git(here, "status", "--porcelain"), (here / ".git" / "index").read_bytes())


def test_the_recipe_names_the_files_that_were_imported(vault: rv.Vault, here: Path) -> None:
    files = run(vault).run.manifest["recipe"]["files"]

    assert set(files) == {"strategy.py", "smoothing.py"}
    assert files["strategy.py"] == git(here, "hash-object", "strategy.py").strip()


def test_a_file_imported_in_place_of_another_module_is_in_the_recipe(vault: rv.Vault, here: Path) -> None:
    """As many modules are there afterwards as before; what counts is which."""
    (here / "colours.py").write_text("RED = 1\n")
    (here / "swapping.py").write_text(
        "import colorsys, sys\nfrom strategy import backtest as whole\n\n"
        "def backtest(prices, fast: int):\n    del sys.modules['colorsys']\n    import colours\n"
        "    return whole(prices, fast + colours.RED - 1)\n"
    )
    run(vault)  # whatever an engine imports on its first run is there
    saved = run(vault, "swapping.py:backtest")
    assert "colours.py" in saved.run.manifest["recipe"]["files"]


def test_equal_code_words_and_data_are_not_computed_again(vault: rv.Vault, here: Path) -> None:
    first, again = run(vault), run(vault)

    assert again.id == first.id
    assert (again.computed, again.created) == (False, False)
    assert run(vault, force=True).computed is True
    assert run(vault, params={"fast": 4}).computed is True
    (here / "README").write_text("nothing that the strategy imports\n")
    assert run(vault).computed is False
    (here / "smoothing.py").write_text("# other code\n" + (here / "smoothing.py").read_text())
    assert run(vault).computed is True


def test_tags_of_a_run_that_is_known_are_added(vault: rv.Vault) -> None:
    run(vault)

    again = run(vault, tags=["late"])

    assert (again.computed, again.run.tags) == (False, ["late"])


def test_code_that_was_edited_meanwhile_is_what_runs(vault: rv.Vault, here: Path) -> None:
    run(vault)
    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close * bars\n")

    changed = run(vault)

    assert changed.drift is not None
    assert changed.drift["code"]["changed"] is True


EDITED = """
import pathlib

import vectorbt as vbt


def hold(prices, fast: int = 1):
    file = pathlib.Path(__file__)
    file.write_text(file.read_text().replace("size=1", "size=2"))
    from smoothing import mean

    return vbt.Portfolio.from_holding(mean(prices.set_index("date")["close"], fast), size=1, freq="1D")
"""


def test_code_that_is_edited_while_it_runs_is_kept_as_it_was_imported(vault: rv.Vault, here: Path) -> None:
    """Though what it imports only then makes the code be kept anew."""
    (here / "edited.py").write_text(EDITED)
    alone = vault.run("edited.py:hold", data=DATA).run
    assert vault.replay(alone).verdict == "exact"

    (here / "edited.py").write_text(EDITED)
    swept = vault.sweep("edited.py:hold", {"fast": [2, 3]}, data=DATA, workers=1)
    assert [vault.replay(each).verdict for each in swept.ids] == ["exact", "exact"]


def test_a_seed_decides_what_is_drawn(vault: rv.Vault) -> None:
    said = {"entry": "strategy.py:random", "params": {"n": 3}, "force": True}
    one, same, other = run(vault, seed=1, **said), run(vault, seed=1, **said), run(vault, seed=2, **said)

    assert same.created is False
    digests = {each.run.manifest["results_digest"] for each in (one, same, other)}
    assert len(digests) == 2


def test_a_setting_that_vectorbt_knows_is_its_default_meanwhile(vault: rv.Vault) -> None:
    saved = run(vault, "strategy.py:holding", params={}, settings={"init_cash": 5_000})

    assert saved.run.settings == {"init_cash": 5_000}
    assert saved.run.metrics["start_value"] == 5_000
    assert run(vault, "strategy.py:holding", params={}).run.metrics["start_value"] == 100


@pytest.mark.parametrize(
    ("entry", "said", "words"),
    [
        ("strategy.py:nothing", {"params": {}}, "returned None"),
        ("strategy.py:broken", {"params": {}}, "raised ValueError: no such market"),
        ("strategy.py:absent", {}, "no function 'absent'"),
        ("absent.py:backtest", {}, "no file"),
        ("absent_module:f", {}, "cannot be imported"),
        ("strategy.py", {}, "is no entry"),
        (".:backtest", {}, "is no entry"),
        ("data/prices.csv:backtest", {}, "is no entry"),
        ("strategy.py:backtest.", {}, "is no entry"),
    ],
)
def test_an_entry_that_cannot_be_run_says_why(vault: rv.Vault, entry: str, said: dict[str, object], words: str) -> None:
    with pytest.raises(rv.ReplayError, match=words):
        run(vault, entry, **said)
    assert vault.count() == 0


@pytest.mark.parametrize("body", ["async def other(prices): ...", "def other(prices):\n    yield 1"])
def test_a_function_whose_call_returns_no_result_is_refused_uncalled(vault: rv.Vault, here: Path, body: str) -> None:
    (here / "other.py").write_text(f"{body}\n")
    with pytest.raises(rv.ConfigError, match="other is a coroutine or a generator"):
        run(vault, "other.py:other", params={})


def test_a_syntax_error_names_file_and_line(vault: rv.Vault, here: Path) -> None:
    (here / "typo.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(rv.ReplayError, match=r"typo\.py, line 2"):
        run(vault, "typo.py:f")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"params": {"fast": 3, "slwo": 9}}, "takes no parameter 'slwo'"),
        ({"params": {}}, "needs fast"),
        ({"data": {"price": "data/prices.csv"}}, "takes no input 'price'"),
        ({"data": {"prices": "data/absent.csv"}}, r"absent\.csv"),
        ({"params": {"fast": float("nan")}}, r"params\.fast"),
        ({"require_clean": True}, "uncommitted"),
    ],
)
def test_words_that_do_not_fit_are_refused_before_anything_runs(
    vault: rv.Vault, said: dict[str, object], words: str
) -> None:
    with pytest.raises(rv.ConfigError, match=words):
        run(vault, **said)
    assert vault.count() == 0


def test_a_file_inside_a_package_is_imported_under_its_dotted_name(vault: rv.Vault, here: Path) -> None:
    (here / "desk").mkdir()
    (here / "desk" / "__init__.py").write_text("")
    (here / "desk" / "rules.py").write_text("BARS = 4\n")
    (here / "desk" / "momentum.py").write_text(
        "import vectorbt as vbt\nfrom .rules import BARS\n\n\n"
        "def hold(prices, bars: int = BARS):\n"
        "    return vbt.Portfolio.from_holding(prices.set_index('date')['close'], freq='1D')\n"
    )
    by_file = run(vault, "desk/momentum.py:hold", params={})
    by_name = run(vault, "desk.momentum:hold", params={})

    assert by_file.run.params == {"bars": 4}
    assert by_name.id == by_file.id


def test_a_package_of_that_name_from_elsewhere_is_not_run_in_its_place(
    vault: rv.Vault, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "elsewhere" / "booked", here / "booked"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "hold.py").write_text("def hold(prices):\n    return None\n")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    importlib.import_module("booked.hold")

    with pytest.raises(rv.ReplayError, match=r"'booked\.hold' is imported from .*elsewhere"):
        vault.run("booked/hold.py:hold", data=DATA)
    for name in ("booked", "booked.hold"):
        del sys.modules[name]


def test_the_program_prints_the_run(vault: rv.Vault, capsys: pytest.CaptureFixture[str]) -> None:
    from runvault.cli.main import run as program

    args = ["run", "strategy.py:backtest", "--data", "prices=data/prices.csv", "--param", "fast=3", "--json"]
    assert program(args) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"run", "created", "drift"}
    assert document["run"]["params"] == {"fast": 3, "slow": 8}
    assert program(["run", "strategy.py:broken", "--data", "prices=data/prices.csv"]) == 50
    assert "error: broken raised ValueError" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--metrics", "--report"])
def test_a_file_that_cannot_be_written_is_an_error_of_ours(
    vault: rv.Vault, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    from runvault.cli.main import run as program

    words = ["run", "strategy.py:holding", "--data", "data/prices.csv", option]
    for name in ("data", "strategy.py/out/x", "x" * 300):
        assert program([*words, name]) == 2
        assert f"{name!r} cannot be written: " in capsys.readouterr().err
    assert vault.count() == 0
    if Path("/dev/full").exists():
        assert program([*words, "/dev/full"]) == 3
        assert "the run is archived, but '/dev/full' cannot be written" in capsys.readouterr().err
        assert vault.count() == 1


def test_files_that_stay_out_are_told_in_one_line_credentials_first(
    vault: rv.Vault, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from runvault.cli.main import run as program

    for number in range(30):
        (here / f"a{number:02}.txt").write_text("scratch\n")
    (here / "imported.pem").write_text("secret\n")
    git(here, "add", "imported.pem")

    assert program(["run", "strategy.py:holding", "--data", "data/prices.csv"]) == 0

    told = [line for line in capsys.readouterr().err.splitlines() if "not in the snapshot" in line]
    assert len(told) == 1
    assert told[0].startswith("not in the snapshot of the code: imported.pem, ")
    assert re.search(r"a00.txt.* and \d+ more$", told[0])


def test_all_untracked_files_are_kept_where_that_is_said(vault: rv.Vault, here: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes" / "rules.txt").write_text("3\n")
    (here / ".env").write_text("TOKEN=abc\n")
    (here / "reader.py").write_text(
        "from pathlib import Path\n\nimport vectorbt as vbt\n\n\ndef hold(prices):\n"
        "    start = int((Path(__file__).parent / 'notes' / 'rules.txt').read_text())\n"
        "    return vbt.Portfolio.from_holding(prices.set_index('date')['close'].iloc[start:], freq='1D')\n"
    )
    few = run(vault, "reader.py:hold", params={})
    assert "notes/rules.txt" in few.left_out
    assert vault.replay(few.run).verdict == "failed"

    args = ["run", "reader.py:hold", "--data", "prices=data/prices.csv", "--strategy", "all", "--snapshot-all"]
    from runvault.cli.main import run as program

    assert program(args) == 0
    whole = vault.get("latest")
    kept = git(here, "ls-tree", "-r", "--name-only", whole.manifest["code"]["commit"]).split()
    assert {"notes/rules.txt", "data/prices.csv", "smoothing.py"} <= set(kept)
    assert ".env" not in kept
    assert vault.replay(whole).verdict == "exact"


def test_a_sweep_keeps_all_untracked_files_where_that_is_said(vault: rv.Vault, here: Path) -> None:
    (here / "rules.txt").write_text("3\n")
    said = {"data": DATA, "executor": "serial", "snapshot_all": True}
    swept = vault.sweep("strategy.py:backtest", {"fast": [3]}, **said)
    commit = vault.get(swept.ids[0]).manifest["code"]["commit"]
    assert swept.left_out == ()
    assert "rules.txt" in git(here, "ls-tree", "--name-only", commit).split()


TOKEN = "ghp_" + "a1B2" * 9
LATE = """
import vectorbt as vbt


def hold(prices, n: int = 1):
    import feed

    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")
"""


@pytest.fixture
def secret(here: Path) -> Iterator[Path]:
    """Return a module that holds a token, and that `early.py` imports at once, `late.py` while it runs."""
    (here / "feed.py").write_text(f"TOKEN = {TOKEN!r}\n")
    (here / "late.py").write_text(LATE)
    (here / "early.py").write_text("import feed\n" + LATE.replace("    import feed\n\n", ""))
    yield here / "feed.py"
    for name in ("feed", "early", "late"):
        sys.modules.pop(name, None)


def test_code_that_stays_out_as_a_credential_is_refused_unless_it_is_allowed(
    vault: rv.Vault, here: Path, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from runvault.cli.main import run as program

    args = ["run", "early.py:hold", "--data", "prices=data/prices.csv"]
    assert program(args) == 13
    said = capsys.readouterr().err
    assert "error: 'feed.py' is run and looks like a credential" in said
    assert "--allow feed.py" in said
    with pytest.raises(rv.ConfigError, match=r"feed\.py"):
        vault.sweep("early.py:hold", {"n": [1]}, data=DATA, executor="serial")
    assert vault.count() == 0

    assert program([*args, "--allow", "feed.py"]) == 0
    run_ = vault.get("latest")
    assert [text for text in run_.manifest["warnings"] if "feed.py was run and is not kept" in text]
    assert "feed.py" not in git(here, "ls-tree", "--name-only", run_.manifest["code"]["commit"]).split()
    secret.write_text("TOKEN = None\n")
    assert run(vault, "early.py:hold", params={}, strategy="clean").left_out.count("feed.py") == 0


def test_what_is_imported_late_or_ignored_by_git_is_archived_with_a_warning(
    vault: rv.Vault, here: Path, secret: Path
) -> None:
    late = run(vault, "late.py:hold", params={})
    assert [text for text in late.run.manifest["warnings"] if "feed.py was run and is not kept" in text]

    secret.write_text("VERSION = 1\n")
    (here / ".gitignore").write_text("feed.py\n")
    ignored = run(vault, "early.py:hold", params={}, strategy="ignored")
    assert [text for text in ignored.run.manifest["warnings"] if "feed.py was run and is not kept" in text]
    assert run(vault).run.manifest["warnings"] == []


PRINTING = """
import os
import subprocess
import sys

import vectorbt as vbt


def printing(prices, fast: int = 2):
    print("of Python")
    os.system("echo of a shell")
    subprocess.run([sys.executable, "-c", "print('of a child')"])
    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")
"""


@pytest.mark.parametrize(
    "words",
    [
        ["run", "printing.py:printing"],
        ["sweep", "printing.py:printing", "--grid", "fast=3", "--executor", "serial"],
        ["sweep", "printing.py:printing", "--grid", "fast=3", "--executor", "processes", "--workers", "1"],
    ],
    ids=lambda words: "-".join(word for word in words if word.isalpha()),
)
def test_what_a_backtest_prints_goes_to_stderr(
    vault: rv.Vault, here: Path, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    from runvault.cli.main import run as program

    (here / "printing.py").write_text(PRINTING)
    assert program([*words, "--data", "data/prices.csv", "--json"]) == 0

    printed = capfd.readouterr()
    assert json.loads(printed.out)
    assert [f"of {what}" in printed.err for what in ("Python", "a shell", "a child")] == [True] * 3
    subprocess.run(["echo", "after"], check=True)
    assert capfd.readouterr().out == "after\n", "restored"


def test_python_callers_keep_their_stdout(vault: rv.Vault, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "printing.py").write_text(PRINTING)
    vault.run("printing.py:printing", data={"prices": "data/prices.csv"})

    assert "of Python\n" in (printed := capfd.readouterr().out)
    assert "of a shell\n" in printed
