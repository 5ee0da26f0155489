"""The page: what it shows, what it hides, and that names from elsewhere do nothing in it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from runvault.views.figures import Curve, equity_figure, heatmap_figure
from runvault.views.markup import run_labels
from runvault.views.page import Cell, Section, differences, leaderboard, page, table

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<a href='https://evil.example/'>click</a>",
    "<!--<script>",
    "%{customdata}",
    "]]>&amp;&#x3c;script&#x3e;",
    "javascript:alert(1)",
    "long " * 900,
    "abc\u202ecba\x1b[31m\u2028end",
]


def run(
    params: Mapping[str, Any], *, name: str = "dual_sma", symbol: str = "GOOG", **metrics: float | None
) -> dict[str, Any]:
    digest = sha256(repr((sorted(params.items()), name, symbol)).encode()).hexdigest()
    return {
        "id": f"{digest}-0",
        "short_id": f"{digest[:8]}-0",
        "strategy": name,
        "symbols": [symbol],
        "params": dict(params),
        "metrics": metrics,
    }


def equity(values: list[float], column: int = 0) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=len(values), freq="D")
    return pd.DataFrame({"time": times, "column": column, "value": values, "cash": 0.0, "benchmark": values})


class Page(HTMLParser):
    """The elements of a page, with the text of scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link", "br", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def specs(self) -> list[dict[str, Any]]:
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


def everything(names: list[str]) -> str:
    """Return a page that shows each of `names` wherever a name can stand."""
    runs = [run({name: 1, "fast": 10, "slow": name}, name=name, symbol=name, sharpe_ratio=1.0) for name in names]
    curves = [Curve(one, equity([1.0, 2.0])) for one in runs]
    wide = {**runs[0], "symbols": names}
    two = Curve(wide, pd.concat([equity([1.0, 2.0], place) for place in range(len(names))]))
    diff = {
        "config": [{"path": name, "a": name, "b": {name: name}} for name in names],
        "metrics": [{"name": name, "a": 1.0, "b": 2.0, "delta": 1.0} for name in names],
        "trades": {"only_a": 0, "only_b": 1, "changed": 2, "same": 3},
        "equity": {"correlation": None, "max_abs_gap": 3.0},
    }
    sections = [
        Section(
            name,
            name,
            leaderboard(runs, [*names, "sharpe_ratio"]) + differences(diff, runs[0], runs[-1]),
            [
                equity_figure([*curves, two], benchmark=True),
                heatmap_figure(runs, names[0], "slow", name, marked=[runs[0]["id"]]),
                heatmap_figure(runs, "fast", "slow", name),
            ],
        )
        for name in names
    ]
    return page(names[0], sections, subtitle=names[1], footer=names[2])


@pytest.fixture(scope="module")
def hostile() -> Page:
    return Page(everything(HOSTILE))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in strings(part))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings(item))


def test_hostile_names_add_no_element_and_no_attribute(hostile: Page) -> None:
    plain = Page(everything([f"name {i}" for i in range(len(HOSTILE))]))
    assert not hostile.open
    assert [(tag, sorted(attrs)) for tag, attrs in hostile.elements] == [
        (tag, sorted(attrs)) for tag, attrs in plain.elements
    ]
    assert len(hostile.scripts) == len(plain.scripts)


def test_hostile_names_are_shown_as_text(hostile: Page) -> None:
    shown = "".join(hostile.texts)
    for name in HOSTILE[:-1]:
        assert name in shown
    assert r"abc\u202ecba\x1b[31m\u2028end" in shown


def test_hostile_names_are_plain_text_to_plotly(hostile: Page) -> None:
    ours = re.compile(r"<br>|<extra></extra>")
    for spec in hostile.specs:
        for text in strings(spec):
            assert "<" not in ours.sub("", text)
            assert not re.search(r"[\u202e\u2028\x1b]", text)
            assert "%{customdata}" not in text


