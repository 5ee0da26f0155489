"""The time that a process tells, where its clock is set while it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runvault.api import machine

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_a_step_back_of_less_than_a_second_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0, -0.9, -0.8, 0.5, 0.5, -4.0, 2.0]
    clock = iter(NOON + timedelta(seconds=each) for each in seconds)

    class Stepping(datetime):
        @classmethod
        def now(cls, _zone: object = None) -> datetime:  # type: ignore[override]
            return next(clock)

    monkeypatch.setattr(machine, "datetime", Stepping)
    monkeypatch.setattr(machine, "_told", [])
    told = [(machine.now() - NOON) / timedelta(microseconds=1) for _ in seconds]
    assert told == [0, 1, 2, 500_000, 500_001, -4_000_000, 2_000_000]
