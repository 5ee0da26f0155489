"""The fuzz targets, for as long as a test may take; and that a fuzzer of ours finds what is there to be found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import full_counts

from fuzz.__main__ import plain
from fuzz.strategies import annotations, by_hand, documents, dumped, manifests
from fuzz.targets import TARGETS, seeds

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.faults


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_find_nothing(target: str, tmp_path: Path) -> None:
    runs = full_counts(3_000, 300_000)

    assert plain(TARGETS[target], seeds(target), seconds=3_600, runs=runs, seed=7, folder=tmp_path) == 0


@settings(max_examples=full_counts(200, 20_000), deadline=None, suppress_health_check=list(HealthCheck))
@given(manifests(), annotations(), documents, st.text(max_size=60), st.binary(max_size=60))
def test_values_find_nothing(manifest: object, notes: object, document: object, text: str, data: bytes) -> None:
    for record in (manifest, document):
        TARGETS["manifest"](dumped(record))
    for record in (notes, document):
        TARGETS["annotations"](dumped(record))
    for each in (text.encode("utf-8", "surrogatepass"), data):
        for target in ("filter", "pointer", "markup", "table"):
            TARGETS[target](each)


def test_there_are_two_hundred_made_by_hand() -> None:
    assert len(set(by_hand())) >= 200


def test_a_bug_is_found_and_its_input_kept(tmp_path: Path) -> None:
    def buggy(data: bytes) -> None:
        if data.count(b"]") > data.count(b"[") + 2:
            raise IndexError

    assert plain(buggy, seeds("filter"), runs=50_000, seed=1, folder=tmp_path) == 1
    [kept] = tmp_path.iterdir()
    with pytest.raises(IndexError):
        buggy(kept.read_bytes())


@pytest.mark.parametrize("engine", ["plain", "atheris"])
def test_it_runs_from_the_command_line(engine: str, tmp_path: Path) -> None:
    if engine == "atheris" and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    argv = [sys.executable, "-m", "tests.fuzz", "filter", "--runs", "500", *(["--plain"] if engine == "plain" else [])]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    assert "500 inputs" in done.stderr or "Done" in done.stderr
