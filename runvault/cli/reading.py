"""Commands that read: list, show, has, diff, compare, best, similar, log."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from runvault.cli.common import (
    STYLES,
    Context,
    Finite,
    complete_field,
    complete_metric,
    complete_run,
    echo_csv,
    echo_json,
    echo_paged,
    echo_runs_json,
    filter_options,
    notice,
    output_options,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from runvault.api.vault import Vault
    from runvault.model.query import Selection

Json: TypeAlias = Any


@click.command(name="list")
@filter_options
@click.option(
    "--sort",
    metavar="[-]FIELD",
    shell_complete=complete_field,
    help="A field, metric or parameter; - for descending [default: -created_at]",
)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N runs")
@click.option("--offset", type=click.IntRange(min=0), metavar="N", default=0, help="Leave out the first N")
@click.option("--columns", metavar="A,B", shell_complete=complete_field, help="Which columns the table has")
@click.option("--count", is_flag=True, help="Print how many runs there are, and nothing else")
@output_options
@click.pass_obj
def list_runs(
    context: Context, /, form: str, columns: str | None, count: bool, sort: str | None, **filters: Any
) -> None:
    """List runs, newest first

    Example: runvault list --where 'sharpe_ratio > 1 and params.fast < 20' --sort -total_return --limit 20
    """
    vault = context.open()
    selection = vault.selection(**filters, sort="-created_at" if sort is None else sort)
    if count:
        total = vault.count(selection)
        return echo_json({"total": total}) if form == "json" else click.echo(total)
    _show_runs(vault, selection, form, _columns(vault, columns))
    return None


def _show_runs(vault: Vault, selection: Selection, form: str, names: Sequence[str]) -> None:
    for run, problem in vault.damaged():
        notice(f"warning: {run} is not listed: {problem}")
    if form == "json":
        echo_runs_json(vault.count(selection), vault.iter_members(selection))
        return
    shown: list[str] = []
    _show_rows(_noting(vault.iter_members(selection), shown), form, names)
    if not shown:
        notice("no runs")
    _warn_of_mixed(vault, shown, {*names, selection.sort.removeprefix("-")}, selection.periods_per_year)


def _columns(vault: Vault, text: str | None) -> Sequence[str]:
    """Return the columns that a listing has; a name that no run has is an error that suggests near ones.

    A heading of the table names its column, too: it is what one sees.
    """
    from runvault.views.text import COLUMNS, HEADINGS

    if text is None:
        return COLUMNS
    fields = {heading: field for field, heading in HEADINGS.items()}
    names = [fields.get(name, name) for name in text.split(",")]
    vault.check_columns(names)
    return names


def _noting(rows: Iterable[Mapping[str, Json]], ids: list[str]) -> Iterator[Mapping[str, Json]]:
    """Yield runs, and note their ids: of a long listing nothing more is kept."""
    for run in rows:
        ids.append(run["id"])
        yield run


def _warn_of_mixed(vault: Vault, runs: Sequence[str], shown: Collection[str], periods_per_year: float | None) -> None:
    """Warn where metrics that are `shown` depend on definitions that the runs do not share."""
    from runvault.views.definitions import depending, mixed_definitions

    if depending(shown, periods_per_year):
        mixed = mixed_definitions(vault.definitions(runs).values())
        if mixed:
            notice(f"warning: {mixed}")


def _show_rows(rows: Iterable[Mapping[str, Json]], form: str, names: Sequence[str] | None = None) -> None:
    from runvault.views.text import COLUMNS, LONGEST_CELL, field_of, runs_grid

    names = names or COLUMNS
    if form == "csv":
        echo_csv(chain([names], ([field_of(run, name) for name in names] for run in rows)))
        return
    # Cells are cut to fit a screen; a program at the other end of a pipe gets all of them.
    grid = runs_grid(rows, names, STYLES[form], LONGEST_CELL if sys.stdout.isatty() else None)
    if len(grid):
        echo_paged(grid.lines())


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--config", "config_only", is_flag=True, help="The config alone, as the address was computed from it")
@click.option("--yaml", "as_yaml", is_flag=True, help="With --config: as YAML")
@click.option(
    "--file", "name", metavar="NAME", help="Write one file of the run to stdout: manifest.json, stats.parquet, …"
)
@output_options
@click.pass_obj
def show(context: Context, /, run: str, config_only: bool, as_yaml: bool, name: str | None, form: str) -> None:
    """Show one run, whole"""
    if as_yaml and not config_only:
        raise click.UsageError("--yaml goes with --config")
    found = context.open().get(run)
    if name is not None:
        click.echo(found.file(name), nl=False)
    elif config_only:
        _show_config(found.manifest["config"], as_yaml)
    elif form == "json":
        echo_json(found.to_dict())
    elif form == "csv":
        _show_rows([found.to_dict()], form)
    elif form == "md":
        from runvault.views.text import run_markdown

        click.echo(run_markdown(found.to_dict(), found.environment))
    else:
        from runvault.views.replays import ledger_text
        from runvault.views.text import run_text

        document = found.to_dict()
        shown = run_text(document, found.environment, found.warnings)
        ledger = ledger_text(found.replays, document["code"]["commit"])
        echo_paged(f"{shown}\n\n{ledger}".rstrip().splitlines())


def _show_config(config: Mapping[str, Json], as_yaml: bool) -> None:
    if not as_yaml:
        echo_json(config)
        return
    import io

    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(dict(config), text)
    click.echo(text.getvalue(), nl=False)


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, too")
@click.pass_obj
def has(context: Context, /, run: str, as_json: bool) -> int:
    """Answer by exit status whether a run is there: 0 yes, 1 no"""
    found = context.open().has(run)
    if as_json:
        echo_json({"has": found})
    return 0 if found else 1


@click.command()
@click.argument("a", shell_complete=complete_run)
@click.argument("b", shell_complete=complete_run)
@click.option("--exit-code", is_flag=True, help="Exit with 1 where config, metrics or trades differ")
@click.option("--trades", is_flag=True, help="Show each trade that differs")
@output_options
@click.pass_obj
def diff(context: Context, /, a: str, b: str, exit_code: bool, trades: bool, form: str) -> int:
    """Show what differs between two runs: config, metrics, trades, equity, code, environment"""
    found = context.open().diff(a, b)
    rows = found.trade_rows() if trades else []
    if form == "json":
        echo_json({**found.to_dict(), **({"trade_rows": rows} if trades else {})})
    elif form == "csv":
        echo_csv([("group", "path", "a", "b"), *found.flat_rows()])
    else:
        from runvault.views.text import diff_text

        echo_paged(diff_text(found.to_dict(), rows, STYLES[form]).splitlines())
    if found.definitions:
        notice("warning: the metrics of the two runs are not defined alike: their differences mean little")
    return 1 if exit_code and found.differs else 0


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--all", "everything", is_flag=True, help="All fields, those that differ first")
@filter_options
@output_options
@click.pass_obj
def compare(context: Context, /, runs: tuple[str, ...], everything: bool, form: str, **filters: Any) -> None:
    """Compare runs side by side, a run a column: the fields that differ

    Runs are named, chosen by the filters of list, or both.
    """
    vault = context.open()
    filtered = any(value for name, value in filters.items() if name != "periods_per_year")
    if not runs and not filtered:
        raise click.UsageError("name the runs to compare, or choose them by a filter such as --where")
    named = [vault.get(run) for run in runs]
    chosen = [*named, *(run for run in (vault.list(**filters) if filtered else ()) if run not in named)]
    if len(chosen) < 2:
        notice("no runs" if not chosen else f"only {chosen[0].short_id}: nothing to compare it with")
    found = vault.compare(chosen, everything=everything)
    periods = vault.settings.periods_per_year
    _warn_of_mixed(
        vault, [run.id for run in chosen], {name.removeprefix("metrics.") for name, _ in found.rows}, periods
    )
    if form == "json":
        echo_json(found.to_dict())
    elif form == "csv":
        echo_csv(
            [("field", *(run["short_id"] for run in found.runs)), *((field, *values) for field, values in found.rows)]
        )
    else:
        from runvault.views.text import comparison_text

        if len(chosen) > 1 or found.rows:
            echo_paged(comparison_text(found.to_dict(), STYLES[form]).splitlines())


@click.command()
@click.option("--metric", metavar="M", default="sharpe_ratio", show_default=True, shell_complete=complete_metric)
@click.option("-n", "count", type=click.IntRange(min=0), metavar="N", default=10, show_default=True)
@filter_options
@output_options
@click.pass_obj
def best(context: Context, /, metric: str, count: int, form: str, **filters: Any) -> None:
    """Show the leaderboard: the best runs by a metric, undefined last"""
    from runvault.model.metrics import sort_order
    from runvault.views.text import COLUMNS

    vault = context.open()
    selection = vault.selection(**filters, sort=sort_order(metric), limit=count)
    columns = COLUMNS if metric in COLUMNS else (*COLUMNS[:4], metric, *COLUMNS[4:])
    _show_runs(vault, selection, form, columns)


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option(
    "--tolerance", type=Finite(min=0), default=0.1, show_default=True, help="|a-b| <= tolerance * max(|a|,|b|)"
)
@output_options
@click.pass_obj
def similar(context: Context, /, run: str, tolerance: float, form: str) -> None:
    """List runs of the same strategy whose numeric parameters are near those of RUN"""
    found = context.open().similar(run, tolerance)
    rows = [each.to_dict() for each in found]
    if form == "json":
        echo_runs_json(len(rows), rows)
        return
    _show_rows(rows, form)
    if not rows:
        notice("no runs")


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N commits, or revisions: the newest")
@output_options
@click.pass_obj
def log(context: Context, /, run: str | None, limit: int | None, form: str) -> None:
    """Show the archive's history, or the revisions of one run"""
    vault = context.open()
    if run is not None:
        return _show_revisions(vault, run, form, limit)
    commits = vault.log(limit, runs=form == "json")
    if form == "json":
        return echo_json({"commits": commits})
    if form == "csv":
        names = ("commit", "kind", "subject", "author", "time")
        return echo_csv([names, *([commit[name] for name in names] for commit in commits)])
    from runvault.views.text import log_text

    return echo_paged(log_text(commits, STYLES[form]).splitlines())


def _show_revisions(vault: Vault, run: str, form: str, limit: int | None) -> None:
    revisions = [each.to_dict() for each in vault.history(run)]
    if limit is not None:
        revisions = revisions[max(len(revisions) - limit, 0) :]
    if form == "json":
        echo_json({"run": vault.locate(run), "revisions": revisions})
        return
    from runvault.views.text import COLUMNS

    _show_rows(revisions, form, ("revision", "commit", *COLUMNS[4:]))


COMMANDS = (list_runs, show, has, diff, compare, best, similar, log)
