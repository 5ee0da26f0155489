"""Commands that make archives and runs: init, config, save."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import click

from runvault.cli.common import (
    Context,
    echo_csv,
    echo_json,
    notice,
    output_options,
    parse_pairs,
    read_params,
)

Json: TypeAlias = Any


@click.command()
@click.pass_obj
def init(context: Context, /) -> None:
    """Make the archive branch; once is enough, again does no harm

    Where the repository has no DVC, its three files are written (and named, not committed).
    """
    from runvault.api.vault import start_vault

    vault, started = start_vault(context.repo, context.branch)
    for path in started.written:
        notice(f"wrote {path}, to be committed with your code")
    if started.copies:
        notice("the DVC cache is on another file system: objects are kept twice, to survive 'dvc gc'")
    state = "made" if started.created else "there already:"
    click.echo(f"{state} archive branch {vault.branch}")


@click.command()
@output_options
@click.pass_obj
def config(context: Context, /, form: str) -> None:
    """Print the settings in force, and what set each"""
    from runvault.api.vault import read_settings

    settings = list(read_settings(context.repo, context.branch))
    if form == "json":
        echo_json({setting.name: {"value": setting.value, "source": setting.source} for setting in settings})
        return
    rows = [(setting.name, setting.value, setting.source) for setting in settings]
    if form == "csv":
        echo_csv([("setting", "value", "source"), *rows])
        return
    from runvault.cli.common import STYLES
    from runvault.views.text import table

    click.echo(table(rows, ["setting", "value", "source"], STYLES[form]))


@click.command()
@click.argument("portfolio", type=click.Path(exists=True, dir_okay=False))
@click.option("--strategy", required=True, metavar="S", help="Name of the strategy")
@click.option(
    "--param", "params", multiple=True, metavar="K=V", help="A parameter; V is JSON where it parses, else text"
)
@click.option("--params", "params_file", metavar="FILE", help="Parameters from a JSON or YAML file")
@click.option("--setting", "settings", multiple=True, metavar="K=V", help="A setting, such as fees=0.001")
@click.option(
    "--data", multiple=True, metavar="[NAME=]PATH", help="An input file or folder; NAME is prices where not said"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--tag", "tags", multiple=True, metavar="T")
@click.option("--note", default="", metavar="TEXT")
@click.option("--no-portfolio", is_flag=True, help="Do not archive the engine's own dump beside the tables")
@click.option("--allow", multiple=True, metavar="NAME", help="Archive a value whose name looks like a credential")
@output_options
@click.pass_obj
def save(context: Context, /, portfolio: str, no_portfolio: bool, form: str, **said: Any) -> None:
    """Archive a vectorbt portfolio from its pickle

    PORTFOLIO is a file made by Portfolio.save. It is unpickled, which runs what it holds: give only files of your own.
    """
    from runvault.engines.vectorbt.pickles import load_pickle

    # What was said is looked at before the engine is imported, which takes seconds.
    params = {**read_params(said.pop("params_file")), **parse_pairs(said.pop("params"), "--param")}
    settings = parse_pairs(said.pop("settings"), "--setting")
    data = _data(said.pop("data"))
    vault = context.open_to_write()
    result = load_pickle(Path(portfolio).read_bytes())
    saved = vault.save(result, params=params, settings=settings, data=data, portfolio=not no_portfolio, **said)
    _show(saved, form)


def _data(given: tuple[str, ...]) -> dict[str, str]:
    data: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        name, path = (name, path) if equals and name.isidentifier() else ("prices", text)
        if name in data:
            raise click.BadParameter(f"{name!r} is given twice", param_hint="--data")
        data[name] = path
    return data


def _show(saved: Any, form: str) -> None:
    from runvault.cli.common import STYLES
    from runvault.views.text import COLUMNS, drift_text, field_of, runs_table

    run = saved.run.to_dict()
    for warning in saved.run.manifest["warnings"]:
        notice(f"warning: {warning}")
    if saved.drift:
        notice(drift_text(saved.drift))
    if form == "json":
        echo_json(saved.to_dict())
    elif form == "csv":
        echo_csv([COLUMNS, [field_of(run, column) for column in COLUMNS]])
    else:
        state = "revised" if saved.drift else "saved" if saved.created else "already there, with equal results"
        notice(f"{run['short_id']}: {state}")
        click.echo(runs_table([run], style=STYLES[form]))


COMMANDS = (init, config, save)
