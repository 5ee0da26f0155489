"""Archive branches of any size, made at once through `git fast-import`, with manifests as docs/format.md says.

The numbers are made up, but spread as real ones are: sweeps over two parameters on several symbols, a few settings,
every metric of the registry, some undefined.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from runvault.model.canonical import config_hash
from runvault.model.metrics import METRICS
from runvault.model.records import dump_json
from runvault.model.times import format_instant

Json: TypeAlias = Any

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
STRATEGIES = ("dual_sma", "momentum", "breakout")
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
AUTHOR = "Ada Quant <ada@example.org>"
ARTIFACTS = ("prices.parquet", "orders.parquet", "portfolio.pkl")


@dataclass(frozen=True)
class ForgedRun:
    """One run as it stands in the archive: its id and its files by name."""

    id: str
    manifest: dict[str, Json]
    annotations: dict[str, Json]

    @property
    def path(self) -> str:
        return f"runs/{self.id[:2]}/{self.id}"

    def files(self) -> dict[str, bytes]:
        """Return the run's files; statistics and pointers are of the right size, not of the right content."""
        files = {"manifest.json": dump_json(self.manifest), "stats.parquet": _filler(self.id, 1024)}
        if self.annotations:
            files["annotations.json"] = dump_json(self.annotations)
        for name, artifact in self.manifest["artifacts"].items():
            pointer = f"outs:\n- md5: {artifact['md5']}\n  size: {artifact['size']}\n  hash: md5\n  path: {name}\n"
            files[f"{name}.dvc"] = pointer.encode()
        return files


