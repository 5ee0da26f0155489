"""docs/format.md says what the code does: whatever of the page can be computed is computed."""

from __future__ import annotations

import doctest
import hashlib
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machine import git
from results import make_result, make_sweep

import runvault as rv
from runvault.archive.artifacts import MEDIA_TYPES
from runvault.model import canonical
from runvault.model.annotations import Annotations
from runvault.model.manifest import Manifest, check_address, manifest_schema
from runvault.model.metrics import FORMAT_1_STATISTICS, METRICS
from runvault.model.records import MAX_DEPTH, MAX_RECORD_BYTES, MAX_TEXT_BYTES
from runvault.stores.dvc import parse_pointer
from runvault.stores.git.init import FIRST_COMMIT
from runvault.stores.git.layout import STATIC_FILES
from runvault.stores.tables import claims, read_table
from runvault.stores.tables.checks import KINDS, UNITS

PAGE = (Path(__file__).parents[2] / "docs/format.md").read_text()


def section(title: str) -> str:
    """Return the text of a section of the page, its subsections included."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def blocks(text: str, language: str = "") -> list[str]:
    """Return the code blocks of a language; those without one by default."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [body for name, body in fenced if name == language]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without their heads."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n") if line[:2] == "| "]
    heads = {i - 1 for i, cells in enumerate(lines) if set(cells[0]) == {"-"}}
    return [cells for i, cells in enumerate(lines) if i not in heads and set(cells[0]) != {"-"}]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def example_manifest() -> bytes:
    return blocks(section("Manifest"), "json")[0].encode()


def columns_of(table: str) -> set[str]:
    """Return the columns that the page gives a table."""
    text = section("Tables").split(f"**{table}**")[1].split("\n**")[0]
    return {name for row in rows(text) for name in names(row[0]) if name not in ("index_0", "index_1", "price_1")}


# Address


def test_the_golden_address_can_be_recomputed_from_the_page() -> None:
    text = section("Address")
    written = blocks(text, "json")[0].rstrip("\n")
    golden = blocks(text)[0].strip()

    assert hashlib.sha256(written.encode()).hexdigest() == golden
    assert canonical.canonical_bytes(json.loads(written)).decode() == written
    assert canonical.config_hash(json.loads(written)) == golden
    assert f"printf '%s' '{written}' | sha256sum\n" in blocks(text, "sh")


def test_the_examples_of_values_and_of_the_fingerprint_run() -> None:
    test = doctest.DocTestParser().get_doctest(PAGE, {}, "format.md", None, 0)
    outcome = doctest.DocTestRunner().run(test)

    assert outcome.attempted > 15
    assert not outcome.failed


def test_the_fingerprint_of_the_page_is_that_of_the_engine() -> None:
    import pandas as pd

    from runvault.engines.vectorbt.digest import data_fingerprint

    index = pd.date_range("2020-01-01", periods=2)

    assert f"'{data_fingerprint(index, [np.array([100.0, np.nan])], ['GOOG'])}'" in section("Data fingerprint")


# Records


def test_the_example_of_a_manifest_is_one() -> None:
    manifest = Manifest.from_bytes(example_manifest())

    check_address(manifest)
    assert manifest.to_bytes() == example_manifest()
    assert manifest.metrics.keys() <= METRICS.keys()
    assert {entry["media_type"] for entry in manifest.artifacts.values()} == set(MEDIA_TYPES.values())


