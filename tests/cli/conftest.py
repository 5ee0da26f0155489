from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from templates import Templates, archive, three_runs

import runvault as rv
from runvault.cli.main import run


@dataclass
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Program = Callable[..., Done]


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str], repo: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that runs a command in the repository, in this process."""
    monkeypatch.chdir(repo)

    def call(*args: str) -> Done:
        capfd.readouterr()
        status = run(list(args))
        sys.stdout.flush()
        done = Done(status, *capfd.readouterr())
        assert "Traceback" not in done.err
        return done

    return call


@pytest.fixture
def vault(repo: Path, templates: Templates) -> rv.Vault:
    templates.copy(archive, repo)
    return rv.open(repo)


@pytest.fixture
def runs(repo: Path, vault: rv.Vault, templates: Templates) -> list[rv.Run]:
    """Three runs, oldest first."""
    templates.copy(three_runs, repo)
    return [*reversed(vault.list())]
