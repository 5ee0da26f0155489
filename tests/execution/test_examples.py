"""The examples run, each in a repository of its own, on the real prices that come with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine import git
from ruamel.yaml import YAML

import runvault as rv
from runvault.cli.running import check

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.engine


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository that has the examples, and is the current folder."""
    path = tmp_path / "clone"
    shutil.copytree(EXAMPLES, path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    git(path, "init", "--quiet")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "examples")
    monkeypatch.chdir(path)
    return path


def python(clone: Path, *args: str) -> str:
    done = subprocess.run([sys.executable, *args], cwd=clone, env=os.environ.copy(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_record(clone: Path) -> None:
    python(clone, "examples/record.py")
    first = rv.open(clone).list(strategy="breakout")

    printed = python(clone, "examples/record.py")

    vault = rv.open(clone)
    assert len(first) == 4
    assert printed.count("already there") == 4
    assert [run.commit for run in vault.list()] == [run.commit for run in first]
    assert vault.replay("latest").verdict == "exact"


def test_walk_forward(clone: Path) -> None:
    code = "import sys; sys.path.insert(0, 'examples'); import walk_forward; walk_forward.main(2011, 2012)"
    printed = python(clone, "-c", code)

    vault = rv.open(clone)
    runs = vault.list(strategy="walk_forward", sort="start")
    assert [(run.params["year"], run.tags, run.start[:4], run.end[:4]) for run in runs] == [
        (2011, ["oos-2011"], "2011", "2011"),
        (2012, ["oos-2012"], "2012", "2012"),
    ]
    assert "2 years out of sample" in printed
    assert vault.replay(runs[0]).verdict == "exact"


def test_dask_sweep(clone: Path) -> None:
    script = clone / "examples" / "dask_sweep.py"
    compile(script.read_text(), str(script), "exec")
    if not hasattr(rv.Vault, "sweep"):
        return
    python(clone, str(script))

    runs = rv.open(clone).list(tags=["dask"])
    assert sorted((run.params["symbol"], run.params["days"]) for run in runs) == [
        (symbol, days) for symbol in ("AAPL", "IBM") for days in (20, 40, 60)
    ]


EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def test_the_notebook(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    stored = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in stored)

    python(clone, "-c", EXECUTE, "examples/notebook.ipynb", str(clone.parent / "done.ipynb"))

    cells = json.loads((clone.parent / "done.ipynb").read_text())["cells"]
    assert " exact>" in json.dumps(cells[-2]["outputs"])
    vault = rv.open(clone)
    assert {run.strategy for run in vault.list(tags=["notebook"])} == {"crossing", "breakout"}
    assert vault.count() == 4


def test_the_workflow_says_what_there_is() -> None:
    workflow: dict[str, Any] = YAML(typ="safe").load(EXAMPLES / "github-workflow.yml")

    lines = [step["run"] for step in workflow["jobs"]["golden"]["steps"] if "run" in step]
    assert "runvault check --trust-code" in lines
    assert {"--tag", "--trust-code"} <= {name for option in check.params for name in option.opts}
    assert "refs/heads/runvault" in lines[0]
    assert "refs/runvault/code/*" in lines[0]
