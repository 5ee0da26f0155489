"""Running archived runs again: verdicts, overrides, where the code and the data come from, what is cleaned up."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from machine import git

import runvault as rv
from runvault.cli.main import run as program
from runvault.execution.printing import replay_lines

pytestmark = pytest.mark.engine

DATA = {"prices": "data/prices.csv"}


@pytest.fixture
def saved(vault: rv.Vault) -> rv.Saved:
    return vault.run("strategy.py:backtest", data=DATA, params={"fast": 3}, tags=["golden"])


def test_a_dirty_tree_that_was_cleaned_away_replays_exactly(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    (here / "smoothing.py").unlink()
    (here / "strategy.py").write_text("raise SystemExit('the working tree is not what is run')\n")
    shutil.rmtree(here / "data")

    replayed = vault.replay(saved.run)

    assert (replayed.verdict, list(replayed.metrics), replayed.run) == ("exact", [], None)
    assert git(here, "worktree", "list").count("\n") == 1
    assert vault.count() == 1


def test_a_random_run_replays_exactly_by_its_seed(vault: rv.Vault) -> None:
    saved = vault.run("strategy.py:random", data=DATA, params={"n": 3}, seed=11)
    assert vault.replay(saved.run).verdict == "exact"


def test_overrides_make_a_new_run_that_names_the_old_one(vault: rv.Vault, saved: rv.Saved) -> None:
    replayed = vault.replay(saved.run, set={"params.fast": 4}, start="2020-01-11", end="2020-02-10")

    assert replayed.verdict == "changed"
    assert replayed.run is not None
    assert replayed.run.params == {"fast": 4, "slow": 8}
    assert (replayed.run.to_dict()["start"], replayed.run.to_dict()["end"]) == ("2020-01-11", "2020-02-10")
    assert replayed.run.manifest["lineage"]["replay_of"] == f"{saved.id}@{saved.run.to_dict()['commit']}"
    assert vault.replay(replayed.run).verdict == "exact"


PAIR = """
import vectorbt as vbt


def pair(prices, events):
    close = prices.set_index("date")["close"]
    return vbt.Portfolio.from_holding(close, init_cash=1000 + len(events), freq=close.index[1] - close.index[0])
