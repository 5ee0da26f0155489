"""Runs as plotly figures: equity curves with their drawdowns, and a metric over two parameters.

Figures are transparent and leave the colour of text and grid to the page, which knows whether it is light or dark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from runvault.model.metrics import METRICS, Number, format_value
from runvault.views.markup import label, run_labels
from runvault.views.values import show_value

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Json: TypeAlias = Any
Array: TypeAlias = npt.NDArray[np.float64]
Runs: TypeAlias = Sequence[Mapping[str, Json]]

# Told apart by people who see colours differently, and of a lightness that carries on white and on near black.
COLOURS = ("#3d85c6", "#e08a2e", "#3fa66b", "#c9527a", "#8a6fd1", "#2fa3a0", "#b0892b", "#7d8794")
WIDE = 5.0  # between the least and the greatest value of linear axes
LEGEND = 48  # characters of a name in a legend
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class Curve:
    """A run as CLI.md's JSON and its equity, a frame with `time`, `column` (a place), `value` and `benchmark`."""

    run: Mapping[str, Json]
    equity: pd.DataFrame


@dataclass(frozen=True)
class Point:
    """A run on a map of two metrics; `run` as CLI.md's JSON where it is to be named."""

    max_drawdown: float
    sharpe_ratio: float
    run: Mapping[str, Json] | None = None


@dataclass(frozen=True)
class _Line:
    """One line of the equity figure: a run, or one column of a run that has several."""

    name: str
    symbols: str
    frame: pd.DataFrame
    colour: str
    dash: str


def equity_figure(curves: Sequence[Curve], *, benchmark: bool = False) -> Figure:
    """Draw account values over their drawdowns, on one time axis.

    Runs on the same symbols share a colour and differ in their dashes. Values get a logarithmic axis where they are
    all positive and far apart.

    Parameters
    ----------
    benchmark : bool
        Whether holding each run's assets is drawn too, once for each colour, thin.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05)
    lines = list(_lines(curves))
    for line in lines:
        _add_line(figure, line)
    if benchmark:
        for line in reversed({line.colour: line for line in reversed(lines)}.values()):
            _add_benchmark(figure, line)
    figure.update_yaxes(title="account value", row=1, col=1, **_value_axis([line.frame["value"] for line in lines]))
    figure.update_yaxes(title="drawdown", row=2, col=1, tickformat=".0%")
    figure.update_layout(**_layout(height=620), hovermode="x unified")
    return figure


def heatmap_figure(runs: Runs, x: str, y: str, metric: str, *, marked: Collection[str] = ()) -> Figure:
    """Draw a metric over two parameters, a panel for each set of symbols, all on one colour scale.

    Parameters
    ----------
    runs : sequence of runs as CLI.md's JSON
        Runs that lack one of the two parameters are left out; where several share both, the last one shows.
    x, y : str
        Names of parameters.
    marked : collection of str
        Ids of runs that get a ring.
    """
    from plotly.subplots import make_subplots

    panels: dict[str, list[Mapping[str, Json]]] = {}
    for run in runs:
        if x in run["params"] and y in run["params"]:
            panels.setdefault(show_value(run["symbols"]), []).append(run)
    columns = min(2, len(panels)) or 1
    rows = -(-len(panels) // columns) or 1
    titles = [label(name) for name in panels]
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, shared_xaxes="all", shared_yaxes="all")
    for place, members in enumerate(panels.values()):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        _add_heatmap(figure, at, members, (x, y), metric)
        _add_rings(figure, at, [run for run in members if run["id"] in marked], (x, y))
    known = METRICS.get(metric)
    bar = {"title": label(known.label if known else metric), "thickness": 14, "outlinewidth": 0}
    scale = {"colorscale": "Viridis", "colorbar": bar}
    figure.update_layout(**_layout(height=120 + 380 * rows), coloraxis=scale)
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False)
    figure.update_xaxes(title=label(x), row=rows)
    figure.update_yaxes(title=label(y), col=1)
    return figure


def scatter_figure(groups: Mapping[str, Sequence[Point]]) -> Figure:
    """Draw runs by drawdown and Sharpe ratio, a colour a group; the first group lies below, grey and nameless.

    Parameters
    ----------
    groups : mapping of name to points
        Names are for the legend; a group without points is left out.
    """
    from plotly.graph_objects import Figure

    figure = Figure()
    colours = (COLOURS[-1], *COLOURS[1:])
    for place, (name, points) in enumerate(groups.items()):
        if points:
            figure.add_scatter(
                x=np.array([point.max_drawdown for point in points], dtype="f4"),
                y=np.array([point.sharpe_ratio for point in points], dtype="f4"),
                mode="markers",
                name=label(name),
                text=[_point_name(point) for point in points],
                marker={
                    "color": colours[place],
                    "size": 5 if place == 0 else 9,
                    "opacity": 0.45 if place == 0 else 0.9,
                },
                hovertemplate="%{text}drawdown %{x:.1%}<br>Sharpe %{y:.2f}<extra></extra>",
            )
    figure.update_xaxes(title="drawdown", tickformat=".0%", zeroline=False)
    figure.update_yaxes(title="Sharpe ratio")
    figure.update_layout(**_layout(height=460), hovermode="closest", showlegend=True)
    return figure


def _point_name(point: Point) -> str:
    if point.run is None:
        return ""
    return f"{label(point.run['short_id'])} {label(_short(str(point.run['strategy'])))}<br>"


def _lines(curves: Sequence[Curve]) -> Iterator[_Line]:
    """Yield the lines of all curves, coloured by symbols, dashed by their turn within a colour."""
    colours: dict[str, str] = {}
    turns: dict[str, int] = {}
    for name, curve in zip(run_labels([curve.run for curve in curves]), curves, strict=True):
        columns = dict(iter(curve.equity.groupby("column", sort=False)))
        for column, symbols in zip(columns, _column_names(curve.run, len(columns)), strict=True):
            colour = colours.setdefault(symbols, COLOURS[len(colours) % len(COLOURS)])
            turn = turns[symbols] = turns.get(symbols, -1) + 1
            text = name if len(columns) == 1 else f"{name} · {symbols}"
            dash = DASHES[turn % len(DASHES)]
            yield _Line(label(_short(text)), label(_short(symbols)), columns[column], colour, dash)


def _column_names(run: Mapping[str, Json], count: int) -> list[str]:
    """Return a name for each column of a run's equity: its symbol, or its place where columns are groups of several."""
    if count == 1:
        return [show_value(run["symbols"])]
    named = len(run["symbols"]) == count
    return [str(run["symbols"][place]) if named else f"column {place}" for place in range(count)]


