"""What a save gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from runvault.archive.reading import Located
from runvault.model.ids import RunId

if TYPE_CHECKING:
    from runvault.api.run import Run
    from runvault.api.vault import Vault
    from runvault.archive.request import SaveOutcome

Json: TypeAlias = Any


class Saved:
    """The outcome of a save.

    Attributes
    ----------
    id : str
        The run's full id.
    created : bool
        Whether a run or a new revision was written; false where an equal result was there already.
    drift : mapping or None
        How a new revision differs from what the same address gave before (docs/format.md, Saving and revisions).
    """

    def __init__(self, vault: Vault, outcome: SaveOutcome) -> None:
        self._vault = vault
        self._commit = outcome.commit
        self.id = outcome.id
        self.created = outcome.created
        self.drift: Mapping[str, Json] | None = outcome.drift

    @cached_property
    def run(self) -> Run:
        """The run as this save left it, also where it was changed since."""
        return self._vault.at(Located(RunId.parse(self.id), self._commit))

    def __repr__(self) -> str:
        verb = "revised" if self.drift else "saved" if self.created else "already there"
        return f"<Saved {self.id[:8]}{self.id[64:]} {verb}>"

    def _repr_html_(self) -> str:
        return self.run._repr_html_()

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault save --json`` prints."""
        return {"run": self.run.to_dict(), "created": self.created, "drift": self.drift}


class SavedSweep(Sequence[Saved]):
    """The outcomes of a sweep's columns, in their order."""

    def __init__(self, vault: Vault, outcomes: Sequence[SaveOutcome]) -> None:
        self._saved = [Saved(vault, outcome) for outcome in outcomes]

    @overload
    def __getitem__(self, index: int) -> Saved: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Saved]: ...
    def __getitem__(self, index: int | slice) -> Saved | Sequence[Saved]:
        return self._saved[index]

    def __len__(self) -> int:
        return len(self._saved)

    @property
    def created(self) -> int:
        """Return how many runs or revisions were written."""
        return sum(saved.created for saved in self._saved)

    @property
    def drifted(self) -> list[Saved]:
        """Return the columns whose address gave another result before."""
        return [saved for saved in self._saved if saved.drift]

    def __repr__(self) -> str:
        return f"<SavedSweep {len(self)} runs, {self.created} new, {len(self.drifted)} drifted>"
