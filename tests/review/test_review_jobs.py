"""The jobs in examples/ do what they say: their own lines are run, on a server that is a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from machine import git
from results import make_result
from ruamel.yaml import YAML

import runvault as rv
from runvault.cli.reviewing import review

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVER_REF = {"github": "refs/pull/7/head", "gitlab": "refs/merge-requests/7/head"}


def job(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(EXAMPLES / f"{name}-review.yml")
    return loaded


def lines_of(name: str) -> list[str]:
    """Return what the job runs, in order."""
    if name == "github":
        return [step["run"] for step in job(name)["jobs"]["review"]["steps"] if "run" in step]
    script: list[str] = job(name)["runvault-review"]["script"]
    return script


@pytest.fixture
def server(repo: Path) -> Path:
    """Return a repository whose archive branch has two runs, and a request that adds one."""
    vault = rv.init(repo)
    for value in (0.1, 0.2):
        vault.save(make_result(value), strategy="dual_sma", params={"fast": value})
    base = git(repo, "rev-parse", "runvault").strip()
    vault.save(make_result(0.3), strategy="dual_sma", params={"fast": 0.3}, note="@everybody, look")
    for ref in SERVER_REF.values():
        git(repo, "update-ref", ref, "refs/heads/runvault")
    git(repo, "update-ref", "refs/heads/runvault", base)
    return repo


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a folder of programs: this runvault, and stand-ins for what would go out to a network."""
    folder = tmp_path / "tools"
    folder.mkdir()
    programs = {
        "runvault": f'exec "{sys.executable}" -m runvault.cli.main "$@"',
        "python": f'exec "{sys.executable}" "$@"',
        "pip": "exit 0",
        "gh": f'printf "%s\\n" "$@" >> "{folder}/gh.log"',
        # What the server has: the note of a person, and ours of the run before.
        "curl": f'printf "%s\\n" "$*" >> "{folder}/curl.log"; case "$*" in *per_page*) cat "{folder}/notes.json"; esac',
    }
    (folder / "notes.json").write_text(
        json.dumps([{"id": 1, "body": "Looks good"}, {"id": 2, "body": "## Review of <code>x</code>"}])
    )
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def run_lines(name: str, place: Path, tools: Path, environment: Mapping[str, str]) -> None:
    for line in lines_of(name):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=place,
            env={**os.environ, **environment, "PATH": f"{tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stderr)


def check_review(place: Path) -> None:
    shown = (place / "review.md").read_text()
    assert "1 new run. 2 runs before, 3 after." in shown
    assert "&#64;everybody" in shown
    assert '<div class="figure"' in (place / "review.html").read_text()
    assert git(place / "archive", "for-each-ref", "--format=%(refname)", "refs/heads") == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="the jobs are written for bash")
def test_the_github_workflow_posts_a_review(server: Path, tools: Path, tmp_path: Path) -> None:
    place = tmp_path / "job"
    place.mkdir()
    run_lines("github", place, tools, {"TOKEN": "t", "URL": str(server), "NUMBER": "7"})

    check_review(place)
    said = (tools / "gh.log").read_text().split("\n")
    assert said[:5] == ["pr", "comment", "7", "--body-file", "review.md"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="the jobs are written for bash")
def test_the_gitlab_job_replaces_its_note(server: Path, tools: Path, tmp_path: Path) -> None:
    place = tmp_path / "job"
    place.mkdir()
    environment = {
        "CI_REPOSITORY_URL": str(server),
        "CI_MERGE_REQUEST_IID": "7",
        "CI_API_V4_URL": "https://gitlab.example/api/v4",
        "CI_PROJECT_ID": "3",
        "REVIEW_TOKEN": "t",
    }
    run_lines("gitlab", place, tools, environment)

    check_review(place)
    asked = (tools / "curl.log").read_text().splitlines()
    assert [line.rpartition("/")[2] for line in asked if "DELETE" in line] == ["2"]
    assert "--data-urlencode body@review.md" in asked[-1]


@pytest.mark.parametrize("name", SERVER_REF)
def test_a_job_checks_nothing_out_and_has_few_rights(name: str) -> None:
    text = (EXAMPLES / f"{name}-review.yml").read_text()

    assert "checkout" not in "".join(str(step.get("uses", "")) for step in _steps(name))
    assert "transfer.fsckObjects=true" in text
    assert "protocol.ext.allow=never" in text
    # No name that a contributor chooses is pasted into a shell: only what GitHub and GitLab number.
    assert not re.search(r"\$\{\{[^}]*\}\}", "\n".join(lines_of(name)))
    assert not re.search(r"\$\{?CI_(MERGE_REQUEST_(TITLE|DESCRIPTION|SOURCE)|COMMIT_(MESSAGE|TITLE|REF_NAME))", text)
    if name == "github":
        assert job(name)["permissions"] == {"contents": "read", "pull-requests": "write"}
    else:
        assert job(name)["runvault-review"]["variables"]["GIT_STRATEGY"] == "none"


def _steps(name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = job(name)["jobs"]["review"]["steps"] if name == "github" else []
    return steps


@pytest.mark.parametrize("name", SERVER_REF)
def test_a_job_uses_options_that_there_are(name: str) -> None:
    options = {option for param in review.params for option in param.opts}
    said = [line for text in lines_of(name) for line in text.splitlines() if "runvault --repo" in line]

    assert len(said) == 2
    assert {word for line in said for word in line.split() if word.startswith("--")} <= options | {"--repo"}
