from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from machine import git

import runvault as rv
from runvault.cli.main import run as program
from runvault.errors import ConfigError, ReplayError
from runvault.stores.tables import writing

ENTRY = """
import os
import time
from pathlib import Path

import vectorbt as vbt


def sma(prices, fast, slow=20, fail=None):
    with open(Path(__file__).with_name("calls.txt"), "a") as log:
        log.write(f"{fast},{slow},{os.getpid()}\\n")
    while fast >= 6 and Path(__file__).with_name("held").exists():
        time.sleep(0.05)
    if fail == f"exit {fast}":
        os._exit(3)
    if fail == "dies":
        os.kill(os.getpid(), 11)
    if fail == fast:
        raise ValueError(f"cannot trade with {fast}")
    close = prices["close"]
    prices["close"] = 0.0  # a call must not see what another one did
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    print("printed by the entry")
    return vbt.Portfolio.from_signals(close, above, ~above, init_cash=1000.0, freq="1D")


def smas(prices, fast, slow=20):
    fast = vbt.MA.run(prices["close"], fast, short_name="fast")
    slow = vbt.MA.run(prices["close"], slow, short_name="slow")
    above = fast.ma_above(slow)
    return vbt.Portfolio.from_signals(prices["close"], above, ~above.to_numpy(), init_cash=1000.0, freq="1D")


def picky(prices, fast):
    if 5 in fast:
        raise ValueError("not 5")
    return smas(prices, fast)


def deadly(prices, fast):
    if 5 in fast:
        os.kill(os.getpid(), 11)
    return smas(prices, fast)


def counted(prices, fast, slow):
    with open(Path(__file__).with_name("calls.txt"), "a") as log:
        log.write(f"{len(fast)}\\n")
    return smas(prices, fast, slow)


def sorted_smas(prices, fast, scale=1):
    return smas(prices, sorted(value * scale for value in fast))


def one_column(prices, fast):
    above = prices["close"] > prices["close"].mean()
    return vbt.Portfolio.from_signals(prices["close"], above, ~above, init_cash=1000.0, freq="1D")
"""