"""


@pytest.fixture
def pair(vault: rv.Vault, here: Path) -> dict[str, str]:
    """Return two inputs of 60 days; in one two columns hold times, so that it does not show which of them counts."""
    prices = pd.read_csv(here / "data" / "prices.csv", parse_dates=["date"])
    prices.assign(known=prices["date"] + pd.Timedelta(days=5)).to_parquet(here / "data" / "events.parquet")
    (here / "pair.py").write_text(PAIR)
    return {**DATA, "events": "data/events.parquet"}


@pytest.mark.parametrize(
    ("series", "whole", "n_events"),
    [
        ([], False, 60),  # undeclared: prices show to be a time series, events do not
        (["--series", "prices"], False, 60),
        (["--series", "events=date"], True, 20),
        (["--series", "prices", "--series", "events=known"], False, 15),
    ],
    ids=["undeclared", "prices", "events", "both"],
)
def test_dates_cut_what_was_declared_else_what_shows_to_be_a_series(
    vault: rv.Vault, pair: dict[str, str], series: list[str], whole: bool, n_events: int
) -> None:
    words = [word for name, path in pair.items() for word in ("--data", f"{name}={path}")]
    assert program(["run", "pair.py:pair", *words, *series]) == 0
    run = vault.get("latest")
    assert (run.start, run.end, run.metrics["start_value"]) == ("2020-01-01", "2020-02-29", 1060)

    assert program(["replay", run.id, "--end", "2020-01-20"]) == 0
    cut = vault.get("latest")
    assert (cut.end, cut.metrics["start_value"]) == ("2020-02-29" if whole else "2020-01-20", 1000 + n_events)
    assert (cut.id == run.id, vault.count()) == (False, 2)
    assert cut.manifest["recipe"]["series"] == run.manifest["recipe"]["series"]
    assert vault.replay(cut).verdict == "exact"

    weeks = vault.replay(run, interval="7D", start="2020-01-01").run
    assert weeks is not None
    assert weeks.manifest["window"]["bars"] == (60 if whole else 9)
    assert weeks.metrics["start_value"] == (1060 if n_events == 60 else 1009)


def test_nothing_is_cut_where_nothing_is_declared_to_be_a_series(vault: rv.Vault, pair: dict[str, str]) -> None:
    run = vault.run("pair.py:pair", data=pair, series=[]).run
    with pytest.raises(rv.ConfigError, match="no inputs that could be cut"):
        vault.replay(run, start="2020-01-11")
    with pytest.raises(rv.ConfigError, match="no input 'volume'"):
        vault.run("pair.py:pair", data=pair, series=["volume"], strategy="other")
    assert vault.count() == 1


def test_cash_is_the_parameter_where_there_is_one_else_the_setting(vault: rv.Vault) -> None:
    parameter = vault.run("strategy.py:cash", data=DATA)
    setting = vault.run("strategy.py:holding", data=DATA)

    by_parameter = vault.replay(parameter.run, cash=500).run
    by_setting = vault.replay(setting.run, cash=500).run

    assert by_parameter is not None
    assert by_setting is not None
    assert by_parameter.params == {"init_cash": 500}
    assert by_setting.settings == {"init_cash": 500}
    assert by_parameter.metrics["start_value"] == by_setting.metrics["start_value"] == 500


def test_dates_may_be_times_of_python_and_pandas(vault: rv.Vault, saved: rv.Saved) -> None:
    run = vault.replay(
        saved.run, start=pd.Timestamp("2020-01-11"), end=dt.date(2020, 2, 10), data="data/prices.csv"
    ).run
    assert run is not None
    assert (run.start, run.end) == ("2020-01-11", "2020-02-10")
    assert run.manifest["recipe"]["span"] == {"start": "2020-01-11T00:00:00", "end": "2020-02-10", "interval": None}


def test_overrides_in_other_code_are_archived_with_that_code(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    assert saved.run.manifest["code"]["dirty"]
    git(here, "add", "smoothing.py")
    git(here, "commit", "--quiet", "--message", "smoothing: kept")
    head = git(here, "rev-parse", "HEAD").strip()

    run = vault.replay(saved.run, at="HEAD", set={"params.fast": 4}).run

    assert run is not None
    assert run.manifest["code"] == {"commit": head, "base": head, "branch": None, "dirty": False}
    assert vault.replay(run).verdict == "exact"


def test_another_input_makes_a_new_run(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    other = here / "data" / "other.csv"
    frame = pd.read_csv(here / "data" / "prices.csv")
    frame["close"] *= 2
    frame.to_csv(other, index=False)

    replayed = vault.replay(saved.run, data={"prices": other})

    assert replayed.run is not None
    recipe = replayed.run.manifest["recipe"]
    assert recipe["inputs"]["prices"]["path"] == "data/other.csv"
    assert replayed.run.manifest["config"]["data"]["prices"]["md5"] == recipe["inputs"]["prices"]["md5"]


WRITING = """
from pathlib import Path

import vectorbt as vbt


def backtest(prices, path: str = ""):
    if path:
        with Path(path).open("a") as file:
            file.write("2020-03-01,1.0\\n")
    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")
