"""Listing, filtering and sorting: the catalog's SQL against the same question asked of the runs in Python."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forge import ForgedRun, forge_run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory import MemoryArchive

from runvault.errors import ConfigError
from runvault.model.canonical import config_hash
from runvault.model.query import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Membership,
    Name,
    Not,
    Selection,
    Truth,
    Undefined,
    Values,
    parse_condition,
)
from runvault.stores.catalog import Catalog, select
from runvault.stores.catalog.select import match_of

REF = "refs/heads/runvault"
COUNT = 120


def odd_run(number: int) -> ForgedRun:
    """Return a run whose parameters are of every kind, so that comparisons meet what they do not expect."""
    run = forge_run(number)
    kinds: list[Any] = [number, str(number), number % 2 == 0, None, number / 8, [number, "a"], [], {"deep": number}, ""]
    params = {"odd": kinds[number % len(kinds)], "fast": number % 7, "mode": "ab"[number % 2], "a b": number}
    if number % 3 == 0:
        params["rare"] = number
    if number % 3 == 1:  # a parameter of some runs is called like a field of all
        params |= {"symbol": "IBM" if number % 2 else number, "interval": number / 10}
    if number % 6 == 4:
        params["half"] = str(number / 2)
    config = {**run.manifest["config"], "params": params}
    digest = str(config_hash(config))
    metrics = {**run.manifest["metrics"], "own_metric": None if number % 4 else number / 10}
    if number % 6 == 1:  # and a metric like a parameter, and both like nothing of the others
        metrics["fast"] = number * 1.5
        metrics["half"] = number / 2
    if number % 5 == 0:
        metrics["sharpe_ratio"] = None
    name = f"{digest}-{run.manifest['seed']}"
    changes = {"id": name, "config_hash": digest, "config": config, "metrics": metrics}
    return ForgedRun(name, {**run.manifest, **changes}, run.annotations)


@pytest.fixture(scope="module")
def archive() -> tuple[MemoryArchive, str]:
    source = MemoryArchive()
    files = {f"{run.path}/{name}": data for run in map(odd_run, range(COUNT)) for name, data in run.files().items()}
    return source, source.commit(files)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("catalog") / "catalog.db"


@pytest.fixture(scope="module")
def catalog(archive: tuple[MemoryArchive, str], place: Path) -> Catalog:
    made = Catalog(place)
    made.refresh(archive[0], REF, archive[1])
    return made


class Rows(list[dict[str, Any]]):
    """Runs as JSON, told by their number: Hypothesis prints its arguments."""

    def __repr__(self) -> str:
        return f"<{len(self)} runs>"


@pytest.fixture(scope="module")
def runs(catalog: Catalog) -> list[dict[str, Any]]:
    listed = Rows(catalog.select(REF, Selection()))
    assert len(listed) == COUNT
    return listed


def ids(catalog: Catalog, **options: Any) -> list[str]:
    return [run["id"] for run in catalog.select(REF, Selection(**options))]


# The reference: a condition on one run's JSON, in Python


class Several(list[str]):
    """The symbols of a run, asked for one by one."""


def look_up(run: dict[str, Any], name: Name) -> Any:
    path = name.path.split(".")
    if name.bare:
        for section in ("metrics", "params"):
            if path[0] in run[section]:
                return run[section][path[0]]
        if path[0] == "symbol":
            return Several(run["symbols"])
        return run.get(path[0])
    value: Any = run
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def family(value: Any) -> type:
    return {bool: float, int: float, float: float}.get(type(value), type(value))


def compare(left: Any, op: str, right: Any) -> bool:
    if left is None or right is None or isinstance(left, dict) or isinstance(right, dict):
        return False
    if isinstance(right, Several):
        left, op, right = right, {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op), left
    if isinstance(left, Several):
        if op == "!=":
            return bool(left) and right not in left
        return any(compare(symbol, op, right) for symbol in left)
    if family(left) is not family(right):
        return op == "!="
    functions = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
    return bool(getattr(operator, functions[op])(left, right))


def within(item: Any, container: Any, negated: bool) -> bool:
    if item is None or container is None or isinstance(item, dict):
        return False
    if isinstance(item, Several):
        found = any(symbol in container for symbol in item)
        return bool(item) and found != negated
    if isinstance(container, str):
        return (isinstance(item, str) and item in container) != negated
    if isinstance(container, list | tuple):
        return any(compare(item, "==", member) for member in container) != negated
    return False


def holds(condition: Condition, run: dict[str, Any]) -> bool:
    def value(operand: Any) -> Any:
        return look_up(run, operand) if isinstance(operand, Name) else operand.value

    match condition:
        case All(parts):
            return all(holds(part, run) for part in parts)
        case AnyOf(parts):
            return any(holds(part, run) for part in parts)
        case Not(inner):
            return not holds(inner, run)
        case Comparison(left, op, right):
            return compare(value(left), op, value(right))
        case Membership(item, container, negated):
            members = container.values if isinstance(container, Values) else value(container)
            return within(value(item), members, negated)
        case Undefined(operand, negated):
            found = value(operand)
            return (found is None or isinstance(found, dict) or (isinstance(found, Several) and not found)) != negated
        case Truth(operand):
            found = value(operand)
            return bool(found) and not isinstance(found, dict)
    raise AssertionError(condition)


names = st.sampled_from(
    [
        *(
            "sharpe_ratio",
            "total_trades",
            "own_metric",
            "seed",
            "strategy",
            "created_at",
            "interval",
            "fast",
            "odd",
            "rare",
            "mode",
        ),
        *("note", "symbol", "params.odd", "params.rare", "settings.fees", "data.prices.start", "code.dirty", "alias"),
        *('params["a b"]', "code.base", "lineage.sweep", "config_hash", "short_id", "revision", "params.odd.deep"),
    ]
)
numbers = st.one_of(st.integers(-3, COUNT), st.sampled_from([0.0005, 0.5, 2.5, 10**30, -(10**30)]))
literals = st.one_of(
    numbers.map(str),
    st.sampled_from(
        ["1e999", "-1e999", "True", "False", "None", "'a'", "'dual_sma'", "'GOOG'", "''", "'2024'", "'13'"]
    ),
)
operands = st.one_of(names, literals)
comparisons = st.builds(
    lambda left, op, right: f"{left} {op} {right}",
    operands,
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    operands.filter(lambda operand: operand != "symbol"),
)
chains = st.builds(lambda a, b, c: f"{a} < {b} <= {c}", literals, names, literals)
lists = st.lists(literals, max_size=4).map(lambda members: f"[{', '.join(members)}]")
containers = st.one_of(lists, st.sampled_from(["tags", "symbols", "params.odd", "mode", "strategy", "'dual_sma13'"]))
plain = operands.filter(lambda operand: operand != "symbol")
memberships = st.builds(
    lambda item, word, container: f"{item} {word} {container}", plain, st.sampled_from(["in", "not in"]), containers
)
undefined = st.builds(lambda name, word: f"{name} {word} None", names, st.sampled_from(["is", "is not"]))
leaves = st.one_of(comparisons, chains, memberships, undefined, names)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.builds(lambda a, b: f"({a}) and ({b})", inner, inner),
        st.builds(lambda a, b: f"({a}) or ({b})", inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=conditions)
@example(text="symbol != sharpe_ratio")
@example(text="params.odd != symbol")
@example(text="symbol == params.odd")
@example(text="symbol == 'GOOG'")
@example(text="symbol == 'GOOG' or symbol == 'IBM' and fast > 3")
@example(text="interval == '1D'")
@example(text="interval < fast")
@example(text="interval is None")
@example(text="half is None")
@example(text="symbol not in ['IBM']")
def test_every_condition_selects_what_python_selects(catalog: Catalog, runs: list[dict[str, Any]], text: str) -> None:
    expected = [run["id"] for run in runs if holds(parse_condition(text), run)]
    assert ids(catalog, where=text) == expected
    assert catalog.count(REF, Selection(where=text, limit=3)) == len(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 == '1'", False),
        ("1 == True", True),
        ("'a' < 'b'", True),
        ("None == None", False),
        ("not None == None", True),
        ("None != 1", False),
        ("None is None", True),
        ("1 in [1, 2]", True),
        ("1 in ['1']", False),
        ("None in [None]", False),
    ],
)
def test_literals_compare_as_documented(catalog: Catalog, text: str, expected: bool) -> None:
    assert bool(ids(catalog, where=text)) is expected


def test_a_text_never_equals_a_number(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    numbers = [run["id"] for run in runs if type(run["params"]["odd"]) in (int, float) if run["params"]["odd"] > -1]
    assert set(ids(catalog, where="params.odd > -1 and not (params.odd in [True, False])")) <= set(numbers)
    assert ids(catalog, where="params.odd == '1'") != ids(catalog, where="params.odd == 1")


def test_symbol_means_any_of_the_symbols(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    expected = [run for run in runs if "GOOG" in run["symbols"]]
    assert ids(catalog, symbol="GOOG") == [run["id"] for run in expected]
    assert len(expected) == COUNT // 4
    unnamed = [
        run["id"] for run in expected if "symbol" not in run["params"]
    ]  # where a parameter is called so, it counts
    assert ids(catalog, where='symbol == "GOOG"') == unnamed
    assert 0 < len(unnamed) < len(expected)


def test_the_newest_run_comes_first(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    assert runs == sorted(runs, key=lambda run: run["id"]) or runs == sorted(
        sorted(runs, key=lambda run: run["id"]), key=lambda run: run["created_at"], reverse=True
    )


SORTS = ["sharpe_ratio", "own_metric", "params.odd", "rare", "mode", "created_at", "id", "strategy", "settings.fees"]


@pytest.mark.parametrize("field", [*SORTS, "symbol", "note", "config_hash", "win_rate"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("where", [None, "params.fast < 3", "seed == 1 and mode == 'a'"])
@pytest.mark.parametrize("few", [select.FEW, 25], ids=["few runs", "many runs"])
def test_undefined_is_last_and_ties_are_newest_first(
    catalog: Catalog,
    runs: list[dict[str, Any]],
    field: str,
    descending: bool,
    where: str | None,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(select, "FEW", few)

    def key(run: dict[str, Any]) -> Any:
        value = look_up(run, Name(field, "." not in field))
        value = value[0] if isinstance(value, Several) and value else value
        if value is None or isinstance(value, dict):
            return None
        kinds = {bool: 0, int: 0, float: 0, str: 1, list: 2}
        return kinds[type(value)], str(value) if isinstance(value, list) else value

    chosen = [run for run in runs if where is None or holds(parse_condition(where), run)]  # newest first, then id
    defined = sorted((run for run in chosen if key(run) is not None), key=key, reverse=descending)
    expected = [run["id"] for run in defined + [run for run in chosen if key(run) is None]]
    if field == "params.odd":  # lists sort among themselves by their bytes
        lists = {run["id"] for run in runs if isinstance(run["params"]["odd"], list)}
        found = ids(catalog, sort=("-" if descending else "") + field, where=where)
        assert [run for run in found if run not in lists] == [run for run in expected if run not in lists]
        return
    sort = ("-" if descending else "") + field
    assert ids(catalog, sort=sort, where=where) == expected
    assert ids(catalog, sort=sort, where=where, limit=7) == expected[:7]
    assert ids(catalog, sort=sort, where=where, offset=5, limit=20) == expected[5:25]
    assert ids(catalog, sort=sort, where=where, offset=len(expected) - 3) == expected[-3:]


def test_the_first_of_many_are_found_without_looking_at_all(
    catalog: Catalog, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where many runs fulfil a condition and enough of them come first, no statement goes through all of them."""
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*args, **options)
        db.set_trace_callback(statements.append)
        return db

    where = "sharpe_ratio > -100 and mode == 'a'"
    expected = ids(catalog, where=where, sort="-created_at")
    monkeypatch.setattr(select, "FEW", 25)
    monkeypatch.setattr(sqlite3, "connect", traced)
    catalog = Catalog(place)  # which has no connection yet

    def walks() -> list[str]:
        found = [sql for sql in statements if sql.startswith("SELECT r.run")]
        counted = [sql for sql in statements if f"LIMIT {select.SOME}" in sql]
        statements.clear()
        walked = ["all" if "CROSS JOIN" in sql else "first" for sql in found]
        assert bool(counted) == (walked != ["first"])  # further than `FEW` only where the first ones were not enough
        return walked

    assert ids(catalog, where=where, sort="-created_at", limit=5) == expected[:5]
    assert walks() == ["first"]
    assert ids(catalog, where=where, sort="-created_at", limit=20) == expected[:20]
    assert walks() == ["first", "all"]
    assert ids(catalog, where=where, sort="-created_at") == expected
    assert walks() == ["all"]


