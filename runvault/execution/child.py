"""The child process of a replay: ``python -m runvault.execution.child JOB OUT``.

JOB is a JSON file: `kind`, `root`, `checkout`, `paths`, `entry`, `params`, `settings`, `inputs` (path and kind by
argument), `seed`, `span`, `series`, `vectorized`, `backend`, `dump`, `trusted`, which settings and whether the span are
overrides, and of a command `command`, `folder`, `result` and `files`. What came of it is left in the folder OUT: a
parcel, or ``error.json`` with `message` and `hint`. The entry's own output goes where the caller pointed it. The input
is a pipe that ends with the caller, and with it the child ends. `runvault.execution.forkserver` does jobs in forks of
its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from runvault.errors import ReplayError, RunvaultError
from runvault.execution.calls import Ran, arguments_of, as_result, bind, takes_setting
from runvault.execution.code import imported_files
from runvault.execution.declared import as_declared
from runvault.execution.entries import is_defined_in, load_entry, modules_in
from runvault.execution.own_process import end_quickly, import_engine
from runvault.execution.parcels import write_parcel
from runvault.execution.programs import filled, read_result, run_program
from runvault.execution.recipe import COMMAND, SERIES
from runvault.execution.series import Span, cut_inputs, read_input, series_in
from runvault.execution.workers import as_arrays
from runvault.stores.git.code import blob_of_file

Json: TypeAlias = Any

ERROR = "error.json"
FILES = "files.json"
OUTPUT = "output.txt"


def main(job: Path, out: Path) -> int:
    """Do a job; 0 where a parcel is there afterwards, 50 where an error is."""
    try:
        _do(json.loads(job.read_text("utf-8")), out)
    except RunvaultError as error:
        (out / ERROR).write_text(json.dumps({"message": error.message, "hint": error.hint}), "utf-8")
        return 50
    return 0


def _do(job: dict[str, Json], out: Path) -> None:
    job["output"] = str(out / OUTPUT)
    ran, told = (_ran_command if job.get("kind") == COMMAND else _called)(job, Path(job["root"]))
    write_parcel(out, ran.result, dump=job["dump"])
    # What was run with is told by the process that ran it: defaults that a newer version of the entry added, too.
    # The others are told as they were asked for, not as the arrays, times and enumerations that the entry was given.
    (out / FILES).write_text(json.dumps({**told, "duration_s": ran.duration_s}, default=str), "utf-8")


def _called(job: dict[str, Json], root: Path) -> tuple[Ran, dict[str, Json]]:
    function = load_entry(job["entry"], root, job["paths"])
    # An archive of others may name our own commit, and in it a function that is none of ours: ``os:system``.
    if not job["trusted"] and not is_defined_in(function, root):
        raise ReplayError(
            f"{job['entry']!r} is not defined in the recorded code", hint="--trust-code runs it all the same"
        )
    _use_backend(job["backend"])
    span = Span(**job["span"])
    inputs = {name: as_given(Path(path), kind) for name, (path, kind) in job["inputs"].items()}
    series = series_in(inputs, job["series"])
    _refuse_useless(job, function, series)
    call = bind(
        function,
        params={**as_declared(function, job["params"]), **as_arrays([job["params"]], job["vectorized"])},
        settings=job["settings"],
        inputs=cut_inputs(inputs, span, series),
        seed=job["seed"],
    )
    ran = call.run()
    _refuse_other_code(root, job["checkout"])
    windows = dict.fromkeys(series, span.asked())
    return ran, {"files": imported_files(root), "params": {**call.params, **job["params"]}, "windows": windows}


def _refuse_other_code(root: Path, checkout: str | None) -> None:
    """Refuse modules of the caller's checkout: it is not the code that the verdict is about.

    A package that was installed from there to be edited is found there, where the recorded code does not hold it.
    """
    for name, path in modules_in(Path(checkout)) if checkout else ():
        if not path.is_relative_to(root.resolve()):
            hint = "the recorded code has no such file: is it ignored by Git, or in a submodule?"
            raise ReplayError(f"{name!r} is imported from {str(path)!r}, not from the recorded code", hint)


def _ran_command(job: dict[str, Json], root: Path) -> tuple[Ran, dict[str, Json]]:
    result = root / job["result"]
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)  # one that was committed
    paths = {name: path for name, (path, _) in job["inputs"].items()}
    values = {"seed": job["seed"], "result": str(result), **paths, **job["settings"], **job["params"]}
    # What PYTHONPATH says to this process is not for the program: it finds its modules where it did, in this code.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(root / path) for path in job["paths"])}
    started = time.perf_counter()
    try:
        run_program(filled(job["command"], values), root / job["folder"], environment)
    except ReplayError as error:
        raise ReplayError(": ".join([error.message, *_last_line(Path(job["output"]))])) from error
    duration_s = time.perf_counter() - started
    _use_backend(job["backend"])
    returned = read_result(result, job["result"])
    files = {path: blob for path in job["files"] if (blob := blob_of_file(root / path)) is not None}
    ran = Ran(returned, as_result(returned, job["command"][0]), duration_s)
    return ran, {"files": files, "params": job["params"]}


def _last_line(output: Path) -> list[str]:
    """Return the last line that was printed, where the caller points output to a file in OUT."""
    lines = output.read_text("utf-8", "replace").strip().splitlines() if output.is_file() else []
    return [line.strip()[:300] for line in lines[-1:]]


def as_given(path: Path, kind: str) -> Any:
    """Return an input as the entry was given it; a Series that was passed in memory is one again."""
    value = read_input(path)
    if kind == SERIES:
        series = value.iloc[:, 0]
        return series.rename(None) if str(series.name) == "0" else series
    return value


def _refuse_useless(job: dict[str, Json], function: Any, series: Mapping[str, str]) -> None:
    """Refuse overrides that nothing would take: a result that looks changed and is not would mislead."""
    taken = ", ".join(arguments_of(function))
    for name in job["overridden_settings"]:
        if not takes_setting(function, name):
            raise RunvaultError(f"nothing takes the setting {name!r}", hint=f"the entry takes {taken}")
    if job["span_overridden"] and not series:
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


def detach(pipe: int) -> None:
    """End this process, and what it started, as soon as the caller's `pipe` ends; its own input is empty."""
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    threading.Thread(target=_wait_for_end, args=(pipe,), daemon=True).start()


def _wait_for_end(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    detach(os.dup(0))
    end_quickly()
    import_engine()
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
