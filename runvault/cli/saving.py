"""Commands that make archives and runs: init, config, save."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import click

from runvault.cli.common import Context, Place, complete_strategy, echo_csv, echo_json, notice, output_options
from runvault.cli.saves import request_options, request_words, show_saved
from runvault.stores.git.secrets import without_secrets

Json: TypeAlias = Any


@click.command()
@click.option(
    "--remote", metavar="URL", help="Where artifacts go: the archive's DVC remote 'storage', for all who have it"
)
@click.pass_obj
def init(context: Context, /, remote: str | None) -> None:
    """Make the archive branch; once is enough, again does no harm

    Where the repository has no DVC, its three files are written (and named, not committed).
    """
    from runvault.api.vault import start_vault
    from runvault.views.inert import inert

    vault, started = start_vault(context.repo, context.branch, remote=remote)
    for path in started.written:
        notice(f"wrote {path}, to be committed with your code")
    if started.copies:
        notice("the DVC cache is on another file system: objects are kept twice, to survive 'dvc gc'")
    state = "made" if started.created else "there already:"
    click.echo(f"{state} archive branch {inert(vault.branch)}")  # git takes what turns the direction of writing


@click.command()
@output_options
@click.pass_obj
def config(context: Context, /, form: str) -> None:
    """Print the settings in force, and what set each"""
    from runvault.api.vault import read_settings

    in_force = read_settings(context.repo, context.branch)
    for problem in in_force.problems():
        notice(f"{problem.message}; {problem.hint}")
    rows = [(setting.name, without_secrets(setting.value), setting.source) for setting in in_force]
    if form == "json":
        echo_json({name: {"value": value, "source": source} for name, value, source in rows})
        return
    if form == "csv":
        echo_csv([("setting", "value", "source"), *rows])
        return
    from runvault.cli.common import STYLES
    from runvault.views.text import table

    click.echo(table(rows, ["setting", "value", "source"], STYLES[form]))


@click.command()
@click.argument("portfolio", type=Place(exists=True, dir_okay=False))
@click.option("--strategy", required=True, metavar="S", shell_complete=complete_strategy, help="Name of the strategy")
@request_options
@output_options
@click.pass_obj
def save(context: Context, /, portfolio: str, form: str, **said: Any) -> None:
    """Archive a vectorbt portfolio from its pickle

    PORTFOLIO is a file made by Portfolio.save. It is unpickled, which runs what it holds: give only files of your own.
    """
    from runvault.engines.vectorbt.pickles import load_pickle

    # What was said is looked at before the engine is imported, which takes seconds.
    words = request_words(said)
    vault = context.open_to_write()
    show_saved(vault.save(load_pickle(Path(portfolio).read_bytes()), **words), form)


COMMANDS = (init, config, save)
