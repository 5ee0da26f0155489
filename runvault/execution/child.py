"""The child process of a replay: ``python -m runvault.execution.child JOB OUT``.

JOB is a JSON file: `root`, `entry`, `params`, `settings`, `inputs` (path and kind by argument), `seed`, `span`,
`vectorized`, `backend`, `dump`, and which settings and whether the span are overrides. What came of it is left in the
folder OUT: a parcel, or ``error.json`` with `message` and `hint`. The entry's own output goes where the caller pointed
it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, TypeAlias

from runvault.errors import ReplayError, RunvaultError
from runvault.execution.calls import arguments_of, bind, takes_setting
from runvault.execution.code import imported_files
from runvault.execution.entries import load_entry
from runvault.execution.parcels import write_parcel
from runvault.execution.recipe import SERIES
from runvault.execution.series import Span, cut, read_input, time_of
from runvault.execution.workers import as_arrays

Json: TypeAlias = Any

ERROR = "error.json"
FILES = "files.json"


def main(job: Path, out: Path) -> int:
    """Do a job; 0 where a parcel is there afterwards, 50 where an error is."""
    try:
        _do(json.loads(job.read_text("utf-8")), out)
    except RunvaultError as error:
        (out / ERROR).write_text(json.dumps({"message": error.message, "hint": error.hint}), "utf-8")
        return 50
    return 0


def _do(job: dict[str, Json], out: Path) -> None:
    root = Path(job["root"])
    function = load_entry(job["entry"], root)
    _use_backend(job["backend"])
    span = Span(**job["span"])
    inputs = {name: as_given(Path(path), kind) for name, (path, kind) in job["inputs"].items()}
    _refuse_useless(job, function, inputs, span)
    call = bind(
        function,
        params={**job["params"], **as_arrays([job["params"]], job["vectorized"])},
        settings=job["settings"],
        inputs={name: cut(value, span) for name, value in inputs.items()},
        seed=job["seed"],
    )
    ran = call.run()
    write_parcel(out, ran.result, dump=job["dump"])
    # What was run with is told by the process that ran it: defaults that a newer version of the entry added, too.
    told = {"files": imported_files(root), "params": {**call.params, **_plain(job)}, "duration_s": ran.duration_s}
    (out / FILES).write_text(json.dumps(told, default=str), "utf-8")


def _plain(job: dict[str, Json]) -> dict[str, Json]:
    """Return the parameters of a vectorized entry as values, not as the arrays of one that it is given."""
    return {name: job["params"][name] for name in job["vectorized"]}


def as_given(path: Path, kind: str) -> Any:
    """Return an input as the entry was given it; a Series that was passed in memory is one again."""
    value = read_input(path)
    if kind == SERIES:
        series = value.iloc[:, 0]
        return series.rename(None) if str(series.name) == "0" else series
    return value


def _refuse_useless(job: dict[str, Json], function: Any, inputs: dict[str, Any], span: Span) -> None:
    """Refuse overrides that nothing would take: a result that looks changed and is not would mislead."""
    taken = ", ".join(arguments_of(function))
    for name in job["overridden_settings"]:
        if not takes_setting(function, name):
            raise RunvaultError(f"nothing takes the setting {name!r}", hint=f"the entry takes {taken}")
    if job["span_overridden"] and span and not any(time_of(value) is not None for value in inputs.values()):
        raise RunvaultError("none of the inputs is a time series that could be cut", hint=f"the entry takes {taken}")


def _use_backend(backend: str | None) -> None:
    """Make vectorbt use the backend that the run was made with: last bits may differ between them.

    What runs on rust by choice runs on it here, too; told to use it, vectorbt would refuse what rust cannot do.
    """
    if backend == "rust" and importlib.util.find_spec("vectorbt_rust") is None:
        raise ReplayError("the run was made with vectorbt-rust, which is not here", hint="pip install 'vectorbt[rust]'")
    if backend == "numba":
        import vectorbt as vbt

        vbt.settings["engine"] = backend


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
