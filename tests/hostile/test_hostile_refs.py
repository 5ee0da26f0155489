"""Commits, refs, branches and URLs of anybody: none reaches git as an option, and none runs or reaches anything."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
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

# Between archives: what is asked for with each value, and values with which it goes well
ORIGIN, BUNDLE = "../../origin.git", "../../bundle"
Place = tuple[Callable[[str], Sequence[str]], tuple[str, ...]]
SHARING: dict[str, Place] = {
    "push REMOTE": (lambda value: ["push", "--", value], ("origin", "nowhere")),
    "pull REMOTE": (lambda value: ["pull", "--", value], ("origin", "nowhere")),
    "clone URL": (lambda value: ["clone", "--", value, "cloned"], (ORIGIN, "nowhere")),
    "clone DIR": (lambda value: ["clone", "--", ORIGIN, value], ("cloned",)),
    "merge REF": (lambda value: ["merge", "--", value], ("runvault", "other", "nowhere")),
    "remote add NAME": (lambda value: ["remote", "add", "--", value, "storage"], ("storage",)),
    "remote add URL": (lambda value: ["remote", "add", "--", "storage", value], ("storage",)),
    "remote remove NAME": (lambda value: ["remote", "remove", "--", value], ("nowhere",)),
    "bundle FILE": (lambda value: ["bundle", "--", value], ("file",)),
    "unbundle FILE": (lambda value: ["unbundle", "--", value], (BUNDLE, "nowhere")),
    "--branch push": (lambda value: [f"--branch={value}", "push"], ("runvault", "nowhere")),
    "--branch pull": (lambda value: [f"--branch={value}", "pull"], ("runvault", "nowhere")),
    "--branch clone": (
        lambda value: [f"--branch={value}", "clone", ORIGIN, "cloned"],
        ("runvault", "nowhere"),
    ),
    "--branch merge": (lambda value: [f"--branch={value}", "merge", "other"], ("runvault", "nowhere")),
    "--branch bundle": (lambda value: [f"--branch={value}", "bundle", "file"], ("runvault", "nowhere")),
    "--branch unbundle": (lambda value: [f"--branch={value}", "unbundle", BUNDLE], ("runvault", "nowhere")),
    "--branch review": (lambda value: [f"--branch={value}", "review", "other"], ("runvault", "nowhere")),
    "--branch remote": (lambda value: [f"--branch={value}", "remote", "list"], ("runvault", "nowhere")),
}
# Where a value may be the name of a file, a folder or a branch, and one that begins with a dash is a good one
WRITES = {"clone DIR", "bundle FILE", "remote add NAME", "remote add URL"}
MAKES_BRANCHES = {"--branch pull", "--branch clone", "--branch unbundle"}


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
    whole = not value.strip("-")  # every option begins so
    return [
        each
        for each in options(argv)
        if value and each not in own and (each == value if whole else each.startswith(value))
    ]


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


@dataclass(frozen=True)
class Shared:
    """A folder with a repository, its remote and a bundle; commands run in an empty folder of the repository."""

    folder: Path
    repo: Path
    here: Path

    def everything(self) -> tuple[str, list[str]]:
        """Return refs and files but for what a command may change: Git's own, ours, and what is in the empty folder."""
        refs = git(self.repo, "for-each-ref", "refs/heads", "refs/tags")
        files = [path.relative_to(self.folder) for path in self.folder.rglob("*")]
        kept = [path for path in files if ".git" not in path.parts and path.parts[:2] != ("repo", "here")]
        return refs, sorted(str(path) for path in kept if path.parts[0] not in ("origin.git", "calls", "bin"))

    def clean(self, refs: str) -> None:
        """Empty the folder, and put the branches back."""
        shutil.rmtree(self.here)
        self.here.mkdir()
        os.chdir(self.here)
        listed = [line.split() for line in refs.splitlines()]
        known = {ref: commit for commit, _, ref in listed}
        for line in git(self.repo, "for-each-ref", "--format=%(refname)", "refs/heads").splitlines():
            if line not in known:
                git(self.repo, "update-ref", "-d", line)
        for ref, commit in known.items():
            git(self.repo, "update-ref", ref, commit)


