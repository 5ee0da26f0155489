"""`bisect`: the first commit of the code at which a replay drifts. The search is tried with verdicts made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from forge import import_commits
from machine import git
from results import make_result

import runvault as rv
from runvault.api.machine import installed
from runvault.archive.reading import Located
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.cli.main import run as program
from runvault.execution.bisect import BisectOutcome, BisectRequest, bisect
from runvault.execution.replay import ReplayOutcome, ReplayRequest
from runvault.model.annotations import Annotations

ARCHIVED = 0.1


@dataclass
class Replays:
    """A replay that knows its verdicts beforehand, and counts.

    `values` are the total returns by commit; a commit that has none fails.
    """

    values: Mapping[str, float]
    asked: list[str] = field(default_factory=list)
    breaks_after: int | None = None

    def __call__(
        self, _stores: Stores, located: Located, request: ReplayRequest, _provide: Any, _ask: Any
    ) -> ReplayOutcome:
        if len(self.asked) == self.breaks_after:
            raise KeyboardInterrupt
        commit = str(request.at)
        self.asked.append(commit)
        value = self.values.get(commit)
        if value is None:
            return ReplayOutcome("failed", located.id, reason=["it raised"])
        if value == ARCHIVED:
            return ReplayOutcome("exact", located.id)
        row = {"name": "total_return", "a": ARCHIVED, "b": value, "delta": value - ARCHIVED}
        return ReplayOutcome("drift", located.id, metrics=[row])


Search = Callable[..., BisectOutcome]


@pytest.fixture
def run(vault: rv.Vault, repo: Path) -> rv.Run:
    data = {"prices": repo / "prices.csv"}
    return vault.run(f"{repo}/strategy.py:backtest", params={"gain": ARCHIVED}, data=data).run


@pytest.fixture
def search(vault: rv.Vault, run: rv.Run) -> Search:
    def call(replays: Replays, commits: list[str], **said: Any) -> BisectOutcome:
        provide = said.pop("provide", lambda: installed(vault.stores))
        located = said.pop("located", run.located)
        request = BisectRequest(**{"good": commits[0], "bad": commits[-1], **said})
        return bisect(vault.stores, located, request, provide, lambda _: False, replays)

    return call


def history(repo: Path, length: int, branch: str = "code") -> list[str]:
    """Return a line of commits, oldest first."""
    tip = import_commits(repo, (iter([("x.txt", b"%d" % n)]) for n in range(length)), branch=branch)
    return git(repo, "rev-list", "--reverse", tip).split()


def drifting(commits: list[str], first: int) -> Replays:
    return Replays({commit: ARCHIVED if n < first else 0.5 for n, commit in enumerate(commits)})


@pytest.mark.parametrize("first", [1, 2, 100, 128, 255, 256])
def test_over_256_commits_at_most_9_are_replayed(repo: Path, search: Search, first: int) -> None:
    commits = history(repo, 257)
    replays = drifting(commits, first)

    found = search(replays, commits)

    assert found.first_drift == commits[first]
    assert len(replays.asked) <= 9
    assert len(set(replays.asked)) == len(replays.asked)
    assert [each.commit for each in found.tested] == replays.asked


def test_good_and_bad_are_not_tested_where_something_between_them_drifts(repo: Path, search: Search) -> None:
    commits = history(repo, 17)
    replays = drifting(commits, 5)

    search(replays, commits)

    assert {commits[0], commits[-1]}.isdisjoint(replays.asked)


def test_a_drift_that_only_bad_has_is_seen_and_not_believed(repo: Path, search: Search) -> None:
    commits = history(repo, 9)
    replays = drifting(commits, 8)

    assert search(replays, commits).first_drift == commits[8]
    assert replays.asked[-1] == commits[8]


def test_a_range_without_drift_is_an_error(repo: Path, search: Search) -> None:
    commits = history(repo, 9)

    with pytest.raises(rv.ReplayError, match="nothing drifts in that range"):
        search(drifting(commits, 99), commits)


def test_commits_that_cannot_run_are_skipped(repo: Path, search: Search) -> None:
    commits = history(repo, 65)
    known = drifting(commits, 20).values
    replays = Replays({commit: value for commit, value in known.items() if commit not in commits[28:36]})

    found = search(replays, commits)

    assert found.first_drift == commits[20]
    assert {each.verdict for each in found.tested} == {"exact", "drift", "failed"}


def test_where_only_skipped_commits_are_left_they_are_named(repo: Path, search: Search) -> None:
    commits = history(repo, 17)
    known = drifting(commits, 10).values
    replays = Replays({commit: value for commit, value in known.items() if commit not in commits[9:11]})

    with pytest.raises(rv.ReplayError, match="only commits that cannot run") as error:
        search(replays, commits)

    assert all(commit in str(error.value.hint) for commit in commits[9:12])
    assert commits[8] not in str(error.value.hint)


def test_merges_are_searched_as_git_does(repo: Path, search: Search) -> None:
    trunk = history(repo, 6)
    git(repo, "branch", "side", trunk[1])
    side = import_commits(repo, (iter([("y.txt", b"%d" % n)]) for n in range(6)), branch="side")
    tree = git(repo, "rev-parse", f"{trunk[-1]}^{{tree}}").strip()
    merge = git(repo, "commit-tree", tree, "-p", trunk[-1], "-p", side, "-m", "merge").strip()
    on_side = git(repo, "rev-list", "--reverse", f"{trunk[1]}..{side}").split()
    bad = {*on_side[3:], merge}
    every = [*trunk, *on_side, merge]

    found = search(Replays({commit: 0.5 if commit in bad else ARCHIVED for commit in every}), [trunk[0], merge])

    assert found.first_drift == on_side[3]
    assert len(found.tested) <= 5


@pytest.mark.parametrize(("tol", "first"), [(0.0, 3), (0.05, 9), (0.3, 12)])
def test_with_a_metric_a_commit_is_bad_where_it_differs_by_more(
    repo: Path, search: Search, tol: float, first: int
) -> None:
    commits = history(repo, 17)
    values = [ARCHIVED] * 3 + [0.12] * 6 + [0.3] * 3 + [0.9] * 5

    found = search(Replays(dict(zip(commits, values, strict=True))), commits, metric="total_return", tol=tol)

    assert found.first_drift == commits[first]


def test_a_metric_that_did_not_move_is_no_drift(repo: Path, search: Search) -> None:
    commits = history(repo, 9)

    with pytest.raises(rv.ReplayError, match="nothing drifts"):
        search(drifting(commits, 4), commits, metric="win_rate")


def test_a_metric_that_the_run_does_not_have_is_refused(repo: Path, search: Search) -> None:
    with pytest.raises(rv.ConfigError, match="no metric 'alpha'"):
        search(Replays({}), history(repo, 3), metric="alpha")


def test_a_search_that_was_broken_off_goes_on_where_it_stood(repo: Path, search: Search) -> None:
    commits = history(repo, 257)
    first, whole = drifting(commits, 77), drifting(commits, 77)
    first.breaks_after = 4
    with pytest.raises(KeyboardInterrupt):
        search(first, commits)

    found = search(whole, commits)

    assert found.first_drift == commits[77]
    assert not set(first.asked) & set(whole.asked)
    assert [each.replayed for each in found.tested[:4]] == [False] * 4


def ledger(vault: rv.Vault, run: rv.Run) -> dict[Any, str]:
    content = vault.stores.reader.read_file(vault.stores.require_tip(), f"{run.located.id.path}/annotations.json")
    return {each.code: each.verdict for each in Annotations.from_bytes(content or b"").replays}


def test_verdicts_are_kept_in_the_ledger_which_answers_in_another_clone(
    repo: Path, vault: rv.Vault, run: rv.Run, search: Search
) -> None:
    commits = history(repo, 17)
    replays = drifting(commits, 6)
    search(replays, commits)
    kept = ledger(vault, run)
    (vault.stores.repository.state_dir / "bisect.json").unlink()
    again = drifting(commits, 6)

    assert search(again, commits).first_drift == commits[6]
    assert kept == {commit: "exact" if commits.index(commit) < 6 else "drift" for commit in replays.asked}
    assert again.asked == []


def test_verdicts_in_other_code_are_no_drift_of_the_run(
    vault: rv.Vault, repo: Path, run: rv.Run, search: Search, capfd: pytest.CaptureFixture[str]
) -> None:
    before, commits = git(repo, "rev-parse", "runvault").strip(), history(repo, 3)
    search(drifting(commits, 1), commits)
    capfd.readouterr()
    assert program(["--repo", str(repo), "show", run.id]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "replayed in other code: with drift once"

    vault.replay(run, record=True)  # an entry that is made up does not run there
    assert program(["--repo", str(repo), "show", run.id]) == 0
    told = capfd.readouterr().out.splitlines()[-1]
    assert told.startswith("replayed in vain once, last on ")
    assert told.endswith("; in other code: with drift once")
    assert told in unescape(vault.review(f"{before}..runvault").markdown())


def test_by_a_metric_the_ledger_alone_does_not_decide_and_the_clones_file_does(
    repo: Path, vault: rv.Vault, search: Search
) -> None:
    commits = history(repo, 17)
    search(drifting(commits, 6), commits)
    with_file, without = drifting(commits, 6), drifting(commits, 6)

    assert search(with_file, commits, metric="total_return").first_drift == commits[6]
    (vault.stores.repository.state_dir / "bisect.json").unlink()
    assert search(without, commits, metric="total_return").first_drift == commits[6]

    assert with_file.asked == []
    assert without.asked
    assert all(without.values[commit] != ARCHIVED for commit in without.asked)


def test_verdicts_of_another_environment_do_not_count(repo: Path, vault: rv.Vault, search: Search) -> None:
    commits = history(repo, 17)
    first = drifting(commits, 6)
    search(first, commits)
    again = drifting(commits, 6)

    def elsewhere() -> Provenance:
        found = installed(vault.stores)
        return replace(found, environment={**found.environment, "python": "CPython 9.9"})

    search(again, commits, provide=elsewhere)

    assert again.asked == first.asked


def test_verdicts_of_another_revision_do_not_count(repo: Path, vault: rv.Vault, run: rv.Run, search: Search) -> None:
    commits = history(repo, 17)
    search(drifting(commits, 6), commits)
    (repo / "helper.py").write_text("FACTOR = 3.0\n")
    said: dict[str, Any] = {"params": {"gain": ARCHIVED}, "data": {"prices": repo / "prices.csv"}}
    assert vault.run(f"{repo}/strategy.py:backtest", **said).drift
    again = drifting(commits, 6)

    search(again, commits, located=vault.get(run.id).located)

    assert again.asked


def test_a_failure_under_a_time_limit_is_tried_again_with_a_longer_one(
    repo: Path, vault: rv.Vault, run: rv.Run, search: Search
) -> None:
    commits = history(repo, 9)
    values = dict(drifting(commits, 6).values)
    del values[commits[4]]
    for timeout_s in (2.0, 1.0):
        search(tried := Replays(values), commits, timeout_s=timeout_s)
    search(longer := Replays(values), commits, timeout_s=3.0)

    assert tried.asked == []
    assert longer.asked == [commits[4]]
    assert commits[4] not in ledger(vault, run)


def test_a_damaged_file_of_verdicts_costs_replays_and_nothing_else(repo: Path, vault: rv.Vault, search: Search) -> None:
    path = vault.stores.repository.state_dir / "bisect.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{ no json")
    commits = history(repo, 9)

    assert search(drifting(commits, 6), commits).first_drift == commits[6]
    assert isinstance(json.loads(path.read_text()), dict)
    assert not list(path.parent.glob("*.tmp"))


def test_commits_that_are_not_here_or_in_no_order_are_refused(repo: Path, search: Search) -> None:
    commits = history(repo, 3)

    with pytest.raises(rv.ConfigError, match="no commit 'nowhere'"):
        search(Replays({}), commits, bad="nowhere")
    with pytest.raises(rv.ConfigError, match="not an ancestor"):
        search(Replays({}), commits[::-1])
    with pytest.raises(rv.ConfigError, match="are one commit"):
        search(Replays({}), [commits[0], commits[0]])


def lose_inputs(vault: rv.Vault, run: rv.Run) -> None:
    """Remove a run's input from the cache, as in a clone that has not fetched it."""
    for path in vault.stores.objects._paths(run.manifest["recipe"]["inputs"]["prices"]["md5"]):
        path.unlink(missing_ok=True)


