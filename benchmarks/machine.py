"""The machine: sealed against its own configuration, and described for whoever reads the figures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = ("runvault", "vectorbt", "vectorbt-rust", "pandas", "numpy", "pyarrow", "pygit2", "dvc")
GIT_CONFIG = """\
[user]
	name = Ada Quant
	email = ada@example.org
[init]
	defaultBranch = main
[commit]
	gpgsign = false
"""


def seal(home: Path) -> None:
    """Give git and DVC a private HOME, a fixed author, and none of the machine's configuration."""
    home.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith(("GIT_", "RUNVAULT_", "DVC_", "XDG_"))]:
        del os.environ[name]
    # A program that is installed has its bytecode beside it; one that must not write it compiles itself at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.update(
        HOME=str(home),
        PYTHONPYCACHEPREFIX=str(home / "bytecode"),
        XDG_CONFIG_HOME=str(home / ".config"),
        XDG_CACHE_HOME=str(home / ".cache"),
        GIT_CONFIG_NOSYSTEM="1",
        DVC_NO_ANALYTICS="1",
        DVC_GLOBAL_CONFIG_DIR=str(home / "dvc-global"),
        DVC_SYSTEM_CONFIG_DIR=str(home / "dvc-system"),
    )
    (home / ".gitconfig").write_text(GIT_CONFIG, encoding="utf-8")


def program(name: str) -> Path | None:
    """Return a program of this Python's environment, None where it is not installed."""
    path = Path(sys.executable).with_name(name)
    return path if path.exists() else None


def describe(scratch: Path) -> str:
    """Return what the figures were measured on."""
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    packages = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores shared with other work, scratch on "
        f"{_file_system(scratch)}. Python {platform.python_version()}, git {git}, {packages}."
    )


def moment() -> str:
    """Return when something was measured, and how busy the machine was in the minutes before."""
    return f"{datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[1]:.1f}"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _file_system(path: Path) -> str:
    asked = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "an unknown file system"
