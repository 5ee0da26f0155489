"""A process whose clock is wrong, or jumps. Run as a script: clocked.py REPO CLOCK, steps as lines of JSON on stdin.

CLOCK is a list of seconds that are added to the time, one after the other and over again, a turn each time somebody
looks; an empty one leaves the clock as it is (libfaketime's, say). Each step answers with a line of JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from datetime import datetime, tzinfo
from io import BytesIO, TextIOWrapper
from typing import Any, Self, TypeAlias, cast

from results import make_result, make_sweep

import runvault as rv
import runvault.api.machine
from runvault.cli.main import run
from runvault.errors import RunvaultError

Json: TypeAlias = Any


def set_clock(offsets: list[float]) -> None:
    """Put the clock wrong where runvault looks at it, and what else Python and git look at."""
    turns, right = itertools.cycle(offsets), time.time

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(right() + next(turns), tz)

    runvault.api.machine.datetime = Wrong  # type: ignore[misc]
    time.time = lambda: right() + next(turns)
    moment = f"@{max(int(right() + offsets[0]), 0)} +0000"
    os.environ.update(GIT_AUTHOR_DATE=moment, GIT_COMMITTER_DATE=moment)


def save(vault: rv.Vault, n: int, total: float, **words: Json) -> Json:
    saved = vault.save(make_result(total), strategy="s", params={"n": n}, **words)
    return [saved.run.id, saved.created]


def sweep(vault: rv.Vault, ns: list[int], totals: list[float], **words: Json) -> Json:
    saved = vault.save_sweep(make_sweep(totals, n=ns), strategy="s", **words)
    return [[each.run.id, each.created] for each in saved]


def command(vault: rv.Vault, args: list[str]) -> Json:
    out = TextIOWrapper(BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        status = run(args)
    out.flush()
    return [status, cast(BytesIO, out.buffer).getvalue().decode()]


def update(vault: rv.Vault, method: str, args: list[Json], **words: Json) -> Json:
    getattr(vault, method)(*args, **words)
    return None


def members(vault: rv.Vault, run: str) -> Json:
    return vault.get(run).to_dict()


STEPS: Mapping[str, Callable[..., Json]] = {
    "save": save,
    "sweep": sweep,
    "command": command,
    "update": update,
    "members": members,
}


def main(repository: str, clock: str) -> int:
    os.chdir(repository)
    if json.loads(clock):
        set_clock(json.loads(clock))
    vault = rv.open(".")
    for line in sys.stdin:
        step = json.loads(line)
        try:
            answer = {"done": STEPS[step.pop("do")](vault, **step)}
        except RunvaultError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
