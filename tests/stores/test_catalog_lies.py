"""A catalog whose rows or indexes say other than they were written is made anew; no answer is made of them."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from forge import forge_run
from machine import full_counts
from memory import MemoryArchive

from runvault.errors import IntegrityError
from runvault.model.query import Selection
from runvault.stores.catalog import Catalog

REF = "refs/heads/runvault"
RUNS = 60

ASKED: dict[str, Selection] = {
    "newest": Selection(),
    "first": Selection(sort="created_at", limit=20),
    "best": Selection(sort="-sharpe_ratio"),
    "by parameter": Selection(sort="params.slow"),
    "by strategy": Selection(sort="strategy"),
    "one strategy": Selection(strategy="momentum"),
    "good": Selection(where="sharpe_ratio > -1000"),
    "fast": Selection(where="params.fast > 20", sort="-params.fast"),
    "free": Selection(where="settings.fees == 0"),
    "tagged": Selection(tags=("golden",)),
    "of a symbol": Selection(symbol="AAPL"),
    "noted": Selection(search="stop"),
    "by mean": Selection(sort="moments.mean"),
}


class Fresh:
    """A small archive, and what an undamaged catalog says of it."""

    def __init__(self, folder: Path) -> None:
        self.source = MemoryArchive()
        runs = [forge_run(n) for n in range(RUNS)]
        self.tip = self.source.commit({f"{r.path}/{name}": data for r in runs for name, data in r.files().items()})
        self.path = folder / "catalog.db"
        self.answers = self.ask(self.path)

    def ask(self, path: Path) -> dict[str, Any]:
        catalog = Catalog(path)
        catalog.refresh(self.source, REF, self.tip)
        answers: dict[str, Any] = {name: list(catalog.select(REF, each)) for name, each in ASKED.items()}
        answers["number"] = catalog.count(REF, Selection())
        answers["definitions"] = catalog.definitions(REF, [run["id"] for run in answers["newest"]])
        answers["run"] = catalog.run(REF, answers["newest"][3]["id"])
        return answers


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    made = Fresh(tmp_path_factory.mktemp("fresh"))
    assert all(made.answers.values())
    return made


def stale_index(name: str, sql: str) -> Callable[[Path], None]:
    """Change rows behind the back of an index."""

    def work(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            [kept] = db.execute("SELECT * FROM sqlite_master WHERE name = ?", (name,)).fetchall()
            db.execute("PRAGMA writable_schema = ON")
            db.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(sql)
            db.execute("PRAGMA writable_schema = ON")
            db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)

    return work


def change(sql: str) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA ignore_check_constraints = ON")
            assert db.execute(sql).rowcount > 0

    return work


# A lie, and the questions that it would answer otherwise
LIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a metric": (change('UPDATE runs SET "metrics.sharpe_ratio" = 99 WHERE run = 7'), "best"),
    "a moment": (change('UPDATE runs SET "moments.mean" = -9 WHERE run = 7'), "by mean"),
    "a moment that is shown": (change('UPDATE runs SET "moments.std" = 9 WHERE run = 7'), "definitions"),
    "a time": (change("UPDATE runs SET created_at = '2001' || substr(created_at, 5) WHERE run = 7"), "newest"),
    "a strategy": (change("UPDATE runs SET strategy = 'momentum' WHERE strategy = 'breakout'"), "one strategy"),
    "a text that is bytes now": (change("UPDATE runs SET author = x'00' WHERE run = 7"), "newest"),
    "a parameter": (
        change("UPDATE facts SET value = 1000 WHERE name = (SELECT name FROM names WHERE path = 'params.fast')"),
        "fast",
    ),
    "a setting": (
        change("UPDATE facts SET value = 0 WHERE name = (SELECT name FROM names WHERE path = 'settings.fees')"),
        "free",
    ),
    "the settings of another": (
        change(
            "UPDATE runs SET settings = (SELECT owner FROM facts JOIN names USING (name)"
            " WHERE path = 'settings.fees' AND value = 0)"
        ),
        "free",
    ),
    "a tag": (change("UPDATE OR IGNORE labels SET label = 'golden' WHERE kind = 0"), "tagged"),
    "a symbol": (change("UPDATE OR IGNORE labels SET label = 'AAPL' WHERE kind = 1"), "of a symbol"),
    "a revision's number": (change("UPDATE runs SET revision = 3 WHERE run = 7"), "newest"),
    "a revision's commit": (change("""UPDATE revisions SET "commit" = x'22' || substr("commit", 2)"""), "newest"),
    "a definition": (change("UPDATE definitions SET json = CAST(replace(json, '365', '252') AS BLOB)"), "definitions"),
    "a branch": (change("UPDATE runs SET branch = 77 WHERE run = 7"), "newest"),
    "an index of metrics": (
        stale_index("by metrics.sharpe_ratio", 'UPDATE runs SET "metrics.sharpe_ratio" = run % 7'),
        "best",
    ),
    "an index of parameters": (stale_index("facts_value", "UPDATE facts SET value = 50 WHERE value = 21"), "fast"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_an_answer_is_made_of_is_what_was_written(fresh: Fresh, tmp_path: Path, lie: str) -> None:
    path = Path(shutil.copy(fresh.path, tmp_path / "catalog.db"))
    tell, asked = LIES[lie]
    tell(path)
    before = path.stat().st_ino
    if asked in ASKED:
        catalog = Catalog(path)
        catalog.refresh(fresh.source, REF, fresh.tip)
        assert list(catalog.select(REF, ASKED[asked])) == fresh.answers[asked]
        assert path.stat().st_ino != before, "the lie changed nothing"
    assert fresh.ask(path) == fresh.answers


def test_a_flipped_bit_changes_no_run_that_is_listed(fresh: Fresh, tmp_path: Path) -> None:
    """All runs are listed, whatever they are sorted by; what a filter leaves out is another question."""
    sound, chance, healed = fresh.path.read_bytes(), random.Random(3), 0
    whole = [name for name, each in ASKED.items() if each == Selection(sort=each.sort)]
    assert len(whole) >= 5
    flips = 0
    while flips < full_counts(150, 2000):
        bit = chance.randrange(8 * len(sound))
        if not any(sound[bit // 8 - 8 : bit // 8 + 8]):
            continue
        flips += 1
        changed = bytearray(sound)
        changed[bit // 8] ^= 1 << bit % 8
        path = tmp_path / f"{flips}.db"
        path.write_bytes(changed)
        before = path.stat().st_ino
        catalog = Catalog(path)
        catalog.refresh(fresh.source, REF, fresh.tip)
        for name in whole:
            assert list(catalog.select(REF, ASKED[name])) == fresh.answers[name], f"bit {bit}: {name}"
        healed += path.stat().st_ino != before
        for left in tmp_path.iterdir():
            left.unlink()
    assert healed > flips // 20


def test_what_was_given_before_damage_was_seen_is_no_answer(fresh: Fresh, tmp_path: Path) -> None:
    """A listing is made in parts: where a later one shows that an earlier one lied, the whole is void."""
    path = Path(shutil.copy(fresh.path, tmp_path / "catalog.db"))
    catalog = Catalog(path)
    catalog.refresh(fresh.source, REF, fresh.tip)
    listing = catalog.select(REF, Selection(sort="created_at"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runvault.stores.catalog.catalog._CHUNK", 5)
        change("UPDATE runs SET created_at = '2999' || substr(created_at, 5) WHERE run = 2")(path)
        with pytest.raises(IntegrityError, match="damaged"):
            list(listing)
        assert list(catalog.select(REF, Selection(sort="created_at", limit=20))) == fresh.answers["first"]
