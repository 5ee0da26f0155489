"""A figure of the table, and whether it reaches its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["s", "bytes"]


@dataclass(frozen=True)
class Target:
    """What a figure is to reach.

    Parameters
    ----------
    words : str
        The target as the table shows it.
    most : float or None
        The largest value that reaches it, in the figure's unit.
    most_ratio : float or None
        The largest ratio to the plain alternative that reaches it.
    """

    words: str
    most: float | None = None
    most_ratio: float | None = None


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, on top of what, how much, and the plain alternative in the same run.

    `size` is the number of runs in the archive, None where it plays no part.
    """

    work: str
    value: float
    unit: Unit = "s"
    size: int | None = None
    plain: tuple[str, float] | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Return how many times the plain alternative it is."""
        return self.value / self.plain[1] if self.plain and self.plain[1] else None

    @property
    def reached(self) -> bool | None:
        """Return whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        if self.target.most is not None and self.value > self.target.most:
            return False
        return not (self.target.most_ratio is not None and (self.ratio or 0.0) > self.target.most_ratio)


HEADINGS = ("work", "runs there", "measured", "beside it", "ratio", "target", "reached")


def figures_table(figures: Sequence[Figure]) -> str:
    """Return figures as a Markdown table."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *map(_row, figures)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(figure: Figure) -> tuple[str, ...]:
    plain = f"{show(figure.plain[1], figure.unit)}, {figure.plain[0]}" if figure.plain else ""
    reached = {True: "yes", False: "**no**", None: ""}[figure.reached]
    return (
        figure.work,
        "" if figure.size is None else f"{figure.size:,}",
        show(figure.value, figure.unit),
        plain,
        "" if figure.ratio is None else _ratio(figure.ratio),
        figure.target.words if figure.target else "",
        reached,
    )


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:,.0f}"


def show(value: float, unit: Unit) -> str:
    """Return a value with three digits and the unit that suits its size."""
    steps = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if unit == "s" else ((2.0**20, "MB"), (2.0**10, "KB"), (1.0, "B"))
    for step, name in steps:
        if abs(value) >= step:
            return f"{_three_digits(value / step)} {name}"
    return f"0 {unit}"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
