"""Manifests of anybody, through everything that shows runs: no traceback, no wait, nothing that a terminal obeys."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from forge import forge_archive, forge_run, import_commits
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from machine import full_counts, git

import runvault as rv
from fuzz.strategies import annotations, by_hand, documents, dumped, manifests
from runvault.cli.main import run
from runvault.errors import RunvaultError
from runvault.views.run_page import run_page

pytestmark = pytest.mark.faults

BATCH = 100
SECONDS = 2.0
KNOWN = {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 30, 31}
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# What is asked of the archive once, and of each run; each must be done in two seconds.
OF_ALL = (
    ["list"], ["list", "--json"], ["list", "--format", "csv"], ["list", "--format", "md"],
    ["list", "--where", "sharpe_ratio > 1 and params.fast < 20", "--sort", "-total_return"],
    ["list", "--search", "note", "--tag", "golden"], ["best", "--metric", "max_drawdown"], ["log", "--json"],
    ["compare", "--where", "seed == 0", "--all"], ["stale"], ["review", "origin/runvault.."],
    ["review", "--json", "origin/runvault.."],
)  # fmt: skip
OF_ONE = (["show"], ["show", "--format", "md"], ["show", "--json"], ["log"], ["similar"], ["has"])


@pytest.fixture
def base(repo: Path, monkeypatch: pytest.MonkeyPatch) -> rv.Vault:
    """An archive of five sound runs, in the current folder."""
    vault = rv.init(repo)
    forge_archive(repo, 5, files=False)
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")
    monkeypatch.chdir(repo)
    return vault


def address_of(content: bytes) -> str:
    """Return the id that a manifest claims, so that it is believed; one of its bytes where it claims none."""
    claimed = re.search(rb'"id": ?"([0-9a-f]{64}-(0|[1-9][0-9]{0,17}))"', content)
    return claimed[1].decode() if claimed else f"{hashlib.sha256(content).hexdigest()}-0"


def put(repo: Path, records: list[tuple[bytes, bytes | None]]) -> list[str]:
    """Make the archive's tip the sound runs and these; return their ids."""
    git(repo, "update-ref", "refs/heads/runvault", "refs/remotes/origin/runvault")
    files: dict[str, bytes] = {}
    for manifest, notes in records:
        run_id = address_of(manifest)
        folder = f"runs/{run_id[:2]}/{run_id}"
        files[f"{folder}/manifest.json"] = manifest
        if notes is not None:
            files[f"{folder}/annotations.json"] = notes
    import_commits(repo, iter([iter(files.items())]))
    return sorted({path.split("/")[2] for path in files})


def ask(args: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command in this process; return what it printed, having looked at how it went."""
    capfd.readouterr()
    started = time.monotonic()
    status = run(args)
    took = time.monotonic() - started
    sys.stdout.flush()
    out, err = capfd.readouterr()
    assert "please report it" not in err, (args, err)
    assert "Traceback" not in err, (args, err)
    assert status in KNOWN, (args, status, err)
    assert took < SECONDS, (args, took)
    assert not OBEYED.search(err), (args, err)
    if "json" not in " ".join(args):  # JSON escapes what it must, and is read by programs
        assert not OBEYED.search(out), (args, OBEYED.search(out))
    return out


def look(vault: rv.Vault, ids: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    for args in OF_ALL:
        ask(args, capfd)
    listed = {each.id: each for each in vault.list()}
    assert len(listed.keys() - set(ids)) >= 5 - len(ids)  # the sound ones are there, whatever else is
    vault.verify()
    found = vault.review("origin/runvault..")
    named = {each.run for each in found.damaged} | {each["id"] for each in found.new}
    named |= {each.run["id"] for each in (*found.revisions, *found.annotations)}
    assert set(ids) - named <= {each.id for each in vault.list()}  # a run that is in neither is as the base has it
    for place, run_id in enumerate(ids):
        ask([*OF_ONE[place % len(OF_ONE)], run_id], capfd)
        shown_by_api(vault, run_id)


def shown_by_api(vault: rv.Vault, run_id: str) -> None:
    try:
        one = vault.get(run_id)
        pages = [one._repr_html_(), run_page(one.to_dict(), one.manifest, None), str(one.replays)]
    except RunvaultError:
        return
    for page in pages[:2]:
        outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
        assert "<img" not in outside
        assert "<script>alert" not in outside


def with_notes(manifest: Any, notes: Any) -> tuple[bytes, bytes | None]:
    return dumped(manifest), None if notes is None else dumped(notes)


def test_manifests_made_by_hand(base: rv.Vault, repo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    records = [(content, None) for content in by_hand()]
    for start in range(0, len(records), BATCH):
        look(base, put(repo, records[start : start + BATCH]), capfd)


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return so many values, always the same ones: drawn one by one, an archive's worth is looked at together."""
    values: list[Any] = []

    @seed(1)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        values.append(value)

    draw()
    return values


@pytest.mark.parametrize(("shape", "full"), [("mutated", 7_000), ("any JSON", 1_500), ("annotated", 1_500)])
def test_manifests_of_any_shape(
    base: rv.Vault, repo: Path, capfd: pytest.CaptureFixture[str], shape: str, full: int
) -> None:
    sound = [forge_run(number, artifacts={}).manifest for number in range(100, 100 + BATCH)]
    makers = {
        "mutated": manifests().map(lambda each: (dumped(each), None)),
        "any JSON": documents.map(lambda each: (dumped(each), None)),
        "annotated": st.builds(with_notes, st.sampled_from(sound), annotations()),
    }
    records = drawn(makers[shape], full_counts(BATCH, full))
    assert len({manifest + (notes or b"") for manifest, notes in records}) > len(records) // 2
    for start in range(0, len(records), BATCH):
        look(base, put(repo, records[start : start + BATCH]), capfd)


def test_what_is_printed_is_looked_at(capfd: pytest.CaptureFixture[str]) -> None:
    """The check itself: an escape that came through would be seen."""
    assert OBEYED.search("a\x1b[31m")
    assert OBEYED.search("a\u202e")
    assert not OBEYED.search("a\\x1b[31m é – 日\n\t")
