"""A review as parts that Markdown and the page both show: a title, a sentence, a table of finished cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from runvault.model.metrics import METRICS
from runvault.views.page import LEADERBOARD, Cell
from runvault.views.replays import ledger_text
from runvault.views.values import UNDEFINED, show_field, show_metric, show_pairs, show_value

Json: TypeAlias = Any
Run: TypeAlias = Mapping[str, Json]

MOVED = 4  # metrics named of a revision
NAMED = 3  # runs named of a warning
FEW = 12  # digits of a commit

# Cells whose text is all ours; what others wrote has another kind.
OURS = frozenset({"number", "word"})


@dataclass(frozen=True)
class Part:
    """One section: title and sentence are ours, and so are cells of a kind in `OURS`."""

    title: str
    text: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


NOTHING = Cell(UNDEFINED, "word")


def review_parts(review: Mapping[str, Json]) -> list[Part]:
    """Return the parts of a review, given as ``runvault review --json`` prints it, the weightiest first."""
    makers: tuple[Callable[[Mapping[str, Json]], Part], ...] = (
        _damaged,
        _warnings,
        _after,
        _before,
        _new,
        _revisions,
        _annotations,
        _removed,
        _code,
        _data,
        _files,
    )
    parts = [make(review) for make in makers]
    return [part for part in parts if part.rows]


def summary(totals: Mapping[str, int]) -> str:
    """Return what a review comes to, in a sentence.

    Examples
    --------
    >>> totals = {"new": 1, "revisions": 2, "drift": 1, "removed": 0, "annotated": 0, "damaged": 0}
    >>> summary({**totals, "before": 7, "after": 8})
    '1 new run, 2 new revisions (1 with other results). 7 runs before, 8 after.'
    """
    drift = f" ({totals['drift']:,} with other results)" if totals["revisions"] else ""
    told = [
        _count(totals["new"], "new run"),
        _count(totals["revisions"], "new revision") + drift,
        _count(totals["removed"], "run") + " removed",
        _count(totals["annotated"], "run") + " annotated",
        _count(totals["damaged"], "file or run", "files or runs") + " that cannot be read",
    ]
    counts = (totals[name] for name in ("new", "revisions", "removed", "annotated", "damaged"))
    parts = [text for text, count in zip(told, counts, strict=True) if count]
    return f"{', '.join(parts) or 'Nothing changes'}. {totals['before']:,} runs before, {totals['after']:,} after."


def _count(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _number(text: str) -> Cell:
    return Cell(text.replace("-", "\u2212"), "number")


def _metrics(review: Mapping[str, Json]) -> list[str]:
    return list(dict.fromkeys([review["metric"], *LEADERBOARD]))


def _fewer(review: Mapping[str, Json]) -> list[str]:
    """Return the metrics of a table that has a column more to show."""
    return [name for name in _metrics(review) if name != "win_rate" or name == review["metric"]]


def _label(name: str) -> str:
    known = METRICS.get(name)
    return known.label.removesuffix(" [%]") if known else name


def _label_cell(name: str) -> Cell:
    return Cell(_label(name), "number") if name in METRICS else Cell(name)


def _identity(run: Run) -> list[Cell]:
    return [Cell(run["short_id"], "id"), Cell(run["strategy"]), Cell(show_value(run["symbols"])),
            Cell(show_pairs(run["params"]), "wide")]  # fmt: skip


IDENTITY = [Cell("run", "word"), Cell("strategy", "word"), Cell("symbols", "word"), Cell("parameters", "word")]


def _values(run: Run, metrics: Iterable[str]) -> list[Cell]:
    return [_number(show_metric(name, run["metrics"].get(name))) for name in metrics]


def _damaged(review: Mapping[str, Json]) -> Part:
    rows = [[Cell(each["run"], "id"), Cell(each["problem"], "wide")] for each in review["damaged"]]
    head = [Cell("run or file", "word"), Cell("problem", "word")]
    return Part("Cannot be read", "A pull refuses these, and takes the rest.", head, rows)


def _warnings(review: Mapping[str, Json]) -> Part:
    rows = [
        [
            Cell(each["kind"], "word"),
            Cell(each["text"], "wide"),
            _number(f"{len(each['runs']):,}"),
            Cell(_some(each["runs"]), "id"),
        ]
        for each in review["warnings"]
    ]
    head = [Cell("about", "word"), Cell("what to look at", "word"), Cell("runs", "number"), Cell("such as", "word")]
    return Part("Warnings", "", head, rows)


def _some(runs: Sequence[str]) -> str:
    return ", ".join(f"{run[:8]}{run[64:]}" for run in runs[:NAMED])


def _after(review: Mapping[str, Json]) -> Part:
    rows = [
        [_place(row["after"]), Cell(_movement(row), "word"), *_identity(row), *_values(row, _metrics(review))]
        for row in review["leaderboard"]["after"]
    ]
    head = [Cell("", "number"), Cell("before", "word"), *IDENTITY, *map(_label_cell, _metrics(review))]
    return Part("Leaderboard after", _by(review), head, rows)


def _before(review: Mapping[str, Json]) -> Part:
    rows = [
        [_place(row["before"]), _place(row["after"]), *_identity(row), *_values(row, _metrics(review))]
        for row in review["leaderboard"]["before"]
    ]
    head = [Cell("", "number"), Cell("after", "number"), *IDENTITY, *map(_label_cell, _metrics(review))]
    return Part("Leaderboard before", _by(review), head, rows)


def _by(review: Mapping[str, Json]) -> str:
    periods = review["periods_per_year"]
    on = f", Sharpe ratios with {periods:g} periods a year" if periods else ""
    return f"By {_label(review['metric'])}{on}." if review["metric"] in METRICS else ""


def _place(place: int | None) -> Cell:
    return _number(UNDEFINED if place is None else f"{place:,}")


def _movement(row: Mapping[str, Json]) -> str:
    """Return where a run stood before, and how many places it gained.

    Examples
    --------
    >>> [_movement({"before": before, "gained": gained}) for before, gained in [(None, None), (5, 2), (1, -1), (3, 0)]]
    ['new', '5 ↑2', '1 ↓1', '3']
    """
    if row["before"] is None:
        return "new"
    gained = row["gained"] or 0
    return f"{row['before']:,}" + (f" {'↑' if gained > 0 else '↓'}{abs(gained):,}" if gained else "")


def _new(review: Mapping[str, Json]) -> Part:
    runs = sorted(review["new"], key=lambda run: (run["place"] is None, run["place"] or 0))
    rows = [
        [_place(run["place"]), *_identity(run), *_values(run, _fewer(review)), Cell(_said(run), "wide")] for run in runs
    ]
    head = [Cell("place", "number"), *IDENTITY, *map(_label_cell, _fewer(review)), Cell("tags, note", "word")]
    return Part("New runs", "", head, rows)


def _said(run: Run) -> str:
    alias = [f"alias {run['alias']}"] if run.get("alias") else []
    note = [" ".join(run["note"].split())] if run["note"] else []
    return " · ".join([*alias, *([show_value(run["tags"])] if run["tags"] else []), *note])


def _revisions(review: Mapping[str, Json]) -> Part:
    rows = [
        [*_identity(each["run"]), Cell(each["drift"]["verdict"] if each["drift"] else "equal results", "word"),
         Cell(_moved(each["drift"]), "wide"), Cell(_reasons(each["drift"])), Cell(each["stays"], "word")]
        for each in review["revisions"]
    ]  # fmt: skip
    head = [*IDENTITY, *(Cell(name, "word") for name in ("verdict", "what moved", "what else differs", "stays"))]
    return Part(
        "New revisions", "The same request, saved again. One stays (see there), the other is history.", head, rows
    )


def _moved(drift: Mapping[str, Json] | None) -> str:
    moved = drift["metrics"] if drift else []
    order = {name: place for place, name in enumerate(LEADERBOARD)}
    moved = sorted(moved, key=lambda row: order.get(row["name"], len(order)))
    shown = [
        f"{row['name']} {show_field(row['name'], row['a'])} → {show_field(row['name'], row['b'])}" for row in moved
    ]
    more = len(moved) - MOVED
    return "; ".join(shown[:MOVED]) + (f"; {more} more" if more > 0 else "")


def _reasons(drift: Mapping[str, Json] | None) -> str:
    if not drift:
        return ""
    code = ["code"] if drift["code"]["changed"] else []
    return ", ".join([*code, *(change["path"] for name in ("data", "environment") for change in drift[name])])


def _annotations(review: Mapping[str, Json]) -> Part:
    rows = [[*_identity(each["run"]), Cell(_annotated(each), "wide")] for each in review["annotations"]]
    return Part("Changed annotations", "", [*IDENTITY, Cell("change", "word")], rows)


def _annotated(each: Mapping[str, Json]) -> str:
    tags = [f"+{tag}" for tag in each["tags"]["added"]] + [f"-{tag}" for tag in each["tags"]["removed"]]
    notes = [f"note: {' '.join(text.split())}" for text in each["notes"]["added"]]
    notes += [f"note removed: {' '.join(text.split())}" for text in each["notes"]["removed"]]
    alias = each["alias"]
    named = [f"alias {alias['a'] or UNDEFINED} → {alias['b'] or UNDEFINED}"] if alias else []
    code, ledger = each["run"]["code"]["commit"], each["replays"]
    replays = [ledger_text(ledger["all"], code)] if ledger["added"] else []
    return "; ".join([*tags, *named, *replays, *notes])


def _removed(review: Mapping[str, Json]) -> Part:
    rows = [[*_identity(run), *_values(run, _metrics(review))] for run in review["removed"]]
    text = "History keeps them: runvault restore brings one back."
    return Part("Removed runs", text, [*IDENTITY, *map(_label_cell, _metrics(review))], rows)


def _code(review: Mapping[str, Json]) -> Part:
    rows = [
        [
            _commit(row["commit"]),
            _commit(row["base"]),
            Cell(row["branch"]) if row["branch"] else NOTHING,
            Cell(_yes(row["dirty"]), "word"),
            Cell(_yes(row["here"]), "word"),
            _number(f"{row['runs']:,}"),
        ]
        for row in review["code"]
    ]
    names = ("commit", "snapshot on", "branch", "uncommitted", "in this clone")
    return Part("Code", "", [*(Cell(name, "word") for name in names), Cell("runs", "number")], rows)


def _commit(commit: str | None) -> Cell:
    return Cell(commit[:FEW], "id") if commit else NOTHING


def _yes(value: bool | None) -> str:
    return UNDEFINED if value is None else "yes" if value else "no"


def _data(review: Mapping[str, Json]) -> Part:
    rows = [
        [Cell(row["name"]), *map(Cell, _described(row["input"])), Cell(_yes(row["in_base"]), "word"),
         _number(f"{row['runs']:,}")]
        for row in review["data"]
    ]  # fmt: skip
    names = ("input", "hash", "symbols", "window", "in the base")
    return Part("Data", "", [*(Cell(name, "word") for name in names), Cell("runs", "number")], rows)


def _described(entry: Json) -> tuple[str, str, str]:
    if not isinstance(entry, Mapping):
        return show_value(entry), "", ""
    known = entry.get("start") or entry.get("end")
    window = f"{show_value(entry.get('start'))} to {show_value(entry.get('end'))}" if known else ""
    hashed = str(entry.get("md5") or entry.get("sha256") or "")
    return hashed[:FEW], show_value(entry.get("symbols")), window


def _files(review: Mapping[str, Json]) -> Part:
    rows = [[Cell(path)] for path in review["files"]]
    text = "Files that belong to no run: .dvc/config says where artifacts are fetched from, for one."
    return Part("Other files that change", text, [Cell("path", "word")], rows)