@pytest.fixture
def vault(repo: Path) -> rv.Vault:
    (repo / "strategy.py").write_text(ENTRY)
    (repo / ".gitignore").write_text("calls.txt\nheld\n__pycache__/\n")
    rng = np.random.default_rng(7)
    close = pd.Series(100 * np.exp(rng.normal(0, 0.01, 120).cumsum()), pd.date_range("2024-01-01", periods=120))
    close.to_frame("close").to_parquet(repo / "prices.parquet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "strategy: averages")
    return rv.init(repo)


def calls(repo: Path) -> list[tuple[int, int]]:
    path = repo / "calls.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted(tuple(map(int, line.split(",")[:2])) for line in lines)


def calls_of(repo: Path, fast: int) -> int:
    return sum(line.startswith(f"{fast},") for line in (repo / "calls.txt").read_text().splitlines())


def commits(repo: Path) -> int:
    return int(git(repo, "rev-list", "--count", "refs/heads/runvault"))


DATA = "prices.parquet"
GRID = {"fast": [3, 5, 8], "slow": [15, 20]}


def said(repo: Path, **more: object) -> dict[str, object]:
    return {"data": repo / DATA, "executor": "serial", **more}


def test_all_combinations_are_archived_in_one_commit_as_if_run_alone(
    vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runvault.execution.sweep.BATCH_S", 1e9)
    alone = vault.run("strategy.py:sma", data=repo / DATA, params={"fast": 5, "slow": 20}, strategy="alone")
    before = commits(repo)
    swept = vault.sweep("strategy.py:sma", GRID, **said(repo))
    assert swept.to_dict() == {"total": 6, "archived": 6, "skipped": 0, "failed": []}
    assert commits(repo) == before + 1
    runs = [vault.get(run) for run in swept.ids]
    assert sorted((r.params["fast"], r.params["slow"]) for r in runs) == sorted(itertools.product([3, 5, 8], [15, 20]))
    same = next(r for r in runs if r.params["fast"] == 5 and r.params["slow"] == 20)
    for member in ("results_digest", "metrics", "window", "code"):
        assert same.manifest[member] == alone.run.manifest[member]
    assert same.manifest["recipe"] == alone.run.manifest["recipe"]
    assert {r.manifest["lineage"]["sweep"] for r in runs} == {swept.sweep}
    message = git(repo, "log", "-1", "--format=%B", "refs/heads/runvault")
    assert message.startswith("Save sweep of sma: 6 runs\n")
    assert f"Sweep: {swept.sweep}\n" in message
    assert "Kind: sweep\n" in message


def test_prices_are_encoded_once_a_commit(vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runvault.execution.sweep.BATCH_S", 1e9)
    encoded: list[tuple[str, ...]] = []
    write = writing.write_table
    monkeypatch.setattr(writing, "write_table", lambda table: encoded.append(tuple(table.columns)) or write(table))

    vault.sweep("strategy.py:sma", GRID, **said(repo))

    assert sorted(Counter(encoded).values()) == [1, 6, 6, 6]  # prices; equity, orders, trades


def test_processes_give_the_same_as_one_process(vault: rv.Vault, repo: Path) -> None:
    swept = vault.sweep("strategy.py:sma", {"fast": [3, 5], "slow": [15, 20]}, data=repo / DATA, workers=2)
    assert swept.archived == 4
    pids = {line.split(",")[2] for line in (repo / "calls.txt").read_text().splitlines()}
    assert str(os.getpid()) not in pids
    again = vault.sweep("strategy.py:sma", {"fast": [3, 5], "slow": [15, 20]}, **said(repo, force=True))
    assert (again.archived, again.drifted) == (4, [])
    assert vault.replay(swept.ids[0]).verdict == "exact"


def test_a_sweep_computes_only_what_is_missing(vault: rv.Vault, repo: Path) -> None:
    vault.sweep("strategy.py:sma", {"fast": [3, 5], "slow": [15, 20]}, **said(repo))
    (repo / "calls.txt").unlink()
    swept = vault.sweep("strategy.py:sma", GRID, **said(repo, tags=["grid"]))
    assert swept.to_dict() == {"total": 6, "archived": 2, "skipped": 4, "failed": []}
    assert {*swept.ids, *swept.skipped_ids} == {run.id for run in vault.list()}
    assert calls(repo) == [(8, 15), (8, 20)]
    assert len(vault.list(tags=["grid"])) == 6
    before = commits(repo)
    assert vault.sweep("strategy.py:sma", GRID, **said(repo, tags=["grid"])).skipped == 6
    assert commits(repo) == before
    (repo / "strategy.py").write_text(ENTRY + "\nCHANGED = True\n")
    assert vault.sweep("strategy.py:sma", {"fast": [3]}, **said(repo)).archived == 1


def test_a_combination_that_raises_is_told_and_the_others_are_archived(vault: rv.Vault, repo: Path) -> None:
    swept = vault.sweep("strategy.py:sma", {"fast": [3, 5, 8]}, **said(repo, params={"fail": 5}))
    assert (swept.total, swept.archived) == (3, 2)
    assert swept.failed == [{"params": {"fast": 5}, "error": "sma raised ValueError: cannot trade with 5"}]
    (repo / "calls.txt").unlink()
    assert vault.sweep("strategy.py:sma", {"fast": [3, 5, 8]}, **said(repo, params={"fail": 5})).skipped == 2
    assert calls(repo) == [(5, 20)]


def test_a_combination_that_kills_its_process_is_told_and_the_others_are_archived(
    vault: rv.Vault, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", f"prices={repo / DATA}", "--grid", "fast=3,5,8,9", "--param", "fail=exit 5"]
    args = ["--repo", str(repo), "sweep", "strategy.py:sma", *words, "--workers", "1", "--json"]

    assert program(args) == 1

    told = json.loads(capsys.readouterr().out)
    assert (told["archived"], [each["params"] for each in told["failed"]]) == (3, [{"fast": 5}])
    assert "the worker process died" in told["failed"][0]["error"]
    assert calls_of(repo, 5) == 2  # once beside others, once by itself
    assert vault.verify().findings == []


def test_one_combination_that_kills_spoils_no_batch(vault: rv.Vault, repo: Path) -> None:
    swept = vault.sweep("strategy.py:deadly", {"fast": [3, 5, 8, 9]}, data=repo / DATA, workers=1, vectorized=True)
    assert swept.archived == 3
    assert [each["params"] for each in swept.failed] == [{"fast": 5}]


def test_workers_that_die_of_everything_end_the_sweep(
    vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runvault.execution.sweep.DEATHS", 2)
    with pytest.raises(ReplayError, match="the worker processes die") as raised:
        vault.sweep("strategy.py:sma", {"fast": [3, 5, 8]}, data=repo / DATA, workers=1, params={"fail": "dies"})
    assert "--workers 1" in str(raised.value.hint)


def test_random_draws_distinct_combinations_with_the_seed(vault: rv.Vault, repo: Path) -> None:
    grid = {"fast": range(2, 12), "slow": [15, 20]}
    swept = vault.sweep("strategy.py:sma", grid, **said(repo, random=3, seed=1))
    assert swept.total == swept.archived == len(set(calls(repo))) == 3
    assert vault.sweep("strategy.py:sma", grid, **said(repo, random=3, seed=1)).skipped == 3
    other = vault.sweep("strategy.py:sma", grid, **said(repo, random=3, seed=2))
    assert other.sweep != swept.sweep


def test_vectorized_gives_the_numbers_of_each_combination_alone(vault: rv.Vault, repo: Path) -> None:
    swept = vault.sweep("strategy.py:smas", GRID, **said(repo, vectorized=True))
    assert swept.archived == 6
    alone = vault.sweep("strategy.py:sma", GRID, **said(repo))
    columns = {tuple(sorted(vault.get(i).params.items())): vault.get(i) for i in swept.ids}
    for run in map(vault.get, alone.ids):
        params = {name: run.params[name] for name in ("fast", "slow")}
        column = columns[tuple(sorted(params.items()))]
        assert column.manifest["metrics"] == pytest.approx(run.manifest["metrics"], nan_ok=True)
        assert column.params == params
    assert vault.sweep("strategy.py:smas", GRID, **said(repo, vectorized=True)).skipped == 6
    run = vault.get(swept.ids[-1])
    assert run.manifest["recipe"]["vectorized"] == {"fast": "int64", "slow": "int64"}
    assert vault.replay(run).verdict == "exact"
    changed = vault.replay(run, set={"params.fast": 4})
    assert changed.run.params == {**run.params, "fast": 4}
    assert run.portfolio().wrapper.shape == (120,)


@pytest.mark.parametrize(("cells", "each"), [(2**20, 80), (120 * 70, 70), (120, 64)])
def test_a_vectorized_entry_gets_many_at_a_time(
    vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch, cells: int, each: int
) -> None:
    """Half of what a worker has to do, as far as the arrays stay small; a commit is for 64 anyway."""
    monkeypatch.setattr("runvault.execution.sweep.CELLS", cells)
    grid = {"fast": range(2, 82), "slow": [15, 20]}
    before = commits(repo)
    assert vault.sweep("strategy.py:counted", grid, **said(repo, workers=1, vectorized=True)).archived == 160
    sizes = [int(line) for line in (repo / "calls.txt").read_text().split()]
    assert sizes == [each, each, *[160 - 2 * each] * (each < 80)]
    assert commits(repo) - before == len(sizes)


def test_a_vectorized_entry_must_return_a_column_a_combination(vault: rv.Vault, repo: Path) -> None:
    with pytest.raises(ReplayError, match="called with 2 combinations and returned 1 columns"):
        vault.sweep("strategy.py:one_column", {"fast": [1, 2]}, **said(repo, vectorized=True))
    assert vault.sweep("strategy.py:one_column", {"fast": [1]}, **said(repo, vectorized=True)).archived == 1


def test_columns_in_another_order_are_no_answer(vault: rv.Vault, repo: Path) -> None:
    with pytest.raises(ReplayError, match=r"returned fast_window \d in column \d, where \d was asked for"):
        vault.sweep("strategy.py:sorted_smas", {"fast": [9, 3, 5]}, **said(repo, vectorized=True))
    assert vault.count() == 0
    grid = {"fast": [3, 5, 9]}
    assert vault.sweep("strategy.py:sorted_smas", grid, **said(repo, vectorized=True)).archived == 3


def test_labels_of_other_values_than_the_arguments_tell_no_order(vault: rv.Vault, repo: Path) -> None:
    words = said(repo, vectorized=True, params={"scale": 2})
    assert vault.sweep("strategy.py:sorted_smas", {"fast": [3, 5]}, **words).archived == 2


def test_one_combination_that_raises_spoils_no_batch(vault: rv.Vault, repo: Path) -> None:
    swept = vault.sweep("strategy.py:picky", {"fast": [3, 5, 8, 9]}, **said(repo, vectorized=True))
    assert swept.archived == 3
    assert swept.failed == [{"params": {"fast": 5}, "error": "picky raised ValueError: not 5"}]


@pytest.mark.parametrize(
    ("grid", "more", "match"),
    [
        ({}, {}, "needs a grid"),
        ({"fast": []}, {}, "no values"),
        ({"fast": "3,5"}, {}, "no list"),
        ({"fast": [3, 3.0]}, {}, "twice"),
        ({"fast": [float("nan")]}, {}, "fast"),
        ({"speed": [1]}, {"params": {"fast": 3}}, "takes no parameter 'speed'"),
        ({"fast": [3]}, {"params": {"fast": 3}}, "among the parameters, too"),
        ({"fast": [3]}, {"executor": "threads"}, "no executor 'threads'"),
        ({"fast": [3]}, {"dask": "tcp://127.0.0.1:1"}, "knows no address"),
        ({"fast": [3]}, {"workers": 0}, "at least 1"),
    ],
)
def test_a_grid_that_is_none_is_refused(
    vault: rv.Vault, repo: Path, grid: dict[str, object], more: dict[str, object], match: str
) -> None:
    before = commits(repo)
    with pytest.raises(ConfigError, match=match):
        vault.sweep("strategy.py:sma", grid, **said(repo, **more))
    assert commits(repo) == before


COMMAND = [sys.executable, "-m", "runvault.cli.main", "sweep", "strategy.py:sma", "--data", DATA]


def start(repo: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *more], cwd=repo, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def until_commits(repo: Path, count: int, child: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 240
    while commits(repo) < count:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_killed_and_started_again_it_computes_what_is_missing(vault: rv.Vault, repo: Path) -> None:
    words = ["--grid", "fast=2:12:1", "--workers", "2"]
    (repo / "held").touch()
    child = start(repo, *words)
    until_commits(repo, commits(repo) + 1, child)
    child.kill()
    child.communicate()
    known = len(vault.list())
    assert 0 < known <= 4
    workers = {int(line.split(",")[2]) for line in (repo / "calls.txt").read_text().splitlines()}
    ends = time.monotonic() + 30
    while any(map(_alive, workers)):
        assert time.monotonic() < ends, "workers outlive the sweep"
        time.sleep(0.05)
    (repo / "calls.txt").unlink()
    (repo / "held").unlink()
    child = start(repo, *words, "--json")
    out, err = child.communicate(timeout=240)
    assert json.loads(out) == {"total": 10, "archived": 10 - known, "skipped": known, "failed": []}, err
    assert len(set(calls(repo))) == len(calls(repo)) == 10 - known
    assert len(vault.list()) == 10


def test_ctrl_c_keeps_what_is_finished(vault: rv.Vault, repo: Path) -> None:
    (repo / "held").touch()
    child = start(repo, "--grid", "fast=2:12:1", "--workers", "2")
    until_commits(repo, commits(repo) + 1, child)
    known = len(vault.list())
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert known <= len(vault.list()) <= 4


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_dask_cluster_gives_the_same(vault: rv.Vault, repo: Path) -> None:
    pytest.importorskip("distributed")
    swept = vault.sweep("strategy.py:sma", {"fast": [3, 5]}, data=repo / DATA, executor="dask", workers=1)
    assert swept.archived == 2
    assert vault.sweep("strategy.py:sma", {"fast": [3, 5]}, **said(repo, force=True)).drifted == []


UNGUARDED = """
import json
import sys
from pathlib import Path

import runvault as rv

Path("started").mkdir()  # a worker that ran this script again would fail here
swept = rv.open().sweep(
    "strategy.py:sma",
    {"fast": [3, 5]},
    params={"fail": "exit 5"},
    data=Path("prices.csv"),
    executor="dask",
    workers=1,
)
print(json.dumps([swept.archived, swept.failed]))
"""


def test_a_dask_worker_that_dies_is_told_with_its_combination(vault: rv.Vault, repo: Path) -> None:
    pytest.importorskip("distributed")
    (repo / "sweep_on_dask.py").write_text(UNGUARDED.replace("prices.csv", str(DATA)))
    done = subprocess.run([sys.executable, "sweep_on_dask.py"], cwd=repo, text=True, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    archived, failed = json.loads(done.stdout.splitlines()[-1])
    assert archived == 1
    assert [each["params"]["fast"] for each in failed] == [5]
    assert "the worker process died" in failed[0]["error"]
    assert [run.params["fast"] for run in vault.list()] == [3]
