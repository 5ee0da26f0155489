"""What a call decides for the whole process: seeds, and vectorbt's defaults; in one thread and in several."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

import runvault as rv
from runvault.execution.in_force import engine_settings, seeded

pytestmark = pytest.mark.engine

LAZY = """
from runvault.execution.calls import bind

def fees():
    import vectorbt as vbt
    return vbt.settings["portfolio"]["fees"]

print(bind(fees, params={}, settings={"fees": 0.25}, inputs={}, seed=0).given()[0])
"""


def default_fees() -> object:
    import vectorbt as vbt

    return vbt.settings["portfolio"]["fees"]


@contextmanager
def held_elsewhere(pool: ThreadPoolExecutor, *contexts: object) -> Iterator[ThreadPoolExecutor]:
    """Enter contexts in the pool's one thread, and leave them there afterwards."""
    stack = ExitStack()
    for each in contexts:
        pool.submit(stack.enter_context, each).result()
    try:
        yield pool
    finally:
        pool.submit(stack.close).result()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


def test_settings_count_where_only_the_entry_imports_the_engine() -> None:
    """Otherwise the config says fees that the run never paid."""
    done = subprocess.run([sys.executable, "-c", LAZY], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "0.25"


def test_an_inner_call_runs_with_its_own_settings() -> None:
    outside = default_fees()
    with engine_settings({"fees": 0.1}):
        with engine_settings({}):
            assert default_fees() == outside
        assert default_fees() == 0.1
    assert default_fees() == outside


def test_equal_settings_in_two_threads_are_taken_back_by_the_last(pool: ThreadPoolExecutor) -> None:
    outside = default_fees()
    other = engine_settings({"fees": 0.1})
    with engine_settings({"fees": 0.1}):
        pool.submit(other.__enter__).result()
    assert default_fees() == 0.1
    pool.submit(other.__exit__, None, None, None).result()
    assert default_fees() == outside


def test_other_settings_in_another_thread_are_refused(pool: ThreadPoolExecutor) -> None:
    with (
        held_elsewhere(pool, engine_settings({"fees": 0.1})),
        pytest.raises(rv.ReplayError, match="other settings"),
        engine_settings({}),
    ):
        pass
    with engine_settings({}):
        assert default_fees() != 0.1


def test_random_numbers_drawn_by_another_thread_spoil_both_calls(pool: ThreadPoolExecutor) -> None:
    other = seeded(1)
    pool.submit(other.__enter__).result()
    with pytest.raises(rv.ReplayError, match="another thread"), seeded(2):
        pool.submit(np.random.rand).result()
    with pytest.raises(rv.ReplayError, match="another thread"):
        pool.submit(other.__exit__, None, None, None).result()


def test_seeded_calls_that_draw_nothing_may_overlap(pool: ThreadPoolExecutor) -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].tolist()
    with held_elsewhere(pool, seeded(1)), seeded(2):
        pass
    assert np.random.get_state()[1].tolist() == before


def test_an_inner_call_leaves_the_generators_as_they_were() -> None:
    with seeded(3):
        alone = np.random.rand(2).tolist()
    with seeded(3):
        first = np.random.rand()
        with seeded(4):
            np.random.rand()
        assert [first, np.random.rand()] == alone