def test_the_page_opens_nothing_from_the_network(hostile: Page) -> None:
    for tag, attributes in hostile.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "form", "base", "a")
        assert not {"src", "href", "srcset", "action", "style"} & set(attributes)
    (policy,) = [a["content"] for t, a in hostile.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    code = [text for kind, text in hostile.scripts if kind is None]
    assert rules["script-src"].split() == [f"'sha256-{b64encode(sha256(c.encode()).digest()).decode()}'" for c in code]
    assert "connect-src" not in rules
    assert rules["img-src"] == "data: blob:"


def test_the_page_holds_plotly_once_and_only_where_a_figure_needs_it() -> None:
    figure = equity_figure([Curve(run({}), equity([1.0, 2.0]))])
    drawn = page("t", [Section("a", figures=[figure]), Section("b", figures=[figure])])
    assert sum(len(text) > 100_000 for _, text in Page(drawn).scripts) == 1
    assert len(page("t", [Section("a", body=table([], [[Cell("x")]]))])) < 10_000


def test_percentages_are_percent_and_undefined_is_an_en_dash() -> None:
    html = leaderboard([run({}, total_return=0.123, max_drawdown=-0.25, sharpe_ratio=None)])
    cells = re.findall(r'<td class="number">(.*?)</td>', html)
    assert cells == ["1", "–", "12.3 %", "−25.0 %", "–", "–"]


def test_a_diff_shows_config_metrics_trades_and_equity() -> None:
    diff = {
        "config": [{"path": "params.fast", "a": 10, "b": 20}, {"path": "params.stop", "b": 0.05}],
        "metrics": [
            {"name": "total_return", "a": 0.1, "b": 0.3, "delta": 0.2},
            {"name": "profit_factor", "a": None, "b": 1.5, "delta": None},
        ],
        "trades": {"only_a": 1, "only_b": 2, "changed": 3, "same": 1234},
        "equity": {"correlation": 0.5, "max_abs_gap": 1234.5},
    }
    rows = re.findall(r"<tr>(.*?)</tr>", differences(diff, run({"fast": 10}), run({"fast": 20})))
    cells = [re.findall(r"<td.*?>(.*?)</td>", row) for row in rows]
    assert ["params.fast", "10", "20"] in cells
    assert ["params.stop", "–", "0.05"] in cells
    assert ["Total Return", "10.0 %", "30.0 %", "+20.0 %"] in cells
    assert ["Profit Factor", "–", "1.50", "–"] in cells
    assert ["Trades in both, equal", "1,234"] in cells
    assert ["Largest gap", "1,234.50"] in cells


def test_a_diff_without_tables_shows_what_there_is() -> None:
    diff = {"config": [], "metrics": [], "trades": None, "equity": None}
    assert "<table>" not in differences(diff, run({}), run({"fast": 1}))


def test_drawdowns_are_fractions_below_the_running_peak() -> None:
    figure = equity_figure([Curve(run({}), equity([100.0, 120.0, 90.0, 150.0]))])
    assert np.allclose(figure.data[1].y, [0, 0, -0.25, 0])
    assert figure.data[0].x[0] == "2024-01-01"


def test_intraday_bars_are_drawn_on_the_clock_of_their_own_zone() -> None:
    frame = equity([1.0, 2.0])
    frame["time"] = pd.to_datetime(["2024-01-02 14:30", "2024-01-02 15:30"]).tz_localize("UTC").tz_convert("US/Eastern")
    figure = equity_figure([Curve(run({}), frame)])
    assert list(figure.data[0].x) == ["2024-01-02T09:30:00.000000", "2024-01-02T10:30:00.000000"]


@pytest.mark.parametrize(
    ("values", "kind"), [([100.0, 110.0], "linear"), ([100.0, 900.0], "log"), ([-1.0, 900.0], "linear")]
)
def test_the_value_axis_is_logarithmic_where_values_are_positive_and_far_apart(values: list[float], kind: str) -> None:
    figure = equity_figure([Curve(run({}), equity(values))])
    assert (figure.layout.yaxis.type or "linear") == kind


def test_a_run_of_several_columns_has_a_line_for_each() -> None:
    frame = pd.concat([equity([1.0, 2.0], 0), equity([1.0, 3.0], 1)])
    wide = {**run({"fast": 1}), "symbols": ["AAPL", "IBM"]}
    figure = equity_figure([Curve(wide, frame), Curve(run({"fast": 2}), equity([1.0, 1.0]))], benchmark=True)
    assert [line.name for line in figure.data if line.showlegend is not False] == [
        "AAPL, IBM fast 1 · AAPL",
        "AAPL, IBM fast 1 · IBM",
        "GOOG fast 2",
        "hold AAPL",
        "hold IBM",
        "hold GOOG",
    ]


def test_groups_of_several_symbols_are_named_by_their_place() -> None:
    grouped = {**run({}), "symbols": ["AAPL", "IBM", "MSFT"]}
    figure = equity_figure([Curve(grouped, pd.concat([equity([1.0], 0), equity([1.0], 1)]))])
    assert [line.name.split(" · ")[1] for line in figure.data[::2]] == ["column 0", "column 1"]


def test_the_heatmap_has_a_panel_a_symbol_a_gap_for_no_run_and_a_ring_for_marked_runs() -> None:
    runs = [run({"fast": f, "slow": s}, sharpe_ratio=f / s) for f, s in [(5, 10), (5, 20), (10, 20)]]
    runs += [run({"fast": 5, "slow": 10}, symbol="IBM", sharpe_ratio=None), run({"fast": 5}, symbol="IBM")]
    figure = heatmap_figure(runs, "slow", "fast", "sharpe_ratio", marked=[runs[2]["id"]])
    goog, rings, ibm, none = figure.data
    assert [a.text for a in figure.layout.annotations] == ["GOOG", "IBM"]
    assert np.array_equal(goog.z, np.array([[0.5, 0.25], [np.nan, 0.5]], dtype="f4"), equal_nan=True)
    assert (list(goog.x), list(goog.y)) == ([10, 20], [5, 10])
    assert (list(rings.x), list(rings.y)) == ([20], [10])
    assert np.isnan(ibm.z).all()
    assert not len(none.x)


def test_empty_input_makes_empty_figures() -> None:
    assert not equity_figure([]).data
    assert not heatmap_figure([], "fast", "slow", "sharpe_ratio").data


def test_labels_tell_runs_apart() -> None:
    a, b = run({"fast": 1, "slow": 5}), run({"fast": 2, "slow": 5})
    assert run_labels([a, b]) == ["fast 1", "fast 2"]
    assert run_labels([a, run({"fast": 1, "slow": 5}, symbol="IBM")]) == ["GOOG", "IBM"]
    assert run_labels([a]) == [a["short_id"]]
    assert run_labels([a, a]) == [a["short_id"]] * 2
