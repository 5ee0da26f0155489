"""The documentation says what the program does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import runvault
from runvault.cli.reference import every_command, reference

ROOT = Path(__file__).parents[2]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(runvault.__path__, "runvault.")
    if not module.ispkg and ">>>" in Path(ROOT, *module.name.split(".")).with_suffix(".py").read_text()
]
COMMANDS = {str(command.name): command for command in every_command()}


def test_the_reference_is_that_of_the_program() -> None:
    assert (ROOT / "docs/cli.md").read_text() == reference()


def test_a_range_without_an_end_is_not_said() -> None:
    assert "None" not in reference()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str) -> None:
    assert COMMANDS[command].help


@pytest.mark.parametrize(
    "page", ["README.md", "docs/format.md", "docs/review.md", "docs/security.md", "docs/teams.md", "CHANGELOG.md"]
)
def test_every_command_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`runvault ([a-z]+)", text)) | set(re.findall(r"^\$ runvault ([a-z]+)", text, re.M))

    assert named <= set(COMMANDS)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))

    assert outcome.attempted
    assert not outcome.failed