"""


def test_another_input_that_changes_meanwhile_is_archived_as_it_was_at_the_start(vault: rv.Vault, here: Path) -> None:
    (here / "writing.py").write_text(WRITING)
    run = vault.run("writing.py:backtest", data=DATA).run
    other = here / "data" / "other.csv"
    before = (here / "data" / "prices.csv").read_bytes().replace(b"2020-01-", b"2021-01-")
    other.write_bytes(before)

    replayed = vault.replay(run, data={"prices": other}, set={"params.path": str(other)})

    assert replayed.run is not None
    assert other.read_bytes() != before
    given = replayed.run.manifest["recipe"]["inputs"]["prices"]
    assert replayed.run.manifest["config"]["data"]["prices"]["md5"] == given["md5"]
    assert vault.stores.objects.get(given["md5"]) == before
    with vault.stores.objects.pending.collecting() as noted:
        assert noted == set()  # what is put before and after is noted once, and taken back once
    assert vault.replay(replayed.run).verdict == "exact"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"set": {"params.slwo": 9}}, "cannot take 'params.slwo'"),
        ({"set": {"fast": 9}}, "cannot take 'fast'"),
        ({"data": {"volume": "x.csv"}}, "no input 'volume'"),
        ({"colour": "red"}, "takes no 'colour'"),
        ({"start": ""}, "start is empty"),
        ({"interval": " "}, "interval is empty"),
        ({"end": 2020}, "end is a int"),
        ({"interval": pd.Timedelta("2D")}, "interval is a Timedelta"),
        ({"set": ["fast"]}, "set is a list"),
        ({"data": ["x.csv"]}, "data is a list"),
    ],
)
def test_what_a_recipe_cannot_take_is_refused_with_what_it_can(
    vault: rv.Vault, saved: rv.Saved, said: dict[str, object], words: str
) -> None:
    with pytest.raises(rv.ConfigError, match=words) as caught:
        vault.replay(saved.run, **said)
    assert caught.value.hint


def test_a_setting_that_nothing_takes_is_refused(vault: rv.Vault, saved: rv.Saved) -> None:
    with pytest.raises(rv.ReplayError, match="nothing takes the setting 'universe'"):
        vault.replay(saved.run, set={"settings.universe": "x"})


def test_drift_names_metrics_trade_and_cause(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close.rolling(bars + 1).mean()\n")
    git(here, "add", "smoothing.py")
    git(here, "commit", "--quiet", "--message", "smoothing: one bar more")

    replayed = vault.replay(saved.run, at="HEAD")

    assert replayed.verdict == "drift"
    assert {"name", "a", "b", "delta"} == set(replayed.metrics[0])
    assert any("first trade that differs" in line for line in replayed.reason)
    assert any("HEAD" in line for line in replayed.reason)
    assert vault.count() == 1


def test_a_tolerance_forgives_values_but_no_other_orders(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    text = (here / "strategy.py").read_text()
    (here / "strategy.py").write_text(text.replace("from_signals(close,", "from_signals(close * 1.0005,"))
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "strategy: dearer by five hundredths of a percent")
    tight, wide = vault.replay(saved.run, at="HEAD"), vault.replay(saved.run, at="HEAD", rtol=0.01)
    assert (tight.verdict, wide.verdict) == ("drift", "close")
    assert any("first trade that differs" in line for line in tight.reason)
    assert not any("first trade that differs" in line for line in wide.reason)
    assert vault.replay(saved.run, at="HEAD", rtol=1e-5).verdict == "drift"

    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close.rolling(bars + 1).mean()\n")
    git(here, "commit", "--quiet", "--all", "--message", "smoothing: one bar more")
    assert program(["replay", saved.id, "--at", "HEAD", "--rtol", "1000"]) == 1  # no metric is that far, an order is


def test_a_recipe_that_fails_says_so(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    (here / "strategy.py").write_text("def backtest(prices, fast, slow, seed):\n    raise OSError('no feed')\n")
    git(here, "commit", "--quiet", "--all", "--message", "strategy: broken")

    replayed = vault.replay(saved.run, at="HEAD")

    assert replayed.verdict == "failed"
    assert "raised OSError: no feed" in replayed.reason[0]


@pytest.mark.parametrize("entry", ["os:system", "strategy.py:vbt.Portfolio.from_holding", "builtins:print"])
def test_a_recipe_of_others_cannot_name_a_function_that_is_not_in_the_code(
    vault: rv.Vault, saved: rv.Saved, here: Path, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runvault.archive import reading
    from runvault.execution import replay as module

    def forged(*args: object) -> dict[str, object]:
        manifest = reading.read_manifest(*args)
        return {**manifest, "recipe": {**manifest["recipe"], "entry": entry}}

    monkeypatch.setattr(module, "read_manifest", forged)
    replayed = vault.replay(saved.run)

    assert replayed.verdict == "failed"
    assert "not defined in the recorded code" in replayed.reason[0]


def test_a_partial_is_as_trusted_as_its_function(vault: rv.Vault, here: Path) -> None:
    partials = """
from functools import partial

import vectorbt as vbt
from strategy import cash

