"""Commands that run strategies, and archived runs again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import click
from click.core import ParameterSource

from runvault.cli.common import (
    STYLES,
    Context,
    Finite,
    Place,
    complete_metric,
    complete_run,
    complete_strategy,
    complete_tag,
    counting,
    echo_csv,
    echo_json,
    echo_paged,
    filter_options,
    notice,
    output_options,
    parse_pairs,
    stdout_for_results,
    working,
)
from runvault.cli.grids import parse_grid
from runvault.cli.saves import parse_data, request_options, request_words, series_option, show_saved, show_swept
from runvault.errors import RunvaultError

Json: TypeAlias = Any

NAMED = 5  # files that a notice names


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="ENTRY | -- COMMAND ARG...")
@click.option(
    "--result", type=Place(), metavar="PATH", help="Run COMMAND, and archive the portfolio pickle it leaves here"
)
@click.option(
    "--strategy", metavar="S", shell_complete=complete_strategy, help="[default: the function's or script's name]"
)
@request_options
@series_option
@click.option("--force", is_flag=True, help="Run it even if equal code has archived it already")
@click.option("--require-clean", is_flag=True, help="Refuse code with uncommitted changes")
@click.option("--snapshot-all", is_flag=True, help="Keep all untracked files with the code, not only imported ones")
@click.option(
    "--metrics", "metrics_file", type=Place(), metavar="FILE", help="Write the metrics as JSON, for 'dvc metrics'"
)
@click.option("--report", "report_file", type=Place(), metavar="FILE", help="Write a page about the run as HTML")
@output_options
@click.pass_obj
def run(
    context: Context,
    /,
    words: tuple[str, ...],
    result: str | None,
    form: str,
    metrics_file: str | None,
    report_file: str | None,
    **said: Any,
) -> None:
    """Call a function and archive what it returns, with the code and the data that it ran on

    ENTRY is FILE.py:function or module:function. Its arguments are parameters (--param), inputs (--data: Parquet, CSV
    and Feather are read, of other files the path is given) and the seed. Where an argument's default or annotation is
    an enumeration, a date, time or duration, a tuple or an array, the parameter is made one. The repository's root is
    first on sys.path. An address that equal code has archived already is not computed again.

    With --result, any program: COMMAND runs in the current folder, and {name} in its arguments stands for a --param,
    the path of a --data, {seed} and {result}; what stands nowhere in it, the program is not told, and a warning says
    so. The pickle that it leaves is unpickled, which runs what it holds.
    """
    if result is None and len(words) > 1:
        raise click.UsageError("one ENTRY is run at a time; a COMMAND needs --result PATH")
    asked = request_words(said)
    for name in filter(None, (metrics_file, report_file)):
        refuse_no_file(name)  # before anybody has waited for the run
    vault = context.open_to_write()
    if result is not None:
        ran = vault.run_command(words, result, **asked)
    else:
        with working(f"running {words[0]}"), stdout_for_results():
            ran = vault.run(words[0], **asked)
    tell_left_out(ran.left_out)
    if metrics_file:
        write_file(metrics_file, metrics_json(ran.run.metrics))
    if report_file:
        write_file(report_file, ran.run.report())
    show_saved(ran, form, None if ran.computed else "already there, from equal code: not run again")


@click.command()
@click.argument("entry")
@click.option("--grid", multiple=True, required=True, metavar="K=SPEC", help="Values: 10,20,30 or start:stop:step")
@click.option("--random", type=click.IntRange(1), metavar="N", help="Draw N of the combinations, with the seed")
@click.option("--strategy", metavar="S", shell_complete=complete_strategy, help="[default: the function's name]")
@request_options
@series_option
@click.option("--executor", type=click.Choice(["serial", "processes", "dask"]), help="[default: processes]")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="[default: one a processor]")
@click.option("--dask", metavar="ADDRESS", help="The scheduler of a Dask cluster to compute on")
@click.option("--vectorized", is_flag=True, help="The function takes arrays and returns one column a combination")
@click.option("--force", is_flag=True, help="Run also what equal code has archived already")
@click.option("--require-clean", is_flag=True, help="Refuse code with uncommitted changes")
@click.option("--snapshot-all", is_flag=True, help="Keep all untracked files with the code, not only imported ones")
@output_options
@click.pass_obj
def sweep(context: Context, /, entry: str, grid: tuple[str, ...], form: str, **said: Any) -> int:
    """Call a function for every combination of a grid and archive what it returns, a batch a commit

    ENTRY is as for run. A stop is excluded, as in Python. What equal code has archived already is not computed again,
    so a sweep that was ended goes on when it is started again. Status 1 if a combination raised.
    """
    words = request_words(said)
    values = parse_grid(grid)
    vault = context.open_to_write()
    with counting(f"sweep of {entry}") as progress, stdout_for_results():
        swept = vault.sweep(entry, values, progress=progress, **words)
    tell_left_out(swept.left_out)
    show_swept(swept.to_dict(), form)
    return 1 if swept.failed else 0


@click.command()
@click.argument("ref", metavar="RUN", shell_complete=complete_run)
@click.option("--set", "values", multiple=True, metavar="PATH=VALUE", help="Another value, such as params.fast=20")
@click.option("--start", metavar="T", help="Cut the inputs that are time series here")
@click.option("--end", metavar="T", help="… and here; a day, a month or a year means all of it")
@click.option("--interval", metavar="I", help="Resample them: 1h, 1D, 1W")
@click.option("--cash", type=Finite(min=0), metavar="X", help="The parameter init_cash, else the setting")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1))
@click.option("--data", multiple=True, metavar="NAME=PATH", help="Another file for an input")
@click.option("--at", metavar="COMMIT", help="Run it in the code of another commit")
@click.option(
    "--rtol",
    type=Finite(min=0),
    metavar="X",
    help="Close: the same orders, all values within X relative  [default: 1e-9]",
)
@click.option("--timeout", type=Finite(min=0, min_open=True), metavar="S", help="End it after S seconds")
@click.option("--record", is_flag=True, help="Keep the verdict with the run")
@click.option("--print", "printed", is_flag=True, help="Print the lines that run it by hand in a fresh clone")
@click.option("--trust-code", is_flag=True, help="Run code that is not yours without asking")
@output_options
@click.pass_obj
def replay(context: Context, /, ref: str, form: str, printed: bool, **said: Any) -> int:
    """Run it again in the recorded code and on the recorded data, and judge what comes of it

    Without changes: exact, close (status 0), drift (1) or failed (50). With changes: a new run that names this one.
    """
    if printed:
        _refuse_beside_print(click.get_current_context())
        script = context.open().replay_lines(ref)
        if form == "json":
            echo_json({"lines": script.splitlines()})
        else:
            click.echo(script)
        return 0
    said["set"], said["data"] = parse_pairs(said.pop("values"), "--set"), parse_data(said["data"])
    vault = context.open_to_write()
    with working(f"replaying {ref}") as stop_showing:
        done = vault.replay(ref, ask=_asker(stop_showing), **said)
    document = done.to_dict()
    if form == "json":
        echo_json(document)
    elif form == "csv":
        made = None if done.run is None else done.run.id
        echo_csv([["run", "verdict", "reason", "new"], [done.of, done.verdict, "; ".join(done.reason), made]])
    else:
        from runvault.views.replays import replay_text
        from runvault.views.text import runs_table

        click.echo(replay_text(document, STYLES[form]))
        if done.run is not None:
            click.echo(runs_table([done.run.to_dict()], style=STYLES[form]))
    return STATUS[done.verdict]


@click.command()
@click.option("--tag", default="golden", show_default=True, metavar="T", shell_complete=complete_tag)
@click.option("--timeout", type=Finite(min=0, min_open=True), metavar="S", help="End a replay after S seconds")
@click.option("--record", is_flag=True, help="Keep each verdict with its run")
@click.option("--trust-code", is_flag=True, help="Run code that is not yours without asking")
@output_options
@click.pass_obj
def check(context: Context, /, tag: str, form: str, **said: Any) -> int:
    """Replay all runs with a tag; status 1 if one of them drifts or fails"""
    words = {name: value for name, value in said.items() if value}
    with working(f"replaying the runs tagged {tag}"):
        done = context.open_to_write().check(tag, **words)
    documents = [each.to_dict() for each in done]
    if form == "json":
        echo_json({"replays": documents})
    elif form == "csv":
        rows = [[each["of"], each["verdict"], "; ".join(each["reason"])] for each in documents]
        echo_csv([["run", "verdict", "reason"], *rows])
    else:
        from runvault.views.replays import replays_table

        click.echo(replays_table(documents, STYLES[form]))
    if not done:
        notice(f"no run has the tag {tag!r}")
    return 0 if all(each.ok for each in done) else 1


def _refuse_beside_print(here: click.Context) -> None:
    """Refuse what would change a replay: the lines are those of the run as it is archived."""
    for option in here.command.params:
        said = here.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if said and option.name not in ("ref", "printed", "form", "trust_code"):
            raise click.UsageError(f"--print shows the lines of the run as it is archived, without {option.opts[0]}")


def tell_left_out(paths: Sequence[str]) -> None:
    """Say in one line which files the snapshot of the code does not hold."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    if paths:
        notice(f"not in the snapshot of the code: {', '.join(paths[:NAMED])}{more}")


