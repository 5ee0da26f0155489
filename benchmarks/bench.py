"""What every measurement is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.backtests import Prepared
from benchmarks.repositories import Archives


@dataclass
class Bench:
    """Sizes, places and how often.

    Parameters
    ----------
    sizes : list of int
        Numbers of runs in the archives.
    repeat : int
        How many times each figure is taken.
    columns : int
        Columns of the sweep.
    combinations : int
        Combinations of the sweep that is run.
    growth : int
        How many runs are saved one by one to see the repository grow.
    experiments : list of int
        Numbers of runs and experiments that the peers are asked to list.
    peers : Path or None
        A Python that has MLflow.
    """

    archives: Archives
    prepared: Prepared
    sizes: list[int]
    repeat: int
    columns: int
    combinations: int
    growth: int
    experiments: list[int]
    peers: Path | None
    notes: list[str] = field(default_factory=list)

    def skip(self, what: str) -> None:
        """Write down what was not measured, and why."""
        self.notes.append(what)
