from __future__ import annotations

from pathlib import Path

import pytest
from templates import Templates, archive

import runvault as rv


@pytest.fixture
def vault(repo: Path, templates: Templates) -> rv.Vault:
    templates.copy(archive, repo)
    return rv.open(repo)
