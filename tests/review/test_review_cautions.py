"""What a review warns of, and what it cannot read."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from forge import ForgedRun, forge_archive, forge_run, import_commits
from machine import git

import runvault as rv
from runvault.model.canonical import config_hash
from runvault.model.records import dump_json


@pytest.fixture
def vault(repo: Path) -> rv.Vault:
    """An archive of twelve forged runs whose remote branch stands where the archive is."""
    vault = rv.init(repo)
    forge_archive(repo, 12, files=False)
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")
    return vault


def metrics(**changes: Any) -> dict[str, Any]:
    return {
        **forge_run(100).manifest["metrics"],
        "total_trades": 7,
        "total_closed_trades": 7,
        "win_rate": 0.5,
        **changes,
    }


def new_run(config: Mapping[str, Any] | None = None, **changes: Any) -> ForgedRun:
    """Return a run that the archive does not have, with members of its manifest and of its config replaced."""
    base = forge_run(100)
    asked = {**base.manifest["config"], **(config or {})}
    digest = str(config_hash(asked))
    settled = {"metrics": metrics(), "artifacts": {}, "code": here_code, **changes}
    manifest = {**base.manifest, "id": f"{digest}-0", "config_hash": digest, "seed": 0, "config": asked, **settled}
    return ForgedRun(manifest["id"], manifest, {})


here_code: dict[str, Any] = {"commit": None, "base": None, "branch": "main", "dirty": False}


@pytest.fixture(autouse=True)
def code_that_is_here(repo: Path) -> None:
    here_code["commit"] = git(repo, "rev-parse", "HEAD").strip()


def put(repo: Path, *runs: ForgedRun, **files: bytes | None) -> None:
    """Commit runs to the archive branch, and other files under their paths."""
    content = {f"{run.path}/{name}": data for run in runs for name, data in run.files().items()}
    import_commits(repo, iter([iter({**content, **files}.items())]))


def told(vault: rv.Vault) -> dict[str, str]:
    return {warning.kind: warning.text for warning in vault.review().warnings}


def test_a_run_like_the_others_is_warned_of_for_nothing(vault: rv.Vault, repo: Path) -> None:
    put(repo, new_run({"params": {"fast": 7}}))

    assert told(vault) == {}


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"metrics": metrics(sharpe_ratio=5.01)}, "suspicious", "a Sharpe ratio above 5"),
        ({"metrics": metrics(total_trades=0, win_rate=None)}, "suspicious", "no trades"),
        ({"metrics": metrics(max_drawdown=0.0)}, "suspicious", "never a drawdown"),
        ({"metrics": metrics(win_rate=1.0, total_closed_trades=10)}, "suspicious", "each of them won"),
        ({"metrics": metrics(sharpe_ratio=None)}, "undefined", "undefined: sharpe_ratio"),
        ({"warnings": ["equity went negative"]}, "recorded", "equity went negative"),
        ({"code": None}, "code", "no commit of code is recorded"),
        ({"code": {"commit": "1" * 40, "base": None, "branch": None, "dirty": False}}, "code", "is not in this clone"),
        ({"code": {"commit": None, "base": None, "branch": None, "dirty": True}}, "dirty", "were not recorded"),
        ({"code": {"commit": "1" * 40, "base": "2" * 40, "branch": None, "dirty": True}}, "dirty", "snapshot"),
        (
            {"metric_definitions": {"periods_per_year": 252, "risk_free": 0, "ddof": 1, "engine": "vectorbt 1.2.0"}},
            "definitions",
            "periods_per_year is 252, in the base's runs it is 365",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:20],
)
def test_a_warning(vault: rv.Vault, repo: Path, changes: dict[str, Any], kind: str, words: str) -> None:
    put(repo, new_run({"params": {"fast": 7}}, **changes))

    assert words in told(vault)[kind]
    assert words.split("'")[0] in vault.review().html().replace("&#x27;", "'")


def test_clean_code_is_not_called_dirty(vault: rv.Vault, repo: Path) -> None:
    """Where nothing is uncommitted, the snapshot of a run is HEAD itself, and HEAD is its base."""
    here = {"commit": "1" * 40, "base": "1" * 40, "branch": "main", "dirty": False}
    put(repo, new_run({"params": {"fast": 7}}, code=here))

    assert "dirty" not in told(vault)


def test_other_data_than_the_base_has_for_the_strategy(vault: rv.Vault, repo: Path) -> None:
    prices = forge_run(100).manifest["config"]["data"]["prices"]
    put(repo, new_run({"data": {"prices": {**prices, "sha256": "0" * 64}}}))

    assert "other data than the base's runs of momentum: 000000000000, AAPL" in told(vault)["data"]
    [row] = vault.review().data
    assert (row["name"], row["runs"], row["in_base"]) == ("prices", 1, False)


def test_another_part_of_the_same_data(vault: rv.Vault, repo: Path) -> None:
    prices = forge_run(100).manifest["config"]["data"]["prices"]
    put(repo, new_run({"data": {"prices": {**prices, "start": "2010-01-01"}}}))

    assert "another part of it" in told(vault)["data"]


def test_one_warning_for_all_runs_that_it_is_about(vault: rv.Vault, repo: Path) -> None:
    put(repo, *(new_run({"params": {"fast": n}}, metrics=metrics(sharpe_ratio=9.0)) for n in range(3)))

    [warning] = vault.review().warnings
    assert len(warning.runs) == 3


def test_an_alias_that_another_run_has(vault: rv.Vault, repo: Path) -> None:
    vault.alias("gold", vault.list()[0].id)
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")
    run = new_run({"params": {"fast": 7}})
    alias = {"name": "gold", "at": "2030-01-01T00:00:00.000000Z", "by": "Eve <eve@example.org>"}
    put(repo, ForgedRun(run.id, run.manifest, {"tags": {}, "notes": [], "replays": [], "alias": alias}))

    assert "takes the name gold from run" in told(vault)["alias"]


Damage = Callable[[ForgedRun], dict[str, bytes | None]]

DAMAGES: dict[str, Damage] = {
    "no JSON": lambda _: {"manifest.json": b"{"},
    "empty": lambda _: {"manifest.json": b""},
    "too large": lambda _: {"manifest.json": b" " * (1 << 20) + b"{}"},
    "deep": lambda _: {"manifest.json": b'{"a": ' * 100_000 + b"1" + b"}" * 100_000},
    "another address": lambda run: {"manifest.json": dump_json({**run.manifest, "config_hash": "0" * 64})},
    "other params": lambda run: {
        "manifest.json": dump_json({**run.manifest, "config": {**run.manifest["config"], "params": {}}})
    },
    "newer format": lambda run: {"manifest.json": dump_json({**run.manifest, "format": 2})},
    "metrics are text": lambda run: {"manifest.json": dump_json({**run.manifest, "metrics": {"sharpe_ratio": "9"}})},
    "code is a list": lambda run: {"manifest.json": dump_json({**run.manifest, "code": [1]})},
    "annotations are a list": lambda _: {"annotations.json": b"[]"},
    "tags are a list": lambda _: {"annotations.json": b'{"tags": [1]}'},
    "no manifest": lambda _: {"manifest.json": None},
    "a missing pointer": lambda run: {
        "manifest.json": dump_json({**run.manifest, "artifacts": forge_run(1).manifest["artifacts"]})
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_named_and_hides_no_other(vault: rv.Vault, repo: Path, damage: str) -> None:
    bad, good = new_run({"params": {"fast": 7}}), new_run({"params": {"fast": 8}})
    put(repo, good, bad)
    changed = {f"{bad.path}/{name}": data for name, data in DAMAGES[damage](bad).items()}
    import_commits(repo, iter([iter(changed.items())]))

    found = vault.review()
    assert [run["id"] for run in found.new] == [good.id]
    assert [each.run for each in found.damaged] == [bad.id]
    assert found.damaged[0].problem
    assert bad.id in found.markdown()
    assert bad.id in found.html()
    assert found.to_dict()["damaged"] == [{"run": bad.id, "problem": found.damaged[0].problem}]


def test_a_damaged_run_of_the_base_has_no_place_and_hides_none(vault: rv.Vault, repo: Path) -> None:
    run = vault.best()[0]
    import_commits(repo, iter([iter([(f"runs/{run.id[:2]}/{run.id}/manifest.json", b"{")])]))
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")
    put(repo, new_run({"params": {"fast": 7}}))

    found = vault.review()
    assert found.totals["before"] == 11
    assert len(found.new) == 1
    assert not found.damaged


def test_results_changed_behind_a_manifest_are_named(vault: rv.Vault, repo: Path) -> None:
    run = vault.best()[0]
    put(repo, **{f"runs/{run.id[:2]}/{run.id}/stats.parquet": b"better"})

    assert [(each.run, each.problem) for each in vault.review().damaged] == [
        (run.id, "stats.parquet changed, and manifest.json did not")
    ]


@pytest.mark.parametrize(("mode", "what"), [("120000", "a symbolic link"), ("100755", "a program")])
def test_what_is_no_plain_file_is_named(vault: rv.Vault, repo: Path, mode: str, what: str) -> None:
    run = new_run({"params": {"fast": 7}})
    put(repo, run)
    blob = git(repo, "rev-parse", f"runvault:{run.path}/manifest.json").strip()
    stream = "commit refs/heads/runvault\ncommitter A <a@e.org> 1800000000 +0000\ndata 1\nx\n"
    stream += f"from refs/heads/runvault^0\nM {mode} {blob} {run.path}/manifest.json\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo, input=stream.encode(), check=True)

    assert [(each.run, each.problem) for each in vault.review().damaged] == [(run.id, f"manifest.json is {what}")]


def test_files_that_belong_to_no_run_are_named(vault: rv.Vault, repo: Path) -> None:
    put(repo, **{".dvc/config": b"[core]\nremote = evil\n", "runs/readme\x1b[31m.txt": b"hello", "data/ab/x.dvc": b""})

    found = vault.review()
    assert list(found.files) == [".dvc/config"]
    assert [each.run for each in found.damaged] == ["runs/readme\x1b[31m.txt"]
    assert "\x1b" not in found.markdown() + found.html()


def test_a_digest_is_no_name(vault: rv.Vault, repo: Path) -> None:
    """A folder that is called as a run, with the seed of no run, belongs to none."""
    name = hashlib.sha256(b"x").hexdigest()
    put(repo, **{f"runs/{name[:2]}/{name}-9999999999999999999/manifest.json": b"{}"})

    assert len(vault.review().damaged) == 1