def test_a_limit_may_be_any_number(catalog: Catalog) -> None:
    assert ids(catalog, limit=10**20) == ids(catalog)
    assert ids(catalog, offset=3, limit=2**63 - 1) == ids(catalog)[3:]
    assert ids(catalog, offset=10**20, limit=1) == []


def test_options_select_together(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    expected = [
        run["id"]
        for run in runs
        if run["strategy"] == "dual_sma" and "AAPL" in run["symbols"] and run["created_at"] > "2024-01-01T00:10"
    ]
    options = {"strategy": "dual_sma", "engine": "vectorbt", "symbol": "AAPL", "since": "2024-01-01T00:10"}
    assert ids(catalog, **options) == expected
    assert 0 < len(expected) < COUNT // 3
    assert ids(catalog, engine="backtrader") == []


def test_tags_mean_all_and_any_tags_mean_one(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    both = [run["id"] for run in runs if {"sweep", "golden"} <= set(run["tags"])]
    one = [run["id"] for run in runs if {"sweep", "golden"} & set(run["tags"])]
    assert ids(catalog, tags=("sweep", "golden")) == both
    assert ids(catalog, any_tags=("golden", "sweep")) == one
    assert 0 < len(both) < len(one)
    assert ids(catalog, tags=("sweep", "no such tag")) == []
    assert ids(catalog, where="'golden' in tags") == [run["id"] for run in runs if "golden" in run["tags"]]


def test_bounds_of_time_are_included(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    middle = runs[COUNT // 2]["created_at"]
    since, until = ids(catalog, since=middle), ids(catalog, until=middle)
    assert since == [run["id"] for run in runs[: COUNT // 2 + 1]]
    assert until == [run["id"] for run in runs[COUNT // 2 :]]
    assert len(ids(catalog, until="2024-01-01")) == COUNT
    assert ids(catalog, since="2024-01-02") == []


def test_a_config_hash_or_its_beginning_selects(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    digest = runs[3]["config_hash"]
    assert ids(catalog, config_hash=digest) == ids(catalog, config_hash=digest[:12].upper()) == [runs[3]["id"]]
    assert ids(catalog, config_hash="xyz") == ids(catalog, config_hash="") == []
    assert ids(catalog, config_hash=digest, seed=runs[3]["seed"] + 1) == []


def test_notes_are_searched_by_word(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    noted = [run["id"] for run in runs if run["note"]]
    assert noted
    assert ids(catalog, search="wider STOP") == ids(catalog, search="stop") == noted
    assert ids(catalog, search="narrow stop") == []
    assert len(ids(catalog, search="100 try")) == 1


FTS_SYNTAX = [
    '"',
    "'",
    "*",
    "stop*",
    "NEAR(a b)",
    "a AND",
    "OR",
    "NOT stop",
    "note:stop",
    "^stop",
    "-stop",
    "(",
    "a + b",
]


@pytest.mark.parametrize(
    "words", [*FTS_SYNTAX, "", "   ", "…", "\0", "\ud800", "a" * 100_000, "ß ǅ 股票", "%s ? :v1 ?1"]
)
def test_no_words_are_syntax(catalog: Catalog, words: str) -> None:
    assert isinstance(ids(catalog, search=words), list)
    assert ids(catalog, search=words) == [] or "stop" in words


HOSTILE = ["'; DROP TABLE runs; --", '"', "''", "a' OR '1'='1", "\0", "%", "_", ":v1", "?1", "x'00'", "\ud800", "‮"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_a_value_and_nothing_else(catalog: Catalog, runs: list[dict[str, Any]], text: str) -> None:
    assert ids(catalog, strategy=text) == ids(catalog, engine=text) == ids(catalog, symbol=text) == []
    assert ids(catalog, tags=(text,)) == ids(catalog, any_tags=(text,)) == ids(catalog, config_hash=text) == []
    assert catalog.by_alias(REF, text) is None
    assert catalog.ids(REF, text) == []
    assert catalog.run(REF, text) is None
    with pytest.raises(ConfigError):
        ids(catalog, sort=text)
    with pytest.raises(ConfigError):
        ids(catalog, where=f"params[{text!r}] > 1")
    if text.isprintable():
        assert ids(catalog, where=f"strategy == {text!r} or note == {text!r} or {text!r} in tags") == []
    assert len(ids(catalog)) == COUNT


def test_values_are_bound_and_never_part_of_a_statement(
    catalog: Catalog, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*args, **options)
        execute = db.set_trace_callback
        execute(None)
        return Traced(db, statements)  # type: ignore[return-value]

    class Traced:
        def __init__(self, db: sqlite3.Connection, into: list[str]) -> None:
            self._db, self._into = db, into

        def execute(self, sql: str, *values: Any) -> Any:
            self._into.append(sql)
            return self._db.execute(sql, *values)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._db, name)

    monkeypatch.setattr(sqlite3, "connect", traced)
    catalog = Catalog(place)
    secret = "needle"
    where = f"strategy == '{secret}' or params.fast in [77001] or '{secret}' in tags or note == '{secret}'"
    options = {"strategy": secret, "tags": (secret,), "any_tags": (secret,), "symbol": secret, "search": secret}
    assert ids(catalog, where=where, config_hash="ab77001", engine=secret, seed=77001, **options) == []
    assert len(statements) > 5
    assert [sql for sql in statements if secret in sql or "77001" in sql] == []


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("sharp_ratio > 1", "sharpe_ratio"),
        ("params.fats > 1", "params.fast"),
        ("fees > 1", "settings.fees"),
        ("strateg == 'x'", "strategy"),
        ("settings.fast > 1", "params.fast"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(catalog: Catalog, where: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ids(catalog, where=where)
    assert where.split()[0] in str(caught.value)
    assert caught.value.hint is not None
    assert hint in caught.value.hint
    with pytest.raises(ConfigError):
        ids(catalog, sort=where.split()[0])


def test_an_unknown_name_is_refused_wherever_it_stands(catalog: Catalog) -> None:
    for where in ("False and zzz > 1", "not zzz", "zzz in tags", "1 in zzz", "zzz is None", "zzz in [1]"):
        with pytest.raises(ConfigError, match="zzz"):
            ids(catalog, where=where)
        with pytest.raises(ConfigError, match="zzz"):
            catalog.count(REF, Selection(where=where))


def test_any_name_passes_in_an_empty_archive(tmp_path: Path) -> None:
    source = MemoryArchive()
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, source.commit({"README.md": b"runs\n"}))
    for where in ("zzz > 1", "not (params.x in [1])", "zzz is None or a.b.c", "zzz < yyy", "1 in zzz"):
        assert list(catalog.select(REF, Selection(where=where, sort="-zzz"))) == []
        assert catalog.count(REF, Selection(where=where)) == 0


@pytest.mark.parametrize(
    "where", ["tags == 'golden'", "tags < symbols", "tags in ['golden']", "tags in tags", "1 in 2"]
)
def test_lists_answer_to_in_alone(catalog: Catalog, where: str) -> None:
    with pytest.raises(ConfigError, match="list"):
        ids(catalog, where=where)


def test_a_condition_of_thousands_of_parts_is_answered(catalog: Catalog, runs: list[dict[str, Any]]) -> None:
    wanted = [run["id"] for run in runs[::2]]
    one_by_one = " or ".join(f"id == '{run}'" for run in wanted) + "".join(f" or seed == {n}" for n in range(10, 3000))
    assert ids(catalog, where=one_by_one) == wanted
    assert ids(catalog, where=f"id in {wanted + [str(n) for n in range(3000)]}") == wanted


def test_a_metric_comes_before_a_parameter_before_a_field(tmp_path: Path) -> None:
    run = forge_run(1)
    config = {**run.manifest["config"], "params": {"strategy": "from params", "own": 1, "win_rate": -1}}
    digest = str(config_hash(config))
    metrics = {**run.manifest["metrics"], "own": 2, "win_rate": 0.25}
    changes = {"id": f"{digest}-0", "config_hash": digest, "seed": 0, "config": config, "metrics": metrics}
    forged = ForgedRun(f"{digest}-0", {**run.manifest, **changes}, {})
    source = MemoryArchive()
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.refresh(source, REF, source.commit({f"{forged.path}/{n}": data for n, data in forged.files().items()}))
    where = "own == 2 and params.own == 1 and win_rate == 0.25 and params.win_rate == -1 and strategy == 'from params'"
    assert ids(catalog, where=where) == [forged.id]


def test_rows_stream(catalog: Catalog) -> None:
    rows = catalog.select(REF, Selection())
    assert isinstance(rows, Iterator)
    first = next(rows)
    assert catalog.count(REF, Selection()) == COUNT  # asked in between
    assert [first, *rows] == list(catalog.select(REF, Selection()))


@given(st.text(max_size=50))
def test_words_become_quoted_words(words: str) -> None:
    question = match_of(words)
    assert question is None or all(part[0] == part[-1] == '"' and '"' not in part[1:-1] for part in question.split(" "))
