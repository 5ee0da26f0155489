"""``python -m tests.fuzz manifest --seconds 3600``: with atheris where it is installed, else with plain mutations.

The first finding ends it: the input is left as a file in the current folder, and its traceback is shown.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PACKAGES = ("runvault.model", "runvault.stores.catalog", "runvault.stores.dvc.pointers", "runvault.stores.tables")


def main(args: Sequence[str] | None = None) -> int:
    """Fuzz one target and return the exit status: 1 for a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", help="manifest, annotations, pointer, filter, table or markup")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=None, help="at most so many inputs")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--seed", type=int, default=None, help="of the plain mutations")
    asked = parser.parse_args(args)
    guided = importlib.util.find_spec("atheris") is not None and not asked.plain
    if guided:
        import atheris

        with atheris.instrument_imports(include=list(PACKAGES)):
            from . import targets
    else:
        from . import targets
    if asked.target not in targets.TARGETS:
        parser.error(f"there is no {asked.target!r}; there are {', '.join(targets.TARGETS)}")
    work, seeds = targets.TARGETS[asked.target], targets.seeds(asked.target)
    if guided:
        return _guided(work, seeds, asked.seconds, asked.runs)
    return plain(work, seeds, seconds=asked.seconds, runs=asked.runs, seed=asked.seed)


def _guided(work: Callable[[bytes], None], seeds: Sequence[bytes], seconds: float, runs: int | None) -> int:
    import atheris

    corpus = tempfile.mkdtemp(prefix="runvault-fuzz-")
    for number, seed in enumerate(seeds):
        Path(corpus, f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={max(1, int(seconds))}", "-timeout=10", "-max_len=65536", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], corpus, *limits, *([f"-runs={runs}"] if runs else [])], work)
    atheris.Fuzz()  # ends the process
    return 0


def plain(
    work: Callable[[bytes], None],
    seeds: Sequence[bytes],
    *,
    seconds: float = 60,
    runs: int | None = None,
    seed: int | None = None,
    folder: Path | None = None,
) -> int:
    """Feed seeds and mutations of them; return 1 at the first finding, which is written to `folder`."""
    seed = seed if seed is not None else int.from_bytes(os.urandom(4))
    chance, pool = random.Random(seed), list(seeds)
    ends, number = time.monotonic() + seconds, 0
    while time.monotonic() < ends and (runs is None or number < runs):
        data = pool[number] if number < len(seeds) else mutated(chance, pool)
        number += 1
        try:
            work(data)
        except Exception:
            place = (folder or Path()) / f"finding-{seed}-{number}"
            place.write_bytes(data)
            print(f"finding after {number:,} inputs of seed {seed}: {place}", file=sys.stderr)
            if folder is None:
                raise
            return 1
    print(f"{number:,} inputs of seed {seed}, no finding", file=sys.stderr)
    return 0


PIECES = (b"\0", b"\xff", b"{", b"}", b"[", b"]", b'"', b"null", b"NaN", b"1e999", b"-", b"\\ud800", b"'", b"\n", b": ")


def mutated(chance: random.Random, pool: Sequence[bytes]) -> bytes:
    """Return a seed with a few bytes flipped, cut, doubled, or taken from another."""
    data = bytearray(chance.choice(pool))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at : at + chance.randint(1, 40)]
        elif kind == 2:
            data[at:at] = chance.choice(PIECES)
        elif kind == 3:
            data[at:at] = data[at : at + chance.randint(1, 200)]
        else:
            other = chance.choice(pool)
            start = chance.randrange(len(other) + 1)
            data[at : at + 50] = other[start : start + 50]
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main())