def _short(text: str) -> str:
    return text if len(text) <= LEGEND else f"{text[: LEGEND - 1]}…"


def _add_line(figure: Figure, line: _Line) -> None:
    values = line.frame["value"].to_numpy()
    drawdowns = values / np.fmax.accumulate(values) - 1
    for row, curve, shape in ((1, values, ",.2f"), (2, drawdowns, ".1%")):
        figure.add_scatter(
            x=_times(line.frame),
            y=curve.astype("f4"),  # a picture needs no more, and the page weighs less
            row=row,
            col=1,
            mode="lines",
            name=line.name,
            legendgroup=line.name,
            showlegend=row == 1,
            line={"color": line.colour, "dash": line.dash, "width": 1.5},
            hovertemplate=f"%{{fullData.name}} %{{y:{shape}}}<extra></extra>",
        )


def _add_benchmark(figure: Figure, line: _Line) -> None:
    figure.add_scatter(
        x=_times(line.frame),
        y=line.frame["benchmark"].to_numpy().astype("f4"),
        row=1,
        col=1,
        mode="lines",
        name=f"hold {line.symbols}",
        line={"color": line.colour, "width": 1},
        opacity=0.5,
        visible="legendonly",
        hovertemplate="%{fullData.name} %{y:,.2f}<extra></extra>",
    )


def _add_heatmap(figure: Figure, at: Mapping[str, int], runs: Runs, axes: tuple[str, str], metric: str) -> None:
    """Add one panel; what no run has stays empty."""
    places = [[_place(run["params"][axis]) for axis in axes] for run in runs]
    xs, ys = (sorted(set(values), key=lambda v: (isinstance(v, str), v)) for values in zip(*places, strict=True))
    values = np.full((len(ys), len(xs)), np.nan)
    words = np.full(values.shape, "", dtype=object)
    for run, (x, y) in zip(runs, places, strict=True):
        cell = ys.index(y), xs.index(x)
        number: Number = run["metrics"].get(metric)
        values[cell] = np.nan if number is None else number
        words[cell] = f"{label(run['short_id'])}<br>{label(format_value(metric, number))}"
    hover = f"{label(axes[0])} %{{x}}, {label(axes[1])} %{{y}}<br>%{{text}}<extra></extra>"
    figure.add_heatmap(
        x=xs,
        y=ys,
        z=values.astype("f4"),
        text=words,
        hovertemplate=hover,
        coloraxis="coloraxis",
        hoverongaps=False,
        row=at["row"],
        col=at["col"],
    )


def _add_rings(figure: Figure, at: Mapping[str, int], runs: Runs, axes: tuple[str, str]) -> None:
    x, y = ([_place(run["params"][axis]) for run in runs] for axis in axes)
    ring = {"symbol": "circle-open", "size": 13, "color": "#e5484d", "line": {"width": 2}}
    figure.add_scatter(
        x=x, y=y, mode="markers", marker=ring, showlegend=False, hoverinfo="skip", row=at["row"], col=at["col"]
    )


def _place(value: Json) -> float | str:
    """Return a parameter's place on an axis: numbers are numbers, all else is text."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else label(show_value(value))


def _times(frame: pd.DataFrame) -> list[Json]:
    """Return the bars' times as plotly reads them: the clock of the frame's own zone, days as days."""
    times = frame["time"]
    if times.dtype.kind != "M":
        return list(times)
    if times.dt.tz is not None:
        times = times.dt.tz_localize(None)
    midnights = bool((times == times.dt.normalize()).all())
    return list(times.dt.strftime("%Y-%m-%d" if midnights else "%Y-%m-%dT%H:%M:%S.%f"))


def _value_axis(curves: Sequence[pd.Series[float]]) -> dict[str, Json]:
    """Return a logarithmic axis where all values are positive and span more than `WIDE`, with round numbers on it."""
    low = min((curve.min() for curve in curves), default=0.0)
    high = max((curve.max() for curve in curves), default=0.0)
    if not (low > 0 and high > WIDE * low):
        return {"tickformat": ","}
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "tickformat": "~s"}


def _layout(height: int) -> dict[str, Json]:
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 36, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        "font": {"family": "system-ui, sans-serif", "size": 13},
    }
