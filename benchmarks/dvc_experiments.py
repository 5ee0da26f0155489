"""DVC's experiments: saving one, and showing many."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.machine import program
from benchmarks.measure import median_processes, run_process
from benchmarks.repositories import git, new_repository

STAGE = """\
stages:
  backtest:
    cmd: {python} backtest.py
    deps: [backtest.py]
    params: [fast, slow]
    metrics: [metrics.json: {{cache: false}}]
    outs: [portfolio.pkl]
"""
# 30 metrics and an artifact of 200 KB, as a run of ours has.
SCRIPT = """\
import json, pathlib, random
text = pathlib.Path("params.yaml").read_text()
chance = random.Random(text)
pathlib.Path("metrics.json").write_text(json.dumps({f"metric_{n}": chance.random() for n in range(30)}))
pathlib.Path("portfolio.pkl").write_bytes(chance.randbytes(200_000))
"""

_numbers = itertools.count()


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield DVC's figures."""
    dvc = program("dvc")
    if dvc is None:
        bench.skip("DVC was not measured: it is not installed.")
        return
    path = project(bench, dvc)
    yield Figure("dvc exp save, whole process", save(bench, path, dvc), size=0)
    for size in bench.experiments:
        _forge(path, size)
        run_process([dvc, "exp", "show", "--csv"], path)  # the first time reads every experiment; later ones a cache
        usage = median_processes(bench.repeat, path, [dvc, "exp", "show", "--csv"])[0]
        yield Figure("dvc exp show --csv, whole process, warm", usage.seconds, size=size)
        yield Figure("dvc exp save, whole process", save(bench, path, dvc), size=size)
    one, other = git(path, "for-each-ref", "--count=2", "--format=%(refname:lstrip=4)", "refs/exps/").split()
    usage = median_processes(bench.repeat, path, [dvc, "exp", "diff", "--json", one, other])[0]
    yield Figure("dvc exp diff, whole process", usage.seconds, size=max(bench.experiments))


def project(bench: Bench, dvc: Path) -> Path:
    """Make a project of one stage that has run once."""
    path = new_repository(bench.archives.folder("dvc"))
    (path / "backtest.py").write_text(SCRIPT, encoding="utf-8")
    (path / "dvc.yaml").write_text(STAGE.format(python=sys.executable), encoding="utf-8")
    _set_params(path)
    run_process([dvc, "init", "--quiet"], path)
    run_process([dvc, "repro", "--quiet"], path)
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "project: first")
    return path


def _set_params(path: Path) -> None:
    (path / "params.yaml").write_text(f"fast: 10\nslow: {100 + next(_numbers)}\n", encoding="utf-8")


def save(bench: Bench, path: Path, dvc: Path, count: int | None = None) -> float:
    """Save what a stage has just made, again and again, and return the median time."""
    taken = []
    for _ in range(count or bench.repeat):
        _set_params(path)
        run_process([dvc, "repro", "--quiet"], path)
        taken.append(run_process([dvc, "exp", "save", "--quiet", "--name", f"saved-{next(_numbers)}"], path).seconds)
    git(path, "checkout", "--quiet", "--", ".")
    return statistics.median(taken)


def _forge(path: Path, count: int) -> None:
    """Make experiments like the one that DVC saved: commits on HEAD with other parameters and metrics."""
    head = git(path, "rev-parse", "HEAD").strip()
    model = git(path, "for-each-ref", "--count=1", "--format=%(objectname)", "refs/exps/").strip()
    lock, metrics = git(path, "show", f"{model}:dvc.lock"), git(path, "show", f"{model}:metrics.json")
    slow = git(path, "show", f"{model}:params.yaml").split()[-1]
    with subprocess.Popen(["git", "fast-import", "--quiet", "--force"], cwd=path, stdin=subprocess.PIPE) as process:
        out = cast(IO[bytes], process.stdin)
        for number in range(count):
            out.write(f"commit refs/exps/{head[:2]}/{head[2:]}/forged-{number}\n".encode())
            out.write(f"committer A <a@b> {1_800_000_000 + number} +0000\ndata 5\nforge\nfrom {model}^1\n".encode())
            for name, text in {
                "params.yaml": f"fast: 10\nslow: {1000 + number}\n",
                "dvc.lock": lock.replace(f"slow: {slow}", f"slow: {1000 + number}"),
                "metrics.json": metrics.replace("0.", f"{number}."),
            }.items():
                data = text.encode()
                out.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))
    assert process.returncode == 0
