"""Commits, refs, branches and URLs of anybody: none reaches git as an option, and none runs or reaches anything."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import pytest
from machine import git
from results import make_result

import runvault as rv
from runvault.cli.main import run

OPTIONS = (
    "-x", "-h", "-", "--", "---", "--help", "--version", "--all", "--exec=touch pwned", "--upload-pack=touch pwned",
    "--receive-pack=touch pwned", "--output=pwned", "--no-index", "--git-dir=/", "-c", "-ccore.pager=touch pwned",
    "-c core.fsmonitor=touch pwned", "--config-env=core.pager=HOME", "--textconv", "--ext-diff", "--stdin",
    "--end-of-options", "-O/etc/passwd", "--template=x", "-S", "-u touch", "--orphan=x",
    "--parseopt", "--sq-quote", "--local-env-vars",
)  # fmt: skip
OTHERS = (
    "ext::sh -c 'touch pwned'", "file:///etc", "fd::17", "ssh://-oProxyCommand=touch pwned/x", "@{-1}", ":/x", ":/",
    ":", "HEAD^{/x}", "HEAD^{/--output=pwned}", "HEAD\n--output=pwned", "\n--all", "HEAD:strategy.py", "^HEAD",
    "HEAD..", "..", "HEAD...HEAD", "*", "refs/heads/*", "@{upstream}", "../../x", "\x1b[31m", "\u202e", "a b",
    "HEAD~99999999999", "",
)  # fmt: skip
VALUES = (*OPTIONS, *OTHERS)

# A git that writes down what it was called with, the number of arguments first, and goes on as the real one.
SHIM = """#!/bin/sh
printf '%s\\0' "$#" "$@" >> '{log}'
exec '{git}' "$@"
"""
HARMLESS = ("HEAD", "runvault", "nowhere")

PLACES: dict[str, Callable[[str, str], Sequence[str]]] = {
    "show RUN@COMMIT": lambda value, run_id: ["show", f"{run_id}@{value}"],
    "restore RUN@COMMIT": lambda value, run_id: ["restore", f"{run_id}@{value}"],
    "diff RUN@COMMIT": lambda value, run_id: ["diff", run_id, f"{run_id}@{value}"],
    "show RUN": lambda value, _: ["show", "--", value],
    "review REF": lambda value, _: ["review", "--", value],
    "review BASE..": lambda value, _: ["review", "--", f"{value}..runvault"],
    "review ..HEAD": lambda value, _: ["review", "--", f"runvault..{value}"],
    "replay --at": lambda value, run_id: ["replay", run_id, f"--at={value}"],
    "bisect --good": lambda value, run_id: ["bisect", run_id, f"--good={value}", "--bad=HEAD"],
    "bisect --bad": lambda value, run_id: ["bisect", run_id, "--good=HEAD", f"--bad={value}"],
    "--branch": lambda value, _: [f"--branch={value}", "list"],
    "--branch init": lambda value, _: [f"--branch={value}", "init"],
}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Put a git that logs first on PATH; the answer takes what was logged since."""
    real, log = shutil.which("git"), tmp_path / "calls"
    assert real
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "git"
    program.write_text(SHIM.format(log=log, git=real))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    def taken() -> list[list[str]]:
        words = iter(log.read_text().split("\0")[:-1] if log.exists() else [])
        log.unlink(missing_ok=True)
        return [[next(words) for _ in range(int(count))] for count in words]

    return taken


def options(argv: Sequence[str]) -> list[str]:
    """Return what git reads as options."""
    ends = min((argv.index(end) for end in ("--end-of-options", "--") if end in argv), default=len(argv))
    return [each for each in argv[:ends] if each.startswith("-")]


def smuggled(argv: Sequence[str], value: str, own: Container[str]) -> list[str]:
    """Return the options that `value` became; `own` are those that the program itself writes."""
    return [each for each in options(argv) if value and each.startswith(value) and each not in own]


@pytest.fixture
def archived(repo: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a run of the archive in the current folder."""
    monkeypatch.chdir(repo)
    return rv.init(repo).save(make_result(0.1), strategy="dual_sma", params={"fast": 1}).run.id


def test_there_are_enough_values() -> None:
    assert len(set(VALUES)) >= 40


@pytest.mark.parametrize("place", PLACES)
def test_none_reaches_git_as_an_option(
    repo: Path, archived: str, calls: Callable[[], list[list[str]]], capfd: pytest.CaptureFixture[str], place: str
) -> None:
    own: set[str] = set()
    for value in HARMLESS:
        run(list(PLACES[place](value, archived)))
        own.update(each for argv in calls() for each in options(argv))
    assert own  # the shim stands where git is looked for
    before = git(repo, "for-each-ref"), sorted(path.name for path in repo.iterdir())
    calls()
    capfd.readouterr()
    for value in VALUES:
        status = run(list(PLACES[place](value, archived)))
        sys.stdout.flush()
        out, err = capfd.readouterr()
        assert "Traceback" not in err, (value, err)
        assert "please report it" not in err, (value, err)
        assert not re.search("[\x1b\u202e]", out + err), value
        assert [found for argv in calls() for found in smuggled(argv, value, own)] == [], value
        if value in OPTIONS:
            assert status, (value, out)
    assert not list(repo.rglob("pwned"))
    if place != "--branch init":  # what git takes for a branch's name makes a new archive
        assert (git(repo, "for-each-ref"), sorted(path.name for path in repo.iterdir())) == before


@pytest.mark.parametrize(
    ("argv", "value", "found"),
    [
        (["rev-parse", "--output=x"], "--output=x", True),
        (["rev-parse", "--verify", "--end-of-options", "--output=x"], "--output=x", False),
        (["log", "--", "-x"], "-x", False),
        (["-c", "-x", "log"], "-x", True),
        (["-c", "a=b", "log"], "-c", False),
    ],
)
def test_an_option_would_be_seen(argv: list[str], value: str, found: bool) -> None:
    assert bool(smuggled(argv, value, {"-c"})) is found