def test_nothing_is_tried_where_the_data_is_not_here(
    repo: Path, vault: rv.Vault, search: Search, tmp_path: Path
) -> None:
    bought = tmp_path / "bought.csv"
    bought.write_text("close\n3.0\n4.0\n")
    run = vault.run(f"{repo}/strategy.py:backtest", params={"gain": ARCHIVED}, data={"prices": bought}).run
    lose_inputs(vault, run)
    replays = Replays({})

    with pytest.raises(rv.ReplayError, match=r"the input .*bought\.csv is not here"):
        search(replays, history(repo, 3), located=run.located)
    assert replays.asked == []


def test_data_that_the_code_of_the_run_holds_is_here(repo: Path, vault: rv.Vault, run: rv.Run, search: Search) -> None:
    lose_inputs(vault, run)
    commits = history(repo, 5)

    assert search(drifting(commits, 2), commits).first_drift == commits[2]


def test_a_run_without_a_recipe_is_refused(repo: Path, vault: rv.Vault, search: Search) -> None:
    saved = vault.save(make_result(0.3), strategy="saved").run

    with pytest.raises(rv.ReplayError, match="without a recipe"):
        search(Replays({}), history(repo, 3), located=saved.located)


REAL = """\
import pandas as pd
import vectorbt as vbt


def backtest(prices, window: int = 2):
    close = pd.Series(prices["close"].to_numpy(), pd.date_range("2024-01-01", periods=len(prices)))
    above = close > close.rolling(window).mean()
    return vbt.Portfolio.from_signals(close, above, ~above, fees={fees}, freq="1D")
"""


