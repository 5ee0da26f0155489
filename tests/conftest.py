"""What every test stands on: a sealed machine and a repository."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from templates import Templates, repository


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Let Ctrl-C end what tests start: what a shell runs in the background has it ignored, and its children too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give git, pygit2 and DVC a private HOME, a fixed author and branch, and none of the machine's configuration."""
    home = tmp_path_factory.mktemp("home")
    for name in [
        n for n in os.environ if n.startswith(("GIT_", "RUNVAULT_", "DVC_", "XDG_")) and n != "RUNVAULT_FAULTS"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(home / "dvc-global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(home / "dvc-system"))
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada Quant\n\temail = ada@example.org\n"
        "[init]\n\tdefaultBranch = main\n[commit]\n\tgpgsign = false\n"
    )
    return home


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return Templates(tmp_path_factory.mktemp("templates"))


@pytest.fixture
def repo(tmp_path: Path, templates: Templates) -> Path:
    """Return a Git repository with one commit and a clean working tree."""
    path = tmp_path / "repo"
    templates.copy(repository, path)
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which files are made for a while, by this process and its children."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    monkeypatch.setenv("TMPDIR", str(path))
    return path
