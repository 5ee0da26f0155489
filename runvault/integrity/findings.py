"""What a verification says: how much was looked at, and what is not as it should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any

RESTORE = "'runvault restore RUN' puts back the last one that is whole"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    `file` is relative to the run's folder, None for the run as a whole; a path in the archive, or in the Git folder,
    where `run` is empty.
    """

    run: str
    file: str | None
    problem: str
    hint: str | None = None


@dataclass
class Report:
    """What was checked, and what was found.

    Attributes
    ----------
    checked : Counter
        How many runs, files and artifacts were looked at; ``kept`` are objects that the DVC cache has lost and our
        second name for them still holds, ``on a remote`` those that only the DVC remote has; neither is a finding.
    repaired : list of str or None
        What was healed before, where that was asked for; `findings` are what is left.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    repaired: list[str] | None = None

    def found(self, folder: str, file: str | None, problem: str, hint: str | None = None) -> None:
        """Add a finding about the run in `folder`, or about no run in particular where that is empty."""
        self.findings.append(Finding(folder.removeprefix("runs/").split("/")[-1], file, problem, hint))

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault verify --json`` prints."""
        findings = [asdict(finding) for finding in self.findings]
        repaired = {} if self.repaired is None else {"repaired": self.repaired}
        return {"checked": dict(self.checked), "findings": findings, **repaired}