def forge_run(number: int, **changes: Json) -> ForgedRun:
    """Return the run of a number: always the same one. `changes` replace members of its manifest."""
    chance = random.Random(number)
    config = {
        "strategy": STRATEGIES[number % 3],
        "engine": "vectorbt",
        "params": {"fast": 2 + number % 97, "slow": 100 + number // 97},
        "settings": {"init_cash": 10000, "fees": chance.choice((0, 0.0005, 0.001)), "freq": "1D"},
        "data": {
            "prices": {
                "sha256": hashlib.sha256(SYMBOLS[number % 4].encode()).hexdigest(),
                "start": "2004-08-19",
                "end": "2013-03-01",
                "symbols": [SYMBOLS[number % 4]],
                "interval": "1D",
            }
        },
    }
    digest = str(config_hash(config))
    seed = number % 5
    created = format_instant(FIRST + timedelta(seconds=37 * number, microseconds=number % 1_000_000))
    manifest = {
        "format": 1,
        "id": f"{digest}-{seed}",
        "config_hash": digest,
        "seed": seed,
        "config": config,
        "recipe": None,
        "code": {"commit": _hex("code", number // 500, 40), "base": None, "branch": "main", "dirty": False},
        "environment": {
            "python": "3.12.4",
            "platform": "Linux-6.1-x86_64",
            "packages": {"numpy": "2.4.0", "pandas": "3.0.0", "vectorbt": "1.2.0"},
            "backend": "numba",
        },
        "window": {
            "start": "2004-08-19",
            "end": "2013-03-01",
            "bars": 2148,
            "interval": "1D",
            "symbols": [SYMBOLS[number % 4]],
        },
        "created_at": created,
        "author": AUTHOR,
        "duration_s": round(chance.random(), 3),
        "metrics": _metrics(chance),
        "metric_definitions": {"periods_per_year": 365, "risk_free": 0, "ddof": 1, "engine": "vectorbt 1.2.0"},
        "moments": {
            "n_periods": 2148,
            "mean": chance.gauss(0.0004, 0.0003),
            "std": chance.uniform(0.01, 0.02),
            "skew": chance.gauss(0, 0.3),
            "kurtosis": chance.uniform(3, 9),
            "autocorrelation": chance.gauss(0, 0.03),
        },
        "artifacts": {
            name: {
                "md5": _hex(name, number, 32),
                "sha256": _hex(name, number, 64),
                "size": chance.randrange(1_000, 200_000),
                "media_type": "application/vnd.apache.parquet",
            }
            for name in ARTIFACTS
        },
        "portfolio": {"rebuildable": True, "init_cash": 10000.0, "freq": "1D"},
        "results_digest": _hex("results", number, 64),
        "lineage": {"sweep": _hex("sweep", number // 1000, 16)},
        "warnings": [],
        **changes,
    }
    return ForgedRun(manifest["id"], manifest, _annotations(number, created))


def _metrics(chance: random.Random) -> dict[str, Json]:
    traded = chance.random() > 0.02
    values: dict[str, Json] = {}
    for name, metric in METRICS.items():
        if metric.unit == "timestamp" or name.endswith("_bars"):
            continue
        if not traded and metric.unit == "ratio":
            values[name] = None
        elif metric.unit == "count":
            values[name] = chance.randrange(60) if traded else 0
        elif metric.unit == "duration":
            values[name] = 86400.0 * chance.randrange(1, 900)
        elif metric.unit == "money":
            values[name] = chance.uniform(5_000, 30_000)
        else:
            values[name] = chance.gauss(0.6, 0.7)
    values["max_drawdown"] = -chance.random()
    return values


def _annotations(number: int, at: str) -> dict[str, Json]:
    """Return tags for every tenth run, a note for every hundredth."""
    if number % 10:
        return {}
    tag = {"at": at, "by": AUTHOR, "removed": False}
    tags = {"sweep": tag, **({"golden": tag} if number % 50 == 0 else {})}
    text = f"run {number}: first try with a wider stop"
    notes = [{"at": at, "by": AUTHOR, "text": text, "removed": False}] if number % 100 == 0 else []
    return {"tags": tags, "notes": notes, "replays": [], "alias": None}


def _hex(kind: str, number: int, digits: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()[:digits]


def _filler(text: str, size: int) -> bytes:
    return random.Random(text).randbytes(size)


def forge_archive(
    repository: Path,
    runs: int,
    *,
    branch: str = "runvault",
    runs_per_commit: int | None = None,
    first: int = 0,
    files: bool = True,
) -> str:
    """Put runs on a branch, on top of what is there, and return its tip.

    Parameters
    ----------
    runs, first : int
        How many, and the number of the first one.
    runs_per_commit : int or None
        None for all of them in one commit, as a sweep has them.
    files : bool
        Whether each run has its statistics and pointers; without them it has just manifest and annotations, and no
        artifacts.
    """
    forged = (_bare(forge_run(n)) if not files else forge_run(n) for n in range(first, first + runs))
    commits = ({f"{run.path}/{name}": data for name, data in run.files().items()} for run in forged)
    return import_commits(repository, _merged(commits, runs_per_commit or max(runs, 1)), branch=branch)


def _bare(run: ForgedRun) -> ForgedRun:
    return ForgedRun(run.id, {**run.manifest, "artifacts": {}}, run.annotations)


def _merged(files: Iterator[dict[str, bytes]], count: int) -> Iterator[Iterator[tuple[str, bytes | None]]]:
    """Join the files of every `count` runs to one commit, without holding them."""
    for first in files:
        yield _chained(first, files, count - 1)


def _chained(
    first: dict[str, bytes], files: Iterator[dict[str, bytes]], more: int
) -> Iterator[tuple[str, bytes | None]]:
    yield from first.items()
    for _, following in zip(range(more), files, strict=False):
        yield from following.items()


def import_commits(
    repository: Path,
    commits: Iterator[Iterator[tuple[str, bytes | None]]],
    *,
    branch: str = "runvault",
    time: int = 1_700_000_000,
) -> str:
    """Make a commit of each group of files (None removes a path), a second apart, and return the new tip."""
    ref = f"refs/heads/{branch}"
    asked = ["git", "rev-parse", "--verify", "--quiet", ref]
    tip = subprocess.run(asked, cwd=repository, capture_output=True, text=True, check=False).stdout.strip()
    args = ["git", "-c", "core.compression=0", "fast-import", "--quiet", "--force"]
    with subprocess.Popen(args, cwd=repository, stdin=subprocess.PIPE) as process:
        out = cast(IO[bytes], process.stdin)
        for number, files in enumerate(commits):
            out.write(f"commit {ref}\ncommitter {AUTHOR} {time + number} +0000\ndata 5\nforge\n".encode())
            if tip and number == 0:
                out.write(f"from {tip}\n".encode())
            for path, data in files:
                if data is None:
                    out.write(f"D {path}\n".encode())
                else:
                    out.write(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data))
        out.close()
    if process.returncode:
        raise RuntimeError("git fast-import failed")
    return subprocess.run(asked, cwd=repository, capture_output=True, text=True, check=True).stdout.strip()
