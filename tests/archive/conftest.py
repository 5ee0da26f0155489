from __future__ import annotations

from pathlib import Path

import pytest

import runvault as rv


@pytest.fixture
def vault(repo: Path) -> rv.Vault:
    return rv.init(repo)
