"""Archives of any size at once, as sweeps leave them: copies of a run that was really saved, with other values.

Each has an address, parameters, metrics and statistics of its own; the tables are shared by the runs of a commit. What
the pointers name is not there: listing does not read it.
"""

from __future__ import annotations

import copy
import hashlib
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
import orjson

from runvault.integrity.statistics import headline_metrics
from runvault.model.canonical import config_hash
from runvault.model.records import dump_json
from runvault.model.table import Table
from runvault.model.times import format_instant
from runvault.stores.tables import read_table, write_table

Json: TypeAlias = Any

RUNS_PER_COMMIT = 1_000
STRATEGIES = ("dual_sma", "momentum", "breakout")
SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
AUTHOR = "Ada Quant <ada@example.org>"


@dataclass(frozen=True)
class Template:
    """The records and statistics of a run that was really saved."""

    manifest: dict[str, Json]
    annotations: dict[str, Json]
    stats: Table

    @classmethod
    def read(cls, git_dir: Path, run: str, branch: str = "runvault") -> Template:
        """Read the run from an archive."""

        def content(name: str) -> bytes:
            asked = ["git", f"--git-dir={git_dir}", "cat-file", "blob", f"{branch}:runs/{run[:2]}/{run}/{name}"]
            return subprocess.run(asked, check=True, capture_output=True).stdout

        records = orjson.loads(content("manifest.json")), orjson.loads(content("annotations.json"))
        return cls(*records, read_table(content("stats.parquet"), "stats"))

    def files(self, number: int) -> dict[str, bytes]:
        """Return the run of a number, its files by path in the archive; always the same ones."""
        chance = random.Random(number)
        stats = self._stats(chance)
        manifest = self._manifest(number, stats, chance)
        files = {
            "manifest.json": dump_json(manifest),
            "annotations.json": dump_json(self._annotations(number, manifest["created_at"])),
            "stats.parquet": write_table(stats),
        }
        for name, entry in manifest["artifacts"].items():
            pointer = f"outs:\n- md5: {entry['md5']}\n  size: {entry['size']}\n  hash: md5\n  path: {name}\n"
            files[f"{name}.dvc"] = pointer.encode()
        run = manifest["id"]
        return {f"runs/{run[:2]}/{run}/{name}": data for name, data in files.items()}

    def _stats(self, chance: random.Random) -> Table:
        """Return statistics that another backtest could have: counts whole, the drawdown below all there is."""
        columns = self.stats.columns
        values = columns["value"] * [chance.gauss(1, 0.3) for _ in columns["value"]]
        values = np.where(columns["unit"] == "count", np.round(np.abs(values)), values)
        values = np.where(columns["name"] == "max_drawdown", np.minimum(np.abs(values), 100), values)
        return Table({**columns, "value": values}, self.stats.time_zones)

    def _manifest(self, number: int, stats: Table, chance: random.Random) -> dict[str, Json]:
        made = copy.deepcopy(self.manifest)
        symbols = [SYMBOLS[number % len(SYMBOLS)]]
        made["config"]["strategy"] = STRATEGIES[number % len(STRATEGIES)]
        made["config"]["params"] = {"fast": 2 + number % 97, "slow": 100 + number // 97}
        made["config"]["data"]["prices"]["symbols"] = made["window"]["symbols"] = symbols
        digest = str(config_hash(made["config"]))
        sweep = number // RUNS_PER_COMMIT
        made.update(
            id=f"{digest}-0",
            config_hash=digest,
            seed=0,
            created_at=format_instant(FIRST + timedelta(seconds=37 * number)),
            metrics={**made["metrics"], **headline_metrics(stats)},
            moments={name: _other(value, chance) for name, value in made["moments"].items()},
            results_digest=_hex("results", number, 64),
            lineage={"sweep": _hex("sweep", sweep, 16)},
        )
        for name, entry in made["artifacts"].items():
            entry.update(md5=_hex(name, sweep, 32), sha256=_hex(name, sweep, 64), column=number % RUNS_PER_COMMIT)
        return made

    def _annotations(self, number: int, at: str) -> dict[str, Json]:
        """Return a tag for every tenth run, a note for every hundredth."""
        made = copy.deepcopy(self.annotations)
        if number % 10 == 0:
            made["tags"] = {"sweep": {"at": at, "by": AUTHOR, "removed": False}}
        if number % 100 == 0:
            made["notes"] = [{"at": at, "by": AUTHOR, "text": f"run {number}: a wider stop", "removed": False}]
        return made


def _other(value: Json, chance: random.Random) -> Json:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return max(0, round(value * chance.uniform(0.5, 1.5)))
    return value * chance.gauss(1, 0.3) if isinstance(value, float) else value


def _hex(kind: str, number: int, digits: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()[:digits]


def forge_archive(repository: Path, runs: int, template: Template, branch: str = "runvault") -> None:
    """Put runs on a branch that is there, a thousand a commit."""
    args = ["git", "-c", "pack.compression=1", "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"]
    with subprocess.Popen(args, cwd=repository, stdin=subprocess.PIPE) as process:
        out = cast(IO[bytes], process.stdin)
        for first in range(0, runs, RUNS_PER_COMMIT):
            out.write(_commit(branch, first // RUNS_PER_COMMIT))
            out.writelines(_commands(template, range(first, min(first + RUNS_PER_COMMIT, runs))))
        out.close()
    if process.returncode:
        raise RuntimeError("git fast-import failed")


def _commit(branch: str, number: int) -> bytes:
    ref, message = f"refs/heads/{branch}", f"Save sweep {number}\n\nKind: sweep\n"
    time = int((FIRST + timedelta(seconds=37 * RUNS_PER_COMMIT * (number + 1))).timestamp())
    start = f"from {ref}^0\n" if number == 0 else ""
    return f"commit {ref}\ncommitter {AUTHOR} {time} +0000\ndata {len(message)}\n{message}\n{start}".encode()


def _commands(template: Template, numbers: range) -> Iterator[bytes]:
    """Yield the files of a commit, those of one name together: git packs each as a difference from the one before."""
    files = [file for number in numbers for file in template.files(number).items()]
    for path, data in sorted(files, key=lambda file: file[0].rpartition("/")[2]):
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