own = partial(cash, init_cash=70.0)
foreign = partial(vbt.Portfolio.from_random_signals, [1.0, 2.0, 3.0], n=1, seed=1, freq="1D")
"""
    (here / "partials.py").write_text(partials)
    own = vault.run("partials.py:own", data=DATA).run
    assert (own.strategy, own.params) == ("cash", {"init_cash": 70.0})
    assert vault.replay(own).verdict == "exact"

    foreign = vault.run("partials.py:foreign").run
    failed = vault.replay(foreign)
    assert (failed.verdict, "--trust-code" in failed.reason[-1]) == ("failed", True)
    assert vault.replay(foreign, trust_code=True).verdict == "exact"


def test_a_run_without_a_recipe_says_how_to_record_one(vault: rv.Vault, saved: rv.Saved) -> None:
    plain = vault.save(saved.run.portfolio(), strategy="by_hand")
    with pytest.raises(rv.ReplayError, match="without a recipe") as caught:
        vault.replay(plain.run)
    assert "runvault run" in str(caught.value.hint)


def test_a_timeout_ends_the_child_and_takes_the_worktree_away(vault: rv.Vault, saved: rv.Saved, here: Path) -> None:
    (here / "strategy.py").write_text(
        "import pathlib, os, time\n\n\ndef backtest(prices, fast, slow, seed):\n"
        f"    pathlib.Path({str(here.parent / 'pid')!r}).write_text(str(os.getpid()))\n    time.sleep(600)\n"
    )
    git(here, "commit", "--quiet", "--all", "--message", "strategy: endless")

    started = time.monotonic()
    replayed = vault.replay(saved.run, at="HEAD", timeout=5)

    assert time.monotonic() - started < 60
    assert replayed.verdict == "failed"
    assert "did not end within 5 s" in replayed.reason[0]
    with pytest.raises(ProcessLookupError):
        os.kill(int((here.parent / "pid").read_text()), 0)
    assert git(here, "worktree", "list").count("\n") == 1


def test_verdicts_can_be_kept_in_the_ledger(
    vault: rv.Vault, saved: rv.Saved, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.replay(saved.run, record=True)

    path = f"{vault.branch}:runs/{saved.id[:2]}/{saved.id}/annotations.json"
    ledger = json.loads(git(here, "show", path))["replays"]
    assert [each["verdict"] for each in ledger] == ["exact"]
    assert ledger[0]["code"] == saved.run.manifest["code"]["commit"]
    assert ledger[0]["by"] == "Ada Quant <ada@example.org>"
    assert vault.get(saved.id).to_dict()["revision"] == 1
    assert program(["show", "latest"]) == 0
    assert "replayed exactly once, last on 20" in capsys.readouterr().out


def test_a_fresh_clone_replays_once_branch_code_and_data_are_there(
    vault: rv.Vault, saved: rv.Saved, here: Path, tmp_path: Path
) -> None:
    code = saved.run.manifest["code"]["commit"]
    bare, clone = tmp_path / "bare.git", tmp_path / "clone"
    git(here, "clone", "--quiet", "--bare", "--no-local", str(here), str(bare))
    git(here, "push", "--quiet", str(bare), "runvault", f"refs/runvault/code/{code}")
    git(here, "clone", "--quiet", "--no-local", str(bare), str(clone))
    git(clone, "branch", "--quiet", "runvault", "origin/runvault")
    elsewhere = rv.open(clone)
    with pytest.raises(rv.ReplayError, match="is not here") as caught:
        elsewhere.replay(saved.id, trust_code=True)
    git(clone, *str(caught.value.hint).removeprefix("fetch it: git ").split())
    shutil.copytree(here / ".git" / "runvault" / "keep", clone / ".git" / "runvault" / "keep")

    assert elsewhere.replay(saved.id, trust_code=True).verdict == "exact"


def test_a_clone_without_objects_replays_on_data_that_is_part_of_the_code(
    vault: rv.Vault, here: Path, tmp_path: Path
) -> None:
    git(here, "add", "--force", "data", "smoothing.py")
    git(here, "commit", "--quiet", "--message", "prices")
    saved = vault.run("strategy.py:backtest", params={"fast": 3}, data={"prices": "data/prices.csv"})
    (here / "data" / "prices.csv").write_text("other prices since\n")
    git(here, "commit", "--quiet", "--all", "--message", "other prices")
    clone = tmp_path / "clone"
    git(here, "clone", "--quiet", "--no-local", str(here), str(clone))
    git(clone, "branch", "--quiet", "runvault", "origin/runvault")

    assert rv.open(clone).replay(saved.id, trust_code=True).verdict == "exact"


def test_the_commands_answer_by_their_status(
    vault: rv.Vault, saved: rv.Saved, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(["replay", "latest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "verdict": "exact",
        "run": None,
        "of": saved.id,
        "metrics": [],
        "reason": [],
    }
    assert program(["check", "--json"]) == 0
    assert [each["verdict"] for each in json.loads(capsys.readouterr().out)["replays"]] == ["exact"]
    vault.tag(vault.save(saved.run.portfolio(), strategy="by_hand").run, add=["golden"])
    assert program(["check", "--json"]) == 1
    assert [each["verdict"] for each in json.loads(capsys.readouterr().out)["replays"]] == ["exact", "failed"]
    (here / "smoothing.py").write_text("def mean(close, bars):\n    return close\n")
    git(here, "add", "smoothing.py")
    git(here, "commit", "--quiet", "--message", "smoothing: none")
    assert program(["replay", saved.id, "--at", "HEAD", "--format", "md"]) == 1
    shown = capsys.readouterr().out
    assert "drift" in shown
    assert "| metric " in shown
    assert program(["replay", saved.id, "--set", "params.fats=1"]) == 13
    capsys.readouterr()
    assert program(["replay", saved.id, "--at", "nosuch"]) == 13
    assert "no commit 'nosuch' in this clone\nhint: name a branch" in capsys.readouterr().err


def test_zero_is_a_change_as_any_other_number(vault: rv.Vault, capsys: pytest.CaptureFixture[str]) -> None:
    run = vault.run("strategy.py:cash", data=DATA, params={"init_cash": 100.0}, seed=7).run

    assert program(["replay", run.id, "--seed", "0", "--cash", "0", "--format", "csv"]) == 0

    changed = vault.get("latest")
    assert (changed.seed, changed.params) == (0, {"init_cash": 0})
    assert capsys.readouterr().out == f"run,verdict,reason,new\n{run.id},changed,,{changed.id}\n"


def test_overrides_that_say_what_was_recorded_are_judged(vault: rv.Vault, saved: rv.Saved) -> None:
    replayed = vault.replay(saved.run, set={"params.fast": 3}, data={"prices": "data/prices.csv"}, seed=0)

    assert (replayed.verdict, replayed.run) == ("exact", None)
    assert vault.count() == 1
    assert vault.replay(saved.run, set={"params.fast": 3}, rtol=0, start="2020-01-01").verdict == "exact"


def test_a_tolerance_of_zero_makes_nothing_close(vault: rv.Vault, here: Path) -> None:
    run = vault.run("strategy.py:backtest", data=DATA, params={"fast": 3}).run
    text = (here / "strategy.py").read_text()
    (here / "strategy.py").write_text(text.replace("init_cash=1_000", "init_cash=1_000 * (1 + 1e-13)"))
    git(here, "add", "strategy.py", "smoothing.py")
    git(here, "commit", "--quiet", "--message", "strategy: a little more cash")

    assert program(["replay", run.id, "--at", "HEAD"]) == 0
    assert program(["replay", run.id, "--at", "HEAD", "--rtol", "0"]) == 1


def test_the_printed_lines_run_it_by_hand(
    vault: rv.Vault, saved: rv.Saved, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import subprocess

    assert program(["replay", "latest", "--print", "--set", "params.fast=9"]) == 2
    assert "without --set" in capsys.readouterr().err
    assert program(["replay", "latest", "--print"]) == 0
    script = capsys.readouterr().out
    assert program(["replay", "latest", "--print", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"lines": script.splitlines()}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=here, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    total = saved.run.stats()["Total Return [%]"]
    assert f"{total:.4f}"[:6] in done.stdout


BY_DATE = """
import numpy as np
import vectorbt as vbt


