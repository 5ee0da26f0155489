"""What the tests of the Git store share: small edits, and repositories in the states that people leave them in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from runvault.stores.git.edits import Edit, Signature
from runvault.stores.git.init import init_archive
from runvault.stores.git.objects import Tip
from runvault.stores.git.repository import Repository

ADA = Signature("Ada Quant", "ada@example.org")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def run_path(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"runs/{digest[:2]}/{digest}-0"


def run_files(name: str, content: str = "") -> list[tuple[str, bytes | None]]:
    folder = run_path(name)
    return [
        (f"{folder}/manifest.json", f'{{"name": "{name}", "content": "{content}"}}\n'.encode()),
        (f"{folder}/annotations.json", b"{}\n"),
        (f"{folder}/stats.parquet", f"PAR1{name}{content}PAR1".encode()),
        *((f"{folder}/{kind}.dvc", f"outs: {name} {kind}\n".encode()) for kind in ("prices.parquet", "orders.parquet")),
    ]


def edit_of(name: str, content: str = "", *, time: datetime = NOON, bulk: bool = False) -> Edit:
    return Edit(run_files(name, content), f"save: {name}\n\nRun: {name}\nKind: save", ADA, time, bulk)


def saves(name: str, content: str = "") -> Callable[[Tip], Edit | None]:
    """Return the plan of a saver: nothing where the run is there with the same content."""
    edit = edit_of(name, content)

    def plan(tip: Tip) -> Edit | None:
        known = all(tip.read(path) == data for path, data in edit.files)
        return None if known else edit

    return plan


def archive_in(path: Path, branch: str = "runvault") -> Repository:
    repository = Repository.find(path, branch)
    init_archive(repository)
    return repository
