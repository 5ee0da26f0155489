"""Damage is found, named, and hides nothing else."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from machine import git, unpack
from results import make_result

import runvault as rv
from runvault.integrity import apart
from runvault.integrity.apart import Apart
from runvault.stores.git import programs


def object_of(repo: Path, run: rv.Run, name: str) -> Path:
    md5 = run.artifacts[name]["md5"]
    return repo / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"


def damage(path: Path, content: bytes) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    path.write_bytes(content)


def test_a_sound_archive_has_no_findings(vault: rv.Vault) -> None:
    for total_return in (0.1, 0.2):
        vault.save(make_result(total_return), strategy=f"s{total_return}")
    report = vault.verify(artifacts=True)

    assert report.findings == []
    assert (report.checked["runs"], report.checked["artifacts"]) == (2, 10)


@pytest.mark.parametrize("name", ["portfolio.pkl", "orders.parquet", "equity.parquet"])
@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_damaged_object_is_found_and_named(vault: rv.Vault, repo: Path, name: str, content: bytes) -> None:
    run = vault.save(make_result(0.1), strategy="a").run
    vault.save(make_result(0.2), strategy="b")
    damage(object_of(repo, run, name), content)

    findings = vault.verify().findings
    assert [(finding.run, finding.file) for finding in findings] == [(run.id, name)]
    with pytest.raises(rv.IntegrityError):
        vault.get(run.id).file(name)


def test_a_single_flipped_bit_is_found(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="a").run
    path = object_of(repo, run, "equity.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damage(path, bytes(content))

    assert [finding.file for finding in vault.verify().findings] == ["equity.parquet"]


def test_an_object_that_only_keep_still_has_is_counted(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="a").run
    object_of(repo, run, "equity.parquet").unlink()
    report = vault.verify()

    assert report.findings == []
    assert report.checked["kept"] == 1
    assert len(vault.get(run.id).equity()) == 20


def test_an_object_that_is_nowhere_is_a_finding_and_an_error(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="a").run
    md5 = run.artifacts["equity.parquet"]["md5"]
    object_of(repo, run, "equity.parquet").unlink()
    (repo / f".git/runvault/keep/files/md5/{md5[:2]}/{md5[2:]}").unlink()

    assert [finding.file for finding in vault.verify().findings] == ["equity.parquet"]
    with pytest.raises(rv.ArtifactMissingError) as caught:
        vault.get(run.id).equity()
    assert "equity.parquet" in str(caught.value)


@pytest.mark.engine
def test_a_manifest_that_speaks_of_other_results_is_found(vault: rv.Vault, repo: Path) -> None:
    import pandas as pd
    import vectorbt as vbt

    close = pd.Series([1.0, 2.0, 3.0, 2.0], index=pd.date_range("2020-01-01", periods=4, freq="D"))
    run = vault.save(vbt.Portfolio.from_holding(close, freq="1D"), strategy="hold").run
    assert vault.verify(artifacts=True).findings == []

    work = repo.parent / "checkout"
    git(repo, "worktree", "add", "--quiet", str(work), vault.branch)
    path = work / f"runs/{run.id[:2]}/{run.id}/manifest.json"
    path.write_text(path.read_text().replace('"total_return": 1.0', '"total_return": 2.0'))
    git(work, "commit", "--quiet", "--all", "--message", "a better return")
    plain, whole = vault.verify().findings, vault.verify(artifacts=True).findings
    assert [(finding.run, finding.file) for finding in plain] == [(run.id, "manifest.json")]
    assert "total_return" in plain[0].problem
    assert [finding.problem.split()[0] for finding in whole] == ["metric", "results_digest"]


def test_what_other_clones_would_not_let_in_is_found(vault: rv.Vault, repo: Path, tmp_path: Path) -> None:
    """A checkout of the branch and a stray ``chmod``: the files read as they did, and a pull refuses the run."""
    (repo / "prices.csv").write_text("close\n1\n", encoding="utf-8")
    run = vault.save(make_result(), strategy="a", data={"prices": repo / "prices.csv"}).run
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "tree"), "runvault")
    [pointer] = (tmp_path / "tree/data").rglob("*.dvc")
    for path in (tmp_path / "tree/runs" / run.id[:2] / run.id / "manifest.json", pointer):
        path.chmod(0o755)
    git(tmp_path / "tree", "commit", "--quiet", "--all", "--message", "by accident")

    findings = vault.verify().findings
    data = pointer.relative_to(tmp_path / "tree").as_posix()
    assert [(each.run, each.file, each.problem) for each in findings] == [
        ("", data, "it is a program, no plain file"),
        (run.id, "manifest.json", "it is a program, no plain file"),
    ]
    git(repo, "worktree", "remove", str(tmp_path / "tree"))
    vault.restore(run.id)
    assert [each.run for each in vault.verify([run]).findings] == []


def test_a_lost_input_is_found(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.csv").write_text("date,close\n2020-01-01,100\n")
    md5 = vault.save(make_result(), strategy="s", data={"prices": repo / "prices.csv"}).run.data["prices"]["md5"]
    assert vault.verify().checked["inputs"] == 1

    for root in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5"):
        (repo / root / md5[:2] / md5[2:]).unlink()
    assert [finding.file for finding in vault.verify().findings] == [f"data/{md5[:2]}/{md5}.csv.dvc"]


def test_a_branch_that_is_no_archive_is_neither_read_nor_written(repo: Path) -> None:
    with pytest.raises(rv.VaultNotFoundError, match="no archive"):
        rv.open(repo, branch="main").list()
    with pytest.raises(rv.VaultNotFoundError, match="no archive"):
        rv.open(repo, branch="main").save(make_result(), strategy="s")
    with pytest.raises(rv.RunvaultError, match="no archive"):
        rv.init(repo, branch="main")


@pytest.mark.parametrize("kind", ["nothing", "a file"])
def test_a_branch_that_names_no_commit_is_damage(vault: rv.Vault, repo: Path, kind: str) -> None:
    run = vault.save(make_result(), strategy="a").run
    name = "1" * 40 if kind == "nothing" else git(repo, "rev-parse", "runvault:runvault.json").strip()
    (repo / ".git/refs/heads/runvault").write_text(f"{name}\n", encoding="ascii")

    with pytest.raises(rv.IntegrityError) as caught:
        rv.open(repo).list()
    assert "'runvault verify --repair' mends it" in str(caught.value.hint)
    assert rv.open(repo).verify(repair=True).repaired == ["refs/heads/runvault"]
    assert [each.id for each in rv.open(repo).list()] == [run.id]


@pytest.mark.parametrize("together", [1, 4, 64])
def test_statistics_that_other_processes_check_are_judged_alike(
    vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    for n in range(6):
        vault.save(make_result(0.1 * (n + 1)), strategy=f"s{n}")
    runs = sorted(vault.list(), key=lambda run: run.id)
    work = repo.parent / "checkout"
    git(repo, "worktree", "add", "--quiet", str(work), vault.branch)
    folders = [work / f"runs/{run.id[:2]}/{run.id}" for run in runs]
    (folders[0] / "stats.parquet").write_bytes(b"PAR1 no table PAR1")
    (folders[1] / "stats.parquet").write_bytes((folders[2] / "stats.parquet").read_bytes())
    (folders[2] / "stats.parquet").unlink()
    (folders[3] / "manifest.json").write_text("{}")
    git(work, "commit", "--quiet", "--all", "--message", "damage")
    lost = git(repo, "rev-parse", f"{vault.branch}:runs/{runs[4].id[:2]}/{runs[4].id}/stats.parquet").strip()
    unpack(repo)
    (repo / ".git/objects" / lost[:2] / lost[2:]).unlink()

    here = vault.verify().findings
    monkeypatch.setattr("runvault.integrity.verify.MANY", 1)
    monkeypatch.setattr("runvault.integrity.apart._TOGETHER", together)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    found = vault.verify().findings
    assert sorted(found, key=str) == sorted(here, key=str)
    judged = ("stats.parquet: ", "metric ")
    told = [finding for finding in here if any(word in finding.problem for word in judged)]
    assert {finding.run for finding in told} == {runs[0].id, runs[1].id}
    assert [finding for finding in found if finding in told] == told
    named = {(finding.run, finding.file) for finding in here}
    expected = ["stats.parquet", "manifest.json", "stats.parquet", "manifest.json", "stats.parquet"]
    assert named == {(run.id, file) for run, file in zip(runs, expected, strict=False)}


def test_a_process_that_cannot_check_statistics_is_an_error(
    vault: rv.Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vault.save(make_result(), strategy="s")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no module >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr("runvault.integrity.verify.MANY", 1)
    with pytest.raises(rv.RunvaultError, match="ended with 7: no module"):
        vault.verify()


def test_a_process_that_checks_statistics_imports_little() -> None:
    code = "import sys, runvault.integrity.statistics; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"pydantic", "pygit2", "pandas", "subprocess"} & set(loaded)


def test_a_process_that_ends_in_the_middle_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nhead -c 100 >/dev/null\necho enough >&2\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr("runvault.integrity.apart._TOGETHER", 1)
    monkeypatch.setattr("runvault.integrity.apart._WAITING", 1)
    with Apart() as processes:
        for number in range(500):
            processes.check(f"runs/{number}", bytes(4096), {"sharpe_ratio": 1.0})
        with pytest.raises(rv.RunvaultError, match="ended with 9: enough"):
            list(processes.problems())


def test_git_walks_through_history_meanwhile_and_ends_with_us(vault: rv.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.save(make_result(), strategy="s")
    walks: list[subprocess.Popen[bytes]] = []
    start = programs.start_git

    @contextmanager
    def watched(*args: Any, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        with start(*args, **options) as process:
            walks.append(process)
            yield process

    def interrupted(*_: Any) -> None:
        assert len(walks) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("runvault.stores.git.soundness.start_git", watched)
    monkeypatch.setattr("runvault.integrity.verify._Verification._check_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vault.verify()
    assert [walk.returncode is not None for walk in walks] == [True]


def test_large_statistics_are_handed_over_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    make = apart._parcel

    def measured(*args: Any) -> bytes:
        parcel = make(*args)
        sizes.append(len(parcel))
        return parcel

    monkeypatch.setattr(apart, "_parcel", measured)
    with Apart() as processes:
        for number in range(20):
            processes.check(f"runs/{number}", bytes(4 << 20), None)
        assert [problem.folder for problem in processes.problems()] == [f"runs/{number}" for number in range(20)]
    assert max(sizes) < 5 << 20