def noisy(prices, fast):
    close = prices.set_index("date")["close"]
    above = close.rolling(fast).mean() > close * (1 + np.random.normal(0, 0.01))
    return vbt.Portfolio.from_signals(close, above, ~above)
"""
TO_THE_BIT = "told = entry(**inputs, **words).stats(); print(*map(float, told[['End Value', 'Total Fees Paid']]))"


def test_the_printed_lines_know_settings_dates_window_and_seed(
    vault: rv.Vault, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import subprocess

    days = pd.date_range("2020-01-01", periods=120, freq="D")
    frame = pd.DataFrame({"date": days, "close": [100 + 10 * math.sin(day / 5) for day in range(120)]})
    frame.to_csv(here / "by_date.csv", index=False)
    (here / "by_date.py").write_text(BY_DATE)
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "by date")
    said = {"params": {"fast": 3}, "settings": {"fees": 0.01, "init_cash": 5000, "freq": "1D"}, "seed": 7}
    whole = vault.run("by_date.py:noisy", data={"prices": here / "by_date.csv"}, **said).run
    run = vault.replay(whole, start="2020-01-11", end="2020-03-10", interval="2D").run
    assert run is not None

    assert program(["replay", run.id, "--print"]) == 0
    script = capsys.readouterr().out.replace("print(entry(**inputs, **words).stats())", TO_THE_BIT)
    done = subprocess.run(["bash", "-e", "-c", script], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = run.stats()[["End Value", "Total Fees Paid"]]
    assert [float(word) for word in done.stdout.split()[-2:]] == list(expected)


DESK = """
import datetime as dt

