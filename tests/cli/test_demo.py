"""The demo pipeline in a clone of this checkout, with the real dvc: what a newcomer's first command leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SINGLES, SWEPT = 8, 1152
MOST_BATCHES = 18  # of 64; fewer where few workers share the combinations
ARCHIVE = "refs/heads/runvault"  # in full: the package's folder has the branch's name

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a Git checkout to clone"),
]


@dataclass
class Demo:
    """A clone and the environment of its user, who has neither Git nor DVC settings of their own but a name."""

    path: Path
    env: dict[str, str]
    printed: str = ""

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.path, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def repro(self) -> str:
        self.printed = self.run("dvc", "repro")
        return self.printed

    def tip(self) -> str:
        return self.run("git", "rev-parse", ARCHIVE).strip()

    def runs(self) -> set[str]:
        names = self.run("git", "ls-tree", "-r", "--name-only", ARCHIVE, "runs/").split()
        return {name.split("/")[2] for name in names if name.endswith("/manifest.json")}

    def recipe(self, run: str) -> dict[str, Any]:
        manifest = json.loads(self.run("git", "show", f"{ARCHIVE}:runs/{run[:2]}/{run}/manifest.json"))
        return dict(manifest["recipe"])

    def kinds(self) -> list[str]:
        return self.run("git", "log", "--format=%(trailers:key=Kind,valueonly,separator=)", ARCHIVE).split()

    def status(self) -> str:
        return self.run("git", "status", "--porcelain")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Return a clone in which the pipeline has run once."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = Ada Quant\n\temail = ada@example.org\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "RUNVAULT_", "DVC_"))}
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Whoever reaches for the network finds a proxy that is not there.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    demo = Demo(home / "clone", {**kept, **nowhere, "PATH": tools, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"})
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(demo.path)], check=True, env=demo.env)
    demo.run("git", "remote", "remove", "origin")  # an archive of this checkout is not the clone's
    demo.repro()
    return demo


def test_the_demo_archives_single_runs_and_a_sweep_in_few_commits(demo: Demo) -> None:
    assert len(demo.runs()) == SINGLES + SWEPT
    assert 1 <= demo.kinds().count("sweep") <= MOST_BATCHES
    assert demo.kinds().count("save") == SINGLES
    assert f"{SWEPT:,} combinations" in demo.printed


def test_the_demo_leaves_the_checkout_clean(demo: Demo) -> None:
    assert demo.status() == ""


def test_the_demo_prints_the_leaderboard_and_a_diff_and_leaves_a_page(demo: Demo) -> None:
    assert "params.fast_window" in demo.printed
    assert "sharpe" in demo.printed.lower()
    page = (demo.path / "build" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="figure"') == 2
    assert all(title in page for title in ("Equity and drawdown", "Leaderboard", "Two runs compared"))


def test_runs_of_both_kinds_have_recipes_and_replay_exactly(demo: Demo) -> None:
    singles = json.loads((demo.path / "build" / "backtest.json").read_text())["runs"]
    best = json.loads(demo.run("runvault", "best", "--tag", "sweep", "-n", "1", "--json"))["runs"][0]["id"]
    assert len(singles) == SINGLES
    for run in singles:
        recipe = demo.recipe(run)
        assert recipe["entry"] == "examples/strategy.py:backtest"
        assert recipe["stage"] == {"name": "backtest", "file": "dvc.yaml"}
        assert list(recipe["inputs"]) == ["prices"]
    assert demo.recipe(best)["entry"] == "examples/strategy.py:backtests"
    assert demo.recipe(best)["stage"] == {"name": "sweep", "file": "dvc.yaml"}

    chosen = {best, *singles[:2]}
    demo.run("runvault", "tag", *chosen, "--add", "golden")
    tip = demo.tip()
    replays = json.loads(demo.run("runvault", "check", "--json"))["replays"]
    assert {(each["of"], each["verdict"]) for each in replays} == {(run, "exact") for run in chosen}
    assert json.loads(demo.run("runvault", "stale", "--strategy", "dual_sma", "--json")) == {"runs": []}
    assert demo.tip() == tip
    assert demo.status() == ""


def test_dvc_shows_the_metrics_and_draws_the_curves(demo: Demo) -> None:
    shown = json.loads(demo.run("dvc", "metrics", "show", "--json"))[""]["data"]["build/metrics.json"]["data"]
    windows = [(symbol, pair) for symbol, pairs in shown.items() for pair in pairs]
    assert windows == [(symbol, pair) for symbol in ("AAPL", "GOOG", "IBM", "MSFT") for pair in ("20-50", "50-200")]
    where = ["--where", "params.symbol == 'GOOG' and params.fast_window == 20"]
    run = json.loads(demo.run("runvault", "list", *where, "--json"))["runs"][0]
    assert shown["GOOG"]["20-50"] == pytest.approx(
        {name: run["metrics"][name] for name in shown["GOOG"]["20-50"]}, 1e-5
    )
    assert "GOOG" in demo.run("dvc", "metrics", "diff", "HEAD", "--all")
    demo.run("dvc", "plots", "show", "--out", "build/plots")
    assert "GOOG 20-50" in (demo.path / "build" / "plots" / "index.html").read_text(encoding="utf-8")
    assert demo.status() == ""


def test_running_the_demo_again_skips_every_step_and_adds_no_commit(demo: Demo) -> None:
    tip = demo.tip()
    printed = demo.repro()
    assert printed.count("didn't change, skipping") == 4
    assert demo.tip() == tip
    assert demo.status() == ""


def test_a_missing_page_is_written_again_without_a_backtest(demo: Demo) -> None:
    tip, page = demo.tip(), demo.path / "build" / "report.html"
    page.unlink()
    printed = demo.repro()
    assert page.exists()
    assert printed.count("didn't change, skipping") == 3
    assert demo.tip() == tip


def test_a_removed_run_is_noticed(demo: Demo) -> None:
    receipts = demo.path / "build"
    demo.run("runvault", "rm", json.loads((receipts / "backtest.json").read_text())["runs"][0])
    demo.run("dvc", "repro", "archive")
    assert not (receipts / "backtest.json").exists()
    assert (receipts / "sweep.json").exists()
    assert "changed outs" in demo.run("dvc", "status", "backtest")


def test_a_deleted_archive_is_noticed_and_made_again(demo: Demo) -> None:
    demo.run("git", "branch", "--quiet", "-D", "runvault")
    demo.repro()
    assert len(demo.runs()) == SINGLES + SWEPT
    assert demo.status() == ""
    assert demo.repro().count("didn't change, skipping") == 4


def test_the_quick_start_runs_and_leaves_the_checkout_clean(demo: Demo) -> None:
    printed = demo.run("python", "examples/quickstart.py")
    assert (
        len(demo.run("runvault", "list", "--strategy", "quickstart", "--columns", "id").splitlines()) == 4
    )  # two of them head the table
    assert "params.fast" in printed
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("$ runvault best -n 2\n")[2].partition("```")[0]
    assert shown.count("\n") == 4
    assert all(line.partition("2026-")[0] in printed for line in shown.splitlines())  # all but when it was saved
    assert demo.status() == ""