@pytest.fixture
def shared(repo: Path, archived: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shared:
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "origin.git"))
    vault = rv.open(repo)
    vault.push()
    git(repo, "push", "--quiet", "origin", "main")
    git(repo, "branch", "other", "runvault")
    vault.bundle(tmp_path / "bundle")
    here = repo / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")  # some values are addresses of hosts
    return Shared(tmp_path, repo, here)


@pytest.mark.parametrize("place", SHARING)
def test_none_reaches_git_as_an_option_between_archives(
    shared: Shared, calls: Callable[[], list[list[str]]], capfd: pytest.CaptureFixture[str], place: str
) -> None:
    make, harmless = SHARING[place]
    before = shared.everything()
    own: set[str] = set()
    for value in harmless:
        run(list(make(value)))
        own.update(each for argv in calls() for each in options(argv))
        shared.clean(before[0])
        calls()
    assert own
    capfd.readouterr()
    for value in VALUES:
        if place in WRITES and value.startswith("../"):
            continue  # written where it says
        status = run(list(make(value)))
        sys.stdout.flush()
        out, err = capfd.readouterr()
        assert "Traceback" not in err, (value, err)
        assert "please report it" not in err, (value, err)
        assert not re.search("[\x1b\u202e]", out + err), value
        found = [each for argv in calls() for each in smuggled(argv, value, own)]
        # Our own --git-dir names the folder, which may be called --git-dir=/.
        assert [each for each in found if not each.startswith(f"--git-dir={shared.here}")] == [], value
        if value in OPTIONS and place not in WRITES:
            assert status, (value, out)
        refs, files = shared.everything()
        assert files == before[1], value
        if place not in MAKES_BRANCHES | {"remote add NAME", "remote add URL"}:
            assert refs == before[0], value
        assert not [path for path in shared.folder.rglob("*") if path.name == "pwned" and path.parent != shared.here]
        shared.clean(before[0])
        calls()


PROGRAMS = [
    "ext::sh -c 'touch pwned'", "ext::sh -c touch% pwned %S foo", "fd::17", "ssh://-oProxyCommand=touch pwned/x",
    "-oProxyCommand=touch pwned:x", "--upload-pack=touch pwned", "--receive-pack=touch pwned", "file:///etc",
    "git://-x/y", "http://-x/y", "testgit::/x", "/etc", "",
]  # fmt: skip


@pytest.mark.parametrize("url", PROGRAMS)
def test_no_program_is_run_for_the_address_of_a_remote(
    shared: Shared, calls: Callable[[], list[list[str]]], capfd: pytest.CaptureFixture[str], url: str
) -> None:
    """The user's own configuration, too, may come from a tool or a template."""
    git(shared.repo, "config", "remote.evil.url", url)
    git(shared.repo, "config", "remote.evil.uploadpack", "git-upload-pack")
    before = shared.everything()
    calls()
    for command in (["push", "evil"], ["pull", "evil"], ["clone", "--", url, "cloned"], ["remote", "list"]):
        status = run(command)
        assert status or command == ["remote", "list"]
        assert "please report it" not in capfd.readouterr().err
        assert [found for argv in calls() for found in options(argv) if url and found.startswith(url)] == []
    assert shared.everything() == before
    assert not list(shared.folder.rglob("pwned"))


NAMES = [
    "..", "../../heads", "../../../heads/main", "origin/../../../heads/main", "a b", "-x", "--all", "*", "@{-1}",
    "x.lock", "~", "^x", "a:b", "\u202e", ".", "/", "x/", "HEAD", "@",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_remote_leads_to_no_ref_but_our_own(
    shared: Shared, calls: Callable[[], list[list[str]]], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    git(shared.repo, "config", f"remote.{name}.url", str(shared.folder / "origin.git"))
    before = shared.everything()
    for command in (["pull", "--", name], ["push", "--", name], ["remote", "list"]):
        calls()
        run(command)
        out, err = capfd.readouterr()
        assert "please report it" not in err, err
        assert "\u202e" not in out + err
        assert [found for argv in calls() for found in options(argv) if found == name and found != "--all"] == []
    assert shared.everything() == before
    refs = git(shared.repo, "for-each-ref", "--format=%(refname)").splitlines()
    assert {ref.split("/")[1] for ref in refs} <= {"heads", "remotes", "runvault"}


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