import vectorbt as vbt

import runvault as rv

from .fees import FEES


class Hold:
    @staticmethod
    @rv.record(settings={"init_cash": 1})
    def since(prices, day: dt.date, fees: float, size=(1, 2)):
        close = prices.set_index("date")["close"][f"{day.year}-{day.month}-{day.day}":]
        return vbt.Portfolio.from_holding(close, size=sum(size), fees=fees + FEES, freq="1D")
"""


def test_the_printed_lines_find_what_a_replay_finds(
    vault: rv.Vault, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function in a class in a package, its own words as it declares them, settings that it takes, the backend."""
    import subprocess

    for name in ("desk", "desk.fees", "desk.hold"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (here / "lib" / "desk").mkdir(parents=True)
    (here / "lib" / "desk" / "__init__.py").touch()
    (here / "lib" / "desk" / "fees.py").write_text("FEES = 0.001\n")
    (here / "lib" / "desk" / "hold.py").write_text(DESK.replace("fees=", "engine='rust', fees="))
    said = {"settings": {"fees": 0.01, "init_cash": 5000}, "params": {"day": "2020-01-20"}}
    run = vault.run("lib/desk/hold.py:Hold.since", data=DATA, **said).run
    assert run.environment["backend"] == "rust"
    assert vault.replay(run).verdict == "exact"

    script = vault.replay_lines(run).replace("print(entry(**inputs, **words).stats())", TO_THE_BIT)
    assert "import vectorbt_rust" in script
    environment = {**run.manifest["environment"], "backend": "numba"}
    by_numba = replay_lines({**run.manifest, "environment": environment}, vault.branch)
    assert "vbt.settings['engine'] = 'numba'" in by_numba
    done = subprocess.run(["bash", "-e", "-c", script], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [float(word) for word in done.stdout.split()[-2:]] == list(run.stats()[["End Value", "Total Fees Paid"]])


ENTRY = """
from {package}.fees import FEES

import vectorbt as vbt


def hold(prices, fast: int = 1):
    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], fees=FEES, freq="1D")
"""


@pytest.fixture
def package(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a package in a folder `src`, which is where modules are looked for, as where it is installed from there.

    An entry beside it imports it, and so does one inside.
    """
    name = "srclayout"
    (here / "src" / name).mkdir(parents=True)
    (here / "src" / name / "__init__.py").touch()
    (here / "src" / name / "fees.py").write_text("FEES = 0.01\n")
    for place in (here / "beside.py", here / "src" / name / "inside.py"):
        place.write_text(ENTRY.format(package=name))
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "a package")
    for module in ("beside", name, f"{name}.fees", f"{name}.inside"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(here / "src")
    return name


@pytest.mark.parametrize("entry", ["beside.py:hold", "srclayout.inside:hold"])
def test_modules_are_found_where_they_were_in_the_recorded_code(
    vault: rv.Vault, here: Path, package: str, entry: str
) -> None:
    import subprocess

    run = vault.run(entry, data=DATA).run
    assert "src" in run.manifest["recipe"]["paths"]
    assert "src/srclayout/fees.py" in run.manifest["recipe"]["files"]
    sweep = vault.sweep(entry, {"fast": [2]}, data=DATA, executor="serial")
    (here / "src" / package / "fees.py").write_text("FEES = 0.02\n")

    assert vault.replay(run).verdict == "exact"
    assert vault.replay(vault.get(sweep.ids[0])).verdict == "exact"
    git(here, "commit", "--quiet", "--all", "--message", "higher fees")
    assert vault.replay(run, at="HEAD").verdict == "drift"
    lines = vault.replay_lines(run)
    done = subprocess.run(["bash", "-e", "-c", lines], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{run.stats()['Total Fees Paid']:.6f}" in done.stdout


def test_a_command_finds_its_modules_in_the_recorded_code(vault: rv.Vault, here: Path, package: str) -> None:
    program = f"import sys, pandas as pd; sys.path.append({str(here / 'src')!r}); from {package}.inside import hold; "
    program += "hold(pd.read_csv('data/prices.csv', parse_dates=['date'])).save('pf.pkl')"
    run = vault.run_command([sys.executable, "-c", program], result="pf.pkl", strategy="held", snapshot_all=True).run
    (here / "src" / package / "fees.py").write_text("FEES = 0.02\n")
    assert vault.replay(run).verdict == "exact"


def test_modules_of_the_checkout_are_not_run_in_place_of_the_recorded_code(
    vault: rv.Vault, here: Path, package: str
) -> None:
    """As where a package was installed from the checkout to be edited, and Git ignores a module of it."""
    (here / "src" / package / "local.py").write_text("EDITED = 1\n")
    (here / ".gitignore").write_text("local.py\n")
    (here / "late.py").write_text(
        "import sys\n\nimport vectorbt as vbt\n\n\ndef hold(prices):\n"
        f"    sys.path.append({str(here / 'src' / package)!r})\n    import local\n\n"
        '    return vbt.Portfolio.from_holding(prices.set_index("date")["close"], freq="1D")\n'
    )
    run = vault.run("late.py:hold", data=DATA).run
    replayed = vault.replay(run)
    sys.modules.pop("local", None)

    assert replayed.verdict == "failed"
    assert f"'local' is imported from '{here / 'src' / package / 'local.py'}'" in replayed.reason[0]


FOLDER = """
import pandas as pd
import vectorbt as vbt


def hold(folder):
    close = pd.read_csv(folder / "prices.csv", parse_dates=["date"]).set_index("date")["close"]
    return vbt.Portfolio.from_holding(close, freq="1D")
"""


def test_a_module_that_is_a_link_in_the_code_is_replayed(vault: rv.Vault, here: Path) -> None:
    (here / "lib").mkdir()
    (here / "smoothing.py").rename(here / "lib" / "smoothing.py")
    (here / "smoothing.py").symlink_to("lib/smoothing.py")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "smoothing: in lib")
    run = vault.run("strategy.py:backtest", data=DATA, params={"fast": 3}).run

    assert "lib/smoothing.py" in run.manifest["recipe"]["files"]
    assert vault.replay(run).verdict == "exact"


def test_a_link_is_the_input_by_its_own_name(vault: rv.Vault, here: Path) -> None:
    """As DVC makes them into its cache, where a file has no extension and never changes."""
    cached = here / "cache" / "ab12"
    cached.parent.mkdir()
    (here / "data" / "prices.csv").rename(cached)
    (here / "data" / "prices.csv").symlink_to(cached)

    run = vault.run("strategy.py:backtest", data=DATA, params={"fast": 3}).run
    assert vault.replay(run).verdict == "exact"
    assert not vault.stale().runs
    other = cached.with_name("cd34")
    other.write_text(cached.read_text() + "2020-03-01,100\n")
    (here / "data" / "prices.csv").unlink()
    (here / "data" / "prices.csv").symlink_to(other)
    assert [list(each.data) for each in vault.stale().runs] == [["prices"]]


def test_inputs_take_the_place_of_links_of_the_code(vault: rv.Vault, here: Path, tmp_path: Path) -> None:
    own = (here / "data" / "prices.csv").read_text()
    (here / "folder.py").write_text(FOLDER)
    (here / "folder").mkdir()
    file = vault.run("strategy.py:holding", data=DATA).run
    outside = tmp_path / "outside"
    (here / "data").rename(outside)
    (here / "data").symlink_to(outside)
    (here / "folder" / "prices.csv").symlink_to(outside / "prices.csv")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "links")
    folder = vault.run("folder.py:hold", data={"folder": "folder"}).run
    link = vault.run("folder.py:hold", data={"folder": "data"}).run
    (outside / "prices.csv").write_text(later := own.replace("2020-01-01,", "2020-01-01,1"))

    assert vault.replay(file, at="HEAD").verdict == "exact"
    assert [vault.replay(folder).verdict, vault.replay(link).verdict] == ["exact", "exact"]
    assert (outside / "prices.csv").read_text() == later
