"""Runs as a listing gives them: a sequence that knows how many there are in all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from runvault.api.run import Run

if TYPE_CHECKING:
    import pandas as pd

Json: TypeAlias = Any


class Runs(Sequence[Run]):
    """A sequence of runs.

    Attributes
    ----------
    total : int
        How many runs the filters match, whatever `limit` and `offset` are; counted when first asked for.
    """

    def __init__(self, runs: Sequence[Run], count: Callable[[], int]) -> None:
        self._runs = runs
        self._count = count

    @cached_property
    def total(self) -> int:
        """How many runs the filters match, whatever `limit` and `offset` are."""
        return self._count()

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | Sequence[Run]:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __repr__(self) -> str:
        from runvault.views.text import runs_table

        return runs_table([run.to_dict() for run in self._runs]) or "no runs"

    def _repr_html_(self) -> str:
        from runvault.views.html import runs_html

        return runs_html([run.to_dict() for run in self._runs])

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault list --json`` prints."""
        return {"total": self.total, "runs": [run.to_dict() for run in self._runs]}

    def to_pandas(self) -> pd.DataFrame:
        """Return a row a run, indexed by id: fields, then ``params.*``, ``settings.*`` and ``metrics.*`` columns."""
        from runvault.views.frames import runs_frame

        return runs_frame([run.to_dict() for run in self._runs])