def test_the_schema_accepts_the_example_and_nothing_less() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with vectorbt's notebook libraries")
    example = json.loads(example_manifest())
    jsonschema.validate(example, manifest_schema())

    for name in manifest_schema()["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in example.items() if k != name}, manifest_schema())


def test_every_member_of_a_manifest_is_explained() -> None:
    explained = {name for row in rows(section("Manifest")) for name in names(row[0])}

    assert explained == manifest_schema()["properties"].keys() == json.loads(example_manifest()).keys()


def test_the_example_of_annotations_is_one() -> None:
    example = blocks(section("Annotations"), "json")[0].encode()
    annotations = Annotations.from_bytes(example)

    assert annotations.to_bytes() == example
    assert (annotations.live_tags(), annotations.note()) == (["golden"], "first try")


def test_the_example_of_a_pointer_is_one_and_names_the_manifests_object() -> None:
    pointer = blocks(section("Reading an archive with git and dvc"), "yaml")[0].encode()
    parsed = parse_pointer(pointer, "orders.parquet")
    entry = Manifest.from_bytes(example_manifest()).artifacts["orders.parquet"]

    assert (parsed.md5, parsed.size) == (entry["md5"], entry["size"])


def test_the_examples_are_of_one_run() -> None:
    run = json.loads(example_manifest())["id"]

    assert f"runs/{run[:2]}/{run}`" in section("Reading an archive with git and dvc")
    assert f"  {run[:2]}/{run}/\n" in section("The tree")
    assert f"Run: {run}\n" in section("Saving, revisions and history")


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    address, manifest, tables = section("Address"), section("Manifest"), section("Tables")

    assert canonical.MAX_TEXT_BYTES == canonical.MAX_ARRAY_BYTES == MAX_TEXT_BYTES == 4096
    assert "arrays and text over 4 KB (4,096 bytes)" in address
    assert f"more than {canonical.MAX_DEPTH} levels" in address
    assert f"canonical JSON of more than {canonical.MAX_CONFIG_BYTES >> 10} KB" in address
    assert f"over {MAX_RECORD_BYTES >> 20} MB, nested more than {MAX_DEPTH} levels" in manifest
    assert f"at most {claims.MAX_COLUMNS:,} columns, a footer of {claims.MAX_FOOTER_BYTES >> 20} MB" in tables
    assert f"pages of {claims.MAX_PAGE_BYTES >> 20} MB" in tables
    assert f"no more than {claims.EXPANSION} times the" in tables
    assert f"file or {claims.ALWAYS_ALLOWED_BYTES >> 20} MB, whichever is more" in tables


# Tree and history


def test_the_first_commit_is_that_of_the_page(vault: rv.Vault, repo: Path) -> None:
    first = git(repo, "rev-list", "--max-parents=0", vault.branch).strip()
    ids = re.findall(r"\b[0-9a-f]{40}\b", section("The branch"))

    assert ids == [first, git(repo, "rev-parse", f"{first}^{{tree}}").strip()]
    assert first == FIRST_COMMIT


def test_a_save_writes_the_files_of_the_tree(vault: rv.Vault, repo: Path) -> None:
    (repo / "prices.parquet").write_bytes(b"prices")
    vault.save(make_result(), strategy="s", data={"prices": repo / "prices.parquet"})
    vault.save_sweep(make_sweep([0.1, 0.2], fast=[1, 2]), strategy="sweep")
    listed = git(repo, "ls-tree", "-r", "--name-only", vault.branch).split()
    tree = blocks(section("The tree"))[0].rstrip("\n").split("\n")

    top = {line.split()[0] for line in tree if not line.startswith(" ")} - {"data/", "runs/"}
    assert top == STATIC_FILES.keys() == {path for path in listed if path.split("/")[0] not in ("data", "runs")}

    files = {line.split()[0]: line for line in tree if line.startswith("    ")}
    folders: dict[str, set[str]] = {}
    for path in listed:
        if path.startswith("runs/"):
            folders.setdefault(path.rpartition("/")[0], set()).add(path.rpartition("/")[2])
    own = {name for name, line in files.items() if "not in a sweep's run" in line}
    assert set(map(frozenset, folders.values())) == {frozenset(files), frozenset(files.keys() - own)}

    [shown] = [line.split()[0] for line in tree if line.startswith("  ") and line.endswith("file or folder")]
    [pointer] = [path.removeprefix("data/") for path in listed if path.startswith("data/")]
    assert re.sub("[0-9a-f]", "0", pointer) == re.sub("[0-9a-f]", "0", shown)


def test_each_kind_of_commit_has_the_trailers_of_the_page(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="s").run
    vault.save_sweep(make_sweep([0.1, 0.2], fast=[1, 2]), strategy="sweep")
    vault.tag(run, add=["golden"])
    vault.remove(run)
    vault.restore(run.id)
    kinds = [row for row in rows(section("Saving, revisions and history")) if len(row) == 3]
    table = {kind: names(row[2]) for row in kinds for kind in names(row[0])}

    seen = set()
    for message in git(repo, "log", "-z", "--format=%(trailers:only)", vault.branch).split("\0"):
        trailers = dict(line.split(": ", 1) for line in message.splitlines())
        if "Kind" in trailers:
            kind = trailers.pop("Kind")
            seen.add(kind)
            assert trailers.keys() <= set(table[kind])
            assert set(table[kind]) - trailers.keys() <= ({"Strategy", "Code"} if kind == "annotate" else set())
    assert seen == {"save", "sweep", "annotate", "remove", "restore"}


# Numbers


def test_the_metrics_of_the_page_are_those_of_the_registry() -> None:
    table = {names(row[0])[0]: row[1:] for row in rows(section("Metrics"))}
    direction = {1: "higher", -1: "lower", 0: ""}

    assert table == {m.name: [m.label, m.unit, direction[m.direction], m.definition] for m in METRICS.values()}


def test_the_statistics_of_the_digest_are_those_of_format_1() -> None:
    program = blocks(section("Results digest"), "python")[0]

    assert tuple(program.split('"""')[1].split()) == FORMAT_1_STATISTICS
    assert set(FORMAT_1_STATISTICS) == METRICS.keys() - {"start", "end"}


def test_the_moments_of_the_page_are_those_that_are_computed() -> None:
    from runvault.engines.vectorbt.moments import compute_moments

    returns = np.array([0.01, -0.02, 0.03, 0.015, -0.005, 0.02])
    moments = compute_moments(returns[:, None], ddof=1)[0]
    m = {k: float(np.mean((returns - returns.mean()) ** k)) for k in (2, 3, 4)}

    assert [names(row[0])[0] for row in rows(section("Moments"))] == list(moments)
    assert moments["std"] == pytest.approx(np.sqrt(6 * m[2] / 5))
    assert moments["skew"] == pytest.approx(m[3] / m[2] ** 1.5)
    assert moments["kurtosis"] == pytest.approx(m[4] / m[2] ** 2)


# Tables


def test_the_columns_of_the_page_are_those_that_readers_check() -> None:
    for kind in ("stats", "orders", "trades", "equity"):
        assert KINDS[kind].keys() <= columns_of(f"{kind}.parquet")
    [units] = [row[2] for row in rows(section("Tables")) if row[0] == "`unit`"]
    assert set(names(units)) == UNITS


@pytest.fixture(scope="module")
def portfolio() -> Any:
    import pandas as pd
    import vectorbt as vbt

    index = pd.date_range("2020-01-01", periods=60, name="date")
    close = pd.Series(100 + 10 * np.sin(np.arange(60) / 5), index=index, name="GOOG")
    close.iloc[[0, 7]] = np.nan  # gaps that the valuation fills
    entries, exits = np.arange(60) % 20 == 3, np.arange(60) % 20 == 13
    return vbt.Portfolio.from_signals(close, entries, exits, init_cash=10_000, fees=0.001, freq="1D")


@pytest.mark.engine
def test_the_program_of_the_page_recomputes_the_digest_of_a_run(
    vault: rv.Vault, tmp_path: Path, portfolio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = vault.save(portfolio, strategy="dual_sma").run
    vault.export(run, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    program = blocks(section("Results digest"), "python")[0]
    assert run.manifest["metrics"]["total_trades"] == 3

    assert printed_by(program) == "True\n"

    manifest = json.loads(Path("manifest.json").read_text())
    manifest["metrics"]["win_rate"] = 0.123
    Path("manifest.json").write_text(json.dumps(manifest))
    assert printed_by(program) == "False\n"


@pytest.mark.engine
def test_the_tables_of_a_run_have_the_columns_of_the_page(vault: rv.Vault, portfolio: Any) -> None:
    run = vault.save(portfolio, strategy="dual_sma").run
    optional = {"stats": {"text"}, "orders": {"position"}}

    for kind in ("stats", "prices", "orders", "trades", "equity"):
        table = read_table(run.file(f"{kind}.parquet"), kind)
        assert table.columns.keys() == columns_of(f"{kind}.parquet") - optional.get(kind, set()), kind


def printed_by(program: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(program, "format.md", "exec"), {"open": open_and_close})  # noqa: S102 - the page's own program
    return out.getvalue()


def open_and_close(path: str) -> io.StringIO:
    """Open as the page's short program does, without leaving the file open."""
    return io.StringIO(Path(path).read_text())
