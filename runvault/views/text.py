"""Runs and their differences as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from runvault.model.metrics import METRICS
from runvault.views.grid import Grid
from runvault.views.inert import inert
from runvault.views.values import UNDEFINED, show_field, show_measure, show_value

Json: TypeAlias = Any

# A run of a listing: what it is, what came of it, when.
COLUMNS = (
    "short_id",
    "strategy",
    "params",
    "symbols",
    "total_return",
    "sharpe_ratio",
    "max_drawdown",
    "total_trades",
    "tags",
    "created_at",
)
HEADINGS = {"short_id": "run", "created_at": "created"}
LONGEST_CELL = 48
UNCUT = {"id", "commit", "config_hash"}  # half of one refers to nothing
RIGHT = {*METRICS, "a", "b", "delta", "revision"}


def table(rows: Iterable[Sequence[str]], headings: Sequence[str], style: str = "simple") -> str:
    """Return rows of finished text as a table; nothing in a cell is taken for markup or a number."""
    grid = Grid(headings, RIGHT, style)
    for row in rows:
        grid.add(row)
    return "\n".join(grid.lines())


def runs_table(runs: Iterable[Mapping[str, Json]], columns: Sequence[str] = COLUMNS, style: str = "simple") -> str:
    """Return a listing, a row a run; the empty text where there is none."""
    grid = runs_grid(runs, columns, style)
    return "\n".join(grid.lines()) if len(grid) else ""


def runs_grid(
    runs: Iterable[Mapping[str, Json]],
    columns: Sequence[str] = COLUMNS,
    style: str = "simple",
    longest: int | None = LONGEST_CELL,
) -> Grid:
    """Return a listing of any length, a row a run; no run is kept. Cells are cut at `longest`, ids never."""
    grid = Grid([HEADINGS.get(column, column) for column in columns], RIGHT, style)
    for run in runs:
        grid.add([_cell(run, column, style, longest) for column in columns])
    return grid


def field_of(run: Mapping[str, Json], column: str) -> Json:
    """Return what a run has under a column's name: a field, a dotted path, a metric, a parameter or a setting."""
    if column in run:
        return run[column]
    head, _, rest = column.partition(".")
    if rest and isinstance(run.get(head), Mapping):
        return field_of(run[head], rest)
    for group in ("metrics", "params", "settings"):
        if column in (run.get(group) or {}):
            return run[group][column]
    return None


def _cell(run: Mapping[str, Json], column: str, style: str, longest: int | None) -> str:
    value = field_of(run, column)
    if column == "created_at":
        shown = str(value)[:16].replace("T", " ")
    elif column == "short_id" and run.get("alias"):
        shown = f"{value} ({inert(run['alias'])})"
    else:
        shown = show_field(column, value)
    if longest is not None and len(shown) > longest and column not in UNCUT:
        shown = shown[: longest - 1] + "…"
    return shown.replace("|", "\\|") if style == "github" else shown


def run_text(run: Mapping[str, Json], environment: Mapping[str, Json], warnings: Sequence[str]) -> str:
    """Return one run, whole, with what it was computed with and what a reader of its numbers should know."""
    parts = [_heading(run), _section("config", _config_rows(run)), _section("metrics", _metric_rows(run))]
    parts.append(_section("environment", _environment_rows(environment)))
    parts.append(
        _section("artifacts", [(name, f"{entry['size']:,} bytes") for name, entry in run["artifacts"].items()])
    )
    parts.extend(f"warning: {inert(text)}" for text in warnings)
    return "\n\n".join(part for part in parts if part)


def run_markdown(run: Mapping[str, Json], environment: Mapping[str, Json]) -> str:
    """Return one run as a Markdown table of what was asked, what came of it and what it was computed with."""
    rows = [("run", run["id"]), ("strategy", show_value(run["strategy"])), ("saved", run["created_at"])]
    rows += [*_config_rows(run), *_metric_rows(run), *_environment_rows(environment)]
    rows += [("tags", show_value(run["tags"])), ("note", show_value(run["note"]))]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return table(cells, ["field", "value"], "github")


def _heading(run: Mapping[str, Json]) -> str:
    code = run.get("code") or {}
    dirty = " (with uncommitted changes)" if code.get("dirty") else ""
    rows = [
        ("run", run["id"] + (f" ({inert(run['alias'])})" if run.get("alias") else "")),
        ("strategy", inert(run["strategy"])),
        ("saved", f"{run['created_at']} by {inert(run['author'])}, revision {run['revision']} in {run['commit']}"),
        ("code", f"{code.get('commit') or 'no commit'}{dirty}"),
        (
            "window",
            f"{run['start'] or UNDEFINED} to {run['end'] or UNDEFINED}, interval {run['interval'] or UNDEFINED}",
        ),
        ("tags", ", ".join(map(inert, run["tags"])) or UNDEFINED),
        ("note", "\n          ".join(map(inert, run["note"].split("\n"))) or UNDEFINED),
    ]
    return _aligned(rows)


def _config_rows(run: Mapping[str, Json]) -> list[tuple[str, str]]:
    rows = [("seed", show_value(run["seed"]))]
    for group in ("params", "settings", "data"):
        rows.extend((f"{group}.{inert(key)}", show_value(value)) for key, value in run[group].items())
    return rows


def _metric_rows(run: Mapping[str, Json]) -> list[tuple[str, str]]:
    order = {name: place for place, name in enumerate(METRICS)}
    names = sorted(run["metrics"], key=lambda name: (order.get(name, len(order)), name))
    return [(inert(name), show_field(name, run["metrics"][name])) for name in names]


