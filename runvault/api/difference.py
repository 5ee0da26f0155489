"""The difference of two runs, as users hold it."""

from __future__ import annotations

from html import escape

from runvault.analysis.diff import Diff
from runvault.views.text import diff_text


class RunDiff(Diff):
    """What differs between two runs; it prints as ``runvault diff`` does."""

    def __str__(self) -> str:
        return diff_text(self.to_dict())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
