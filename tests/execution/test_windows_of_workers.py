"""How many calls are on their way to workers, and which of them are tried alone after a death."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from runvault.execution.executors import AHEAD, WAITING, Workers
from runvault.execution.sweep import DEATHS, _answers
from runvault.execution.workers import Answer


class Pool(Executor):
    """Answers nothing until it is full; then it breaks, once."""

    def __init__(self, full: int, alone: list[int]) -> None:
        self.full, self.alone, self.futures = full, alone, list[Future[Answer]]()

    def submit(self, _work: Any, /, _job: Any, chunk: Sequence[Any]) -> Future[Answer]:  # type: ignore[override]
        future: Future[Answer] = Future()
        if self.full:
            self.futures.append(future)
        else:
            self.alone += chunk
            future.set_result(Answer())
        if len(self.futures) == self.full:
            self.full, broken, self.futures = 0, self.futures, []
            for each in broken:
                each.set_exception(BrokenExecutor())
        return future


def test_only_calls_that_a_worker_may_have_had_are_tried_alone_after_a_death() -> None:
    asked: list[int] = []
    executor = Pool(20, asked)
    workers = Workers(executor, "job", count=2, window=20, near=5, start=lambda: executor)
    beside = [len(answered) for answered in _answers(workers, [[number] for number in range(30)]) if answered]

    assert asked == list(range(30))
    assert beside == [1] * max(5, DEATHS) + [20, 5]


def test_more_calls_are_on_their_way_where_their_answers_are_small() -> None:
    workers = Workers(Pool(0, []), "job", count=2, window=2 * WAITING, near=5)
    windows = []
    for fit in (0, 20, 10**6):
        workers.widen(fit)
        windows.append(workers.window)
    assert windows == [2 * WAITING, 20, 2 * AHEAD]


def test_without_workers_nothing_is_called_before_its_turn() -> None:
    alone = Workers(Pool(0, []), "job", count=1, window=1, near=1)
    alone.widen(10**6)
    assert alone.window == 1