def _environment_rows(environment: Mapping[str, Json]) -> list[tuple[str, str]]:
    names = sorted(environment, key=lambda name: name == "packages")  # the longest last
    return [(inert(name), show_value(environment[name])) for name in names]


def _section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    return f"{title}\n{_aligned(rows, indent='  ')}" if rows else ""


def _aligned(rows: Sequence[tuple[str, str]], indent: str = "") -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in rows)


def diff_text(diff: Mapping[str, Json], trade_rows: Sequence[Mapping[str, Json]] = (), style: str = "simple") -> str:
    """Return the difference of two runs; `trade_rows` are the trades that differ, where they are to be shown."""
    parts = [f"a  {diff['a']}\nb  {diff['b']}"]
    parts.append(_changes("config", diff["config"], style))
    parts.append(metric_changes(diff["metrics"], style))
    parts.append(_changes("the metrics are not defined alike", diff["definitions"], style))
    parts.append(_trades(diff["trades"], trade_rows, style))
    if diff["equity"]:
        correlation, gap = diff["equity"]["correlation"], diff["equity"]["max_abs_gap"]
        parts.append(f"equity\n  correlation {show_measure(correlation)}, largest gap {show_measure(gap)}")
    parts.append(_code(diff["code"]))
    parts.append(_changes("environment", diff["environment"], style))
    parts.extend(f"missing: {inert(text)}" for text in diff["missing"])
    return "\n\n".join(part for part in parts if part)


def _changes(title: str, changes: Sequence[Mapping[str, Json]], style: str) -> str:
    rows = [(inert(change["path"]), show_value(change.get("a")), show_value(change.get("b"))) for change in changes]
    return f"{title}\n{table(rows, ['path', 'a', 'b'], style)}" if rows else ""


def metric_changes(metrics: Sequence[Mapping[str, Json]], style: str = "simple") -> str:
    """Return a table of the metrics that differ, empty text where none does."""
    rows = [
        (
            inert(row["name"]),
            show_field(row["name"], row["a"]),
            show_field(row["name"], row["b"]),
            UNDEFINED if row["delta"] is None else show_field(row["name"], row["delta"]),
        )
        for row in metrics
        if row["a"] != row["b"]
    ]
    return f"metrics\n{table(rows, ['metric', 'a', 'b', 'delta'], style)}" if rows else ""


def _trades(trades: Mapping[str, Json] | None, rows: Sequence[Mapping[str, Json]], style: str) -> str:
    if trades is None:
        return ""
    counts = "{same} the same, {changed} changed, {only_a} only in a, {only_b} only in b".format(**trades)
    shown = [[show_measure(value) for value in row.values()] for row in rows]
    return f"trades\n  {counts}" + (f"\n{table(shown, list(rows[0]), style)}" if rows else "")


def _code(code: Mapping[str, Json]) -> str:
    if code["a"] == code["b"]:
        return ""
    stat = "\n".join(f"  {inert(line)}" for line in (code.get("stat") or "").splitlines())
    return f"code\n  {code['a'] or UNDEFINED}..{code['b'] or UNDEFINED}" + (f"\n{stat}" if stat else "")


def comparison_text(comparison: Mapping[str, Json], style: str = "simple") -> str:
    """Return runs side by side, a row a field."""
    headings = ["field", *(run["short_id"] for run in comparison["runs"])]
    rows = [
        [inert(row["field"]), *(show_field(row["field"], value) for value in row["values"])]
        for row in comparison["rows"]
    ]
    return table(rows, headings, style) if rows else "nothing differs"


def log_text(commits: Sequence[Mapping[str, Json]], style: str = "simple") -> str:
    """Return the archive's commits, a line a commit."""
    rows = [
        (
            commit["commit"][:10],
            commit["time"][:16].replace("T", " "),
            commit["kind"] or UNDEFINED,
            inert(commit["subject"]),
        )
        for commit in commits
    ]
    return table(rows, ["commit", "time", "kind", "subject"], style) if rows else ""


def drift_text(drift: Mapping[str, Json]) -> str:
    """Return what a new revision changed, as a notice."""
    lines = ["the same address gave another result before (revision at {previous}):".format(**drift)]
    moved = metric_changes(drift["metrics"])
    lines.extend(moved.splitlines()[1:])
    for group in ("data", "environment"):
        lines.extend(
            f"{group}: {inert(change['path'])} was {show_value(change['a'])}, is {show_value(change['b'])}"
            for change in drift[group]
        )
    if drift["code"]["changed"] is not False and any((drift["code"][side] or {}).get("commit") for side in ("a", "b")):
        commits = [show_value((drift["code"][side] or {}).get("commit")) for side in ("a", "b")]
        lines.append(f"code: was {commits[0]}, is {commits[1]}")
    return "\n".join(lines)


def size_text(size_bytes: int) -> str:
    """Return a size for a person, in the units of file managers.

    Examples
    --------
    >>> size_text(999), size_text(1_500_000)
    ('999 bytes', '1.5 MB')
    """
    if size_bytes < 1_000:
        return f"{size_bytes} bytes"
    power = 1
    while power < 4 and size_bytes >= 999.5 * 1_000**power:
        power += 1
    size = size_bytes / 1_000**power
    return f"{size:.{0 if size >= 99.5 else 1}f} {('KB', 'MB', 'GB', 'TB')[power - 1]}"
