"""One command that measures everything and writes the table."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import (
    catalogs,
    commands,
    dvc_experiments,
    growth,
    machine,
    mlflow_runs,
    pickle_folder,
    reviewing,
    running,
    saving,
    sharing,
    stale,
    sweeping,
    sweeps,
    verifying,
)
from benchmarks.backtests import Prepared
from benchmarks.bench import Bench
from benchmarks.figures import Figure, figures_table, show
from benchmarks.repositories import Archives

GROUPS: dict[str, tuple[str, Callable[[Bench], Iterator[Figure]]]] = {
    "save": ("Saving a run", saving.measure),
    "sweep": ("Saving a sweep", sweeping.measure),
    "sweeps": ("Running a sweep", sweeps.measure),
    "running": ("Running and replaying", running.measure),
    "commands": ("Commands and listings", commands.measure),
    "stale": ("Runs that are stale", stale.measure),
    "review": ("Reviewing", reviewing.measure),
    "catalog": ("The catalog", catalogs.measure),
    "verify": ("Verifying", verifying.measure),
    "sharing": ("Sharing", sharing.measure),
    "growth": ("The repository's growth", growth.measure),
    "dvc": ("DVC's experiments", dvc_experiments.measure),
    "mlflow": ("MLflow", mlflow_runs.measure),
    "pickles": ("A folder of pickles", pickle_folder.measure),
}
RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Measured

Written by `make bench` (`python -m benchmarks --help`): medians of at least five, taken in turns with what stands
beside them. The machine is small and shared: compare ratios before times.
"""


def main() -> None:
    """Measure what was asked for and write it down; other sections of the page stay as they are."""
    asked = _arguments().parse_args()
    peers = asked.peers or os.environ.get("RUNVAULT_BENCH_PEERS")
    with ExitStack() as stack:
        scratch = Path(asked.scratch or stack.enter_context(tempfile.TemporaryDirectory(prefix="runvault-bench-")))
        machine.seal(scratch / "home")
        prepared = Prepared()
        bench = Bench(
            Archives(scratch, prepared),
            prepared,
            sizes=asked.runs,
            repeat=asked.repeat,
            columns=asked.columns,
            combinations=asked.combinations,
            growth=asked.growth,
            experiments=asked.experiments,
            peers=Path(peers) if peers else None,
        )
        for name in asked.only:
            _measure(bench, name, asked.output, machine.describe(scratch))
    print(f"written to {asked.output}", file=sys.stderr)


def _measure(bench: Bench, name: str, output: Path, described: str) -> None:
    """Measure one group and put its section on the page."""
    title, measure = GROUPS[name]
    bench.notes.clear()
    figures = []
    for figure in measure(bench):
        print(f"{name}: {figure.work} [{figure.size}] {show(figure.value, figure.unit)}", file=sys.stderr, flush=True)
        figures.append(figure)
    parts = [f"Measured {machine.moment()}.", *([figures_table(figures)] if figures else []), *bench.notes]
    sections = {**_sections(output), title: "\n\n".join(parts)}
    ordered = [(known, sections[known]) for known, _ in GROUPS.values() if known in sections]
    text = "".join(f"\n## {title}\n\n{section}\n" for title, section in ordered)
    output.write_text(f"{HEAD}\n{described}\n{text}", encoding="utf-8")


def _sections(page: Path) -> dict[str, str]:
    """Return the sections of a page that was written before, by title."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = (part.split("\n", 1) for part in text.split("\n## ")[1:])
    return {title: section.strip() for title, section in parts}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=_numbers, default=[100, 10_000, 100_000], help="sizes of archives: 100,10000")
    parser.add_argument("--repeat", type=int, default=5, help="how many times each figure is taken")
    parser.add_argument("--columns", type=int, default=4_950, help="columns of the sweep")
    parser.add_argument("--combinations", type=int, default=1_000, help="combinations of the sweep that is run")
    parser.add_argument("--growth", type=int, default=10_000, help="single saves to see the repository grow")
    parser.add_argument("--experiments", type=_numbers, default=[100, 1_000], help="sizes for DVC and MLflow")
    parser.add_argument("--only", type=_names, default=list(GROUPS), help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--peers", help="a Python that has MLflow; or set RUNVAULT_BENCH_PEERS")
    parser.add_argument("--scratch", help="a folder to keep the forged archives in, for the next time")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.replace("_", "").split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(GROUPS)}")
    return names


if __name__ == "__main__":
    main()
