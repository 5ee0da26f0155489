"""A verification judges the catalog alike wherever it is compared, and leaves no process and no file of it behind."""

from __future__ import annotations

import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from machine import git, unpack
from results import make_result

import runvault as rv
from runvault.integrity.findings import Report
from runvault.stores.processes import Child, started

CATALOG = ".git/runvault/catalog.db"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """Let processes of their own work for archives of any size; those that compared a catalog."""
    children: list[Child] = []

    @contextmanager
    def watched(*args: Any, **options: Any) -> Iterator[Child]:
        with started(*args, **options) as child:
            children.append(child)
            yield child

    monkeypatch.setattr("runvault.integrity.catalog.started", watched)
    monkeypatch.setattr("runvault.integrity.verify.MANY", 1)
    return children


def _sql(*statements: str) -> Callable[[Path], None]:
    def work(repo: Path) -> None:
        with closing(sqlite3.connect(repo / CATALOG, isolation_level=None)) as db:
            for statement in statements:
                db.execute(statement)

    return work


def _spoil_page(repo: Path) -> None:
    content = bytearray((repo / CATALOG).read_bytes())
    content[8192:8300] = bytes(108)
    (repo / CATALOG).write_bytes(content)


def _shut(repo: Path) -> None:
    """Let SQLite find a log that it cannot open."""
    log = (repo / CATALOG).with_name("catalog.db-wal")
    log.unlink(missing_ok=True)
    log.mkdir()


def _lose_a_blob(repo: Path) -> None:
    _sql("UPDATE runs SET strategy = 'x'")(repo)
    folder = next(
        line for line in git(repo, "ls-tree", "-r", "--name-only", "runvault").splitlines() if "stats" in line
    )
    blob = git(repo, "rev-parse", f"runvault:{folder}").strip()
    unpack(repo)
    (repo / ".git/objects" / blob[:2] / blob[2:]).unlink()


def _refuse(repo: Path) -> None:
    work = repo.parent / "checkout"
    git(repo, "worktree", "add", "--quiet", str(work), "runvault")
    manifest = next(work.glob("runs/*/*/manifest.json"))
    manifest.write_text("{}")
    git(work, "commit", "--quiet", "--all", "--message", "damage")


# What was done, and what is said of the catalog then
CASES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "sound": (lambda _: None, None),
    "gone": (lambda repo: (repo / CATALOG).unlink(), None),
    "of another version": (_sql("PRAGMA user_version = 7"), None),
    "a metric": (_sql('UPDATE runs SET "metrics.total_return" = 9 WHERE run = 2'), "its runs are not those"),
    "a run too many": (_sql("INSERT INTO labels VALUES (1, 0, 'golden')"), "its labels are not those"),
    "a damaged page": (_spoil_page, "not what the archive says: "),
    "no branch": (_sql("DELETE FROM branches"), "it knows no branch"),
    "it cannot be read": (_shut, "cannot be compared: the catalog cannot be compared: "),
    "git is damaged, too": (_lose_a_blob, None),
    "a run is damaged, too": (_refuse, None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_catalog_that_another_process_compares_is_judged_alike(
    vault: rv.Vault, repo: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path, case: str
) -> None:
    for n in range(3):
        vault.save(make_result(0.1 * (n + 1)), strategy=f"s{n}")
    vault.reindex()
    damage, expected = CASES[case]
    damage(repo)

    here = _verified(repo)
    monkeypatch.setattr("runvault.integrity.verify.MANY", 1)
    there = _verified(repo)
    assert there == here
    told = [finding.problem for finding in there.findings if finding.file == "runvault/catalog.db"]
    assert len(told) == (expected is not None)
    assert (expected or "") in "".join(told)
    assert list(temporary.iterdir()) == []


def _verified(repo: Path) -> Report:
    return rv.open(repo, read_only=True).verify()


def test_a_process_compares_where_there_are_many_runs_and_all_are_looked_at(
    vault: rv.Vault, apart: list[Child]
) -> None:
    run = vault.save(make_result(), strategy="s").run
    vault.reindex()
    vault.verify([run.id])
    assert apart == []
    vault.verify()
    assert [child.process.returncode for child in apart] == [0]


@pytest.mark.parametrize("also", ["nothing else", "an object is gone"])
def test_a_process_that_cannot_compare_the_catalog_is_an_error(
    vault: rv.Vault,
    repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    apart: list[Child],
    temporary: Path,
    also: str,
) -> None:
    """No finding, which would be one among others, or be left out because there are others."""
    run = vault.save(make_result(), strategy="s").run
    vault.reindex()
    if also == "an object is gone":
        md5 = run.artifacts["equity.parquet"]["md5"]
        for root in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5"):
            (repo / root / md5[:2] / md5[2:]).unlink()
    program = tmp_path / "python"
    python = shlex.quote(sys.executable)
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *integrity.catalog*) echo so far >&2; echo no room >&2; exit 7;; esac\n'
        f'exec {python} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(rv.RunvaultError, match="the process that compares the catalog ended with 7: no room"):
        vault.verify()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_ends_a_verification_leaves_no_process_and_no_file(
    vault: rv.Vault, monkeypatch: pytest.MonkeyPatch, apart: list[Child], temporary: Path, error: type[BaseException]
) -> None:
    vault.save(make_result(), strategy="s")
    vault.reindex()

    def ended(*_: Any) -> None:
        [child] = apart
        assert child.process.returncode is None
        assert [path.name.startswith("runvault-verify-") for path in temporary.iterdir()] == [True]
        raise error

    monkeypatch.setattr("runvault.integrity.verify._Verification._check_run", ended)
    with pytest.raises(error):
        vault.verify()
    assert [child.process.returncode is not None for child in apart] == [True]
    assert list(temporary.iterdir()) == []


def test_a_process_ends_with_whoever_started_it() -> None:
    code = "import time; from runvault.stores.processes import end_with_caller; end_with_caller(); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    child.communicate(timeout=60)
    assert child.returncode == 1


def test_a_process_that_compares_imports_little() -> None:
    code = "import sys, runvault.integrity.catalog; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"pydantic", "pygit2", "numpy", "pyarrow", "dvc_data"} & set(loaded)