def metrics_json(metrics: Any) -> str:
    """Return metrics as ``dvc metrics show`` reads them, the same bytes for the same numbers."""
    import json

    return json.dumps(dict(metrics), indent=2, sort_keys=True) + "\n"


def refuse_no_file(name: str) -> None:
    """Raise a usage error where no file can be written: a folder has the name, or a file that of a folder above it."""
    from pathlib import Path

    path, problem = Path(name), ""
    try:
        above = next((folder for folder in path.parents if folder.exists()), Path())
        problem = "it is a folder" if path.is_dir() else "" if above.is_dir() else f"{str(above)!r} is no folder"
    except OSError as error:
        problem = str(error.strerror or error)
    if problem:
        raise click.UsageError(f"{name!r} cannot be written: {problem}")


def write_file(name: str, text: str) -> None:
    """Write a file that a command was asked for, with the folders above it."""
    from pathlib import Path

    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        problem = f"the run is archived, but {name!r} cannot be written: {error.strerror or error}"
        raise RunvaultError(problem, hint="make room there, or name another file") from error


@click.command()
@filter_options
@output_options
@click.pass_obj
def stale(context: Context, /, form: str, **filters: Any) -> None:
    """List runs whose code or data differ from what the working tree has now

    Nothing is run. Code: the files that the run imported, of a command all that Git tracks but its result; data: its
    input files. Inputs that were passed in memory are not compared, and runs without a recipe are left out.
    """
    vault = context.open()
    for run, problem in vault.damaged():
        notice(f"warning: {run} is not looked at: {problem}")
    found = vault.stale(**filters)
    document = found.to_dict()
    if form == "json":
        echo_json(document)
    elif form == "csv":
        rows = [[each["run"], "; ".join(each["code"]), "; ".join(each["data"])] for each in document["runs"]]
        echo_csv([["run", "code", "data"], *rows])
    elif found.runs:
        from runvault.views.stale import stale_table

        echo_paged(stale_table(document["runs"], STYLES[form]).splitlines())
    if not found.runs:
        notice("no run differs from the working tree")
    if found.without_recipe:
        notice(f"{found.without_recipe} run(s) without a recipe were left out")