@pytest.mark.engine
def test_the_command_finds_the_commit_by_real_replays(
    repo: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    (repo / "prices.csv").write_text("close\n" + "".join(f"{100 + n % 7}.5\n" for n in range(40)))
    commits = []
    for number, content in enumerate(
        [
            REAL.format(fees="0.0"),
            REAL.format(fees="0.0  # none"),
            "raise RuntimeError('half done')\n",
            REAL.format(fees="0.01"),
            REAL.format(fees="0.01  # one per cent"),
        ]
    ):
        (repo / "strategy.py").write_text(content)
        git(repo, "add", ".")
        git(repo, "commit", "--quiet", "--message", f"strategy: {number}")
        commits.append(git(repo, "rev-parse", "HEAD").strip())
        if number == 0:
            vault = rv.init(repo)
            vault.run("strategy.py:backtest", data={"prices": repo / "prices.csv"})
    asked = ["bisect", "latest", "--good", commits[0], "--bad", commits[4], "--trust-code"]
    capfd.readouterr()

    failed = program([*asked, "--json"])
    out, err = capfd.readouterr()

    assert failed == 50, (out, err)  # the commit that cannot run stands just before the first drift
    assert commits[2] in err
    assert commits[3] in err

    status = program(["bisect", "latest", "--good", commits[2], "--bad", commits[4], "--trust-code", "--json"])
    document = json.loads(capfd.readouterr().out)

    assert status == 0
    assert document == {"first_drift": commits[3], "tested": [{"commit": commits[3], "verdict": "drift"}]}

    shown = {}
    for form in ("table", "md", "csv"):  # the verdict is known: nothing is run again
        words = ["bisect", "latest", "--good", commits[2], "--bad", commits[4], "--format", form]
        assert program(words) == 0
        shown[form] = capfd.readouterr()
    first = f"first drift: {commits[3]}"
    assert shown["table"].out.splitlines()[0] == shown["md"].out.splitlines()[0] == first
    assert shown["table"].out.splitlines()[-1].split() == [commits[3][:12], "drift"]
    assert "| commit" in shown["md"].out
    assert f"| {commits[3][:12]} | drift" in shown["md"].out
    assert shown["csv"].out == f"commit,verdict\n{commits[3]},drift\n"
    assert shown["csv"].err.strip() == first


def test_a_tolerance_goes_with_a_metric(vault: rv.Vault, repo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["--repo", str(repo), "bisect", "latest", "--good", "a", "--bad", "b", "--tol", "1"]

    assert program(asked) == 2
    assert "--tol goes with --metric" in capfd.readouterr().err