@click.command()
@click.argument("ref", metavar="RUN", shell_complete=complete_run)
@click.option("--good", required=True, metavar="COMMIT", help="Here the archived numbers came out")
@click.option("--bad", required=True, metavar="COMMIT", help="Here others do")
@click.option(
    "--metric",
    metavar="M",
    shell_complete=complete_metric,
    help="Bad is where M differs, not where the verdict is drift",
)
@click.option("--tol", type=Finite(min=0), metavar="X", help="With --metric: by more than X  [default: 0]")
@click.option("--timeout", type=Finite(min=0, min_open=True), metavar="S", help="Skip a commit after S seconds")
@click.option("--trust-code", is_flag=True, help="Run code that is not yours without asking")
@output_options
@click.pass_obj
def bisect(context: Context, /, ref: str, form: str, tol: float | None, **said: Any) -> None:
    """Find the first commit of the code at which the replay drifts

    The search is that of git bisect: commits that cannot run are skipped. Each verdict is kept with the run, in the
    ledger that show tells of, so that a search goes on where it stood.
    """
    if tol is not None and said["metric"] is None:
        raise click.UsageError("--tol goes with --metric")
    vault = context.open_to_write()
    with working(f"bisecting {ref}") as stop_showing:
        found = vault.bisect(ref, tol=tol or 0.0, ask=_asker(stop_showing), **said)
    document = found.to_dict()
    if form == "json":
        echo_json(document)
    elif form == "csv":
        echo_csv([["commit", "verdict"], *([each["commit"], each["verdict"]] for each in document["tested"])])
        notice(f"first drift: {found.first_drift}")
    else:
        from runvault.views.replays import bisect_text

        click.echo(bisect_text(document, STYLES[form]))


STATUS = {"exact": 0, "close": 0, "changed": 0, "drift": 1, "failed": 50}


def _asker(stop_showing: Callable[[], None]) -> Callable[[str], bool]:
    """Return what shows code of others and asks whether it may run; without a terminal the answer is no."""

    def ask(shown: str) -> bool:
        if not sys.stdin.isatty():
            return False
        stop_showing()
        notice(shown)
        return click.confirm("This code is not yours. Run it?", err=True)

    return ask


COMMANDS = (run, sweep, replay, check, stale, bisect)
