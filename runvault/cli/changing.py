"""Commands that change what is said of runs, and which runs there are: tag, note, alias, rm, restore."""

from __future__ import annotations

import click

from runvault.cli.common import Context, complete_run, complete_tag, echo_csv, echo_json, notice, output_options


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--add", multiple=True, metavar="T", shell_complete=complete_tag)
@click.option("--remove", multiple=True, metavar="T", shell_complete=complete_tag)
@click.pass_obj
def tag(context: Context, /, runs: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Add tags to runs, or remove them"""
    if not add and not remove:
        raise click.UsageError("say --add T or --remove T")
    for run in context.open_to_write().tag(runs, add=add, remove=remove):
        notice(f"{run.short_id}: {', '.join(run.tags) or 'no tags'}")


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("text")
@click.pass_obj
def note(context: Context, /, run: str, text: str) -> None:
    """Add a note to a run"""
    noted = context.open_to_write().note(run, text)
    notice(f"{noted.short_id}: {noted.note}")


@click.command()
@click.argument("name")
@click.argument("run", shell_complete=complete_run)
@click.pass_obj
def alias(context: Context, /, name: str, run: str) -> None:
    """Give a run a name of its own; a name that another run has moves here"""
    named = context.open_to_write().alias(name, run)
    notice(f"{named.short_id}: {named.alias}")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing")
@output_options
@click.pass_obj
def rm(context: Context, /, runs: tuple[str, ...], dry_run: bool, form: str) -> None:
    """Take runs off the tip of the archive

    History and the DVC cache keep them: restore brings them back.
    """
    vault = context.open_to_write()
    removed = [vault.get(run).id for run in runs] if dry_run else vault.remove(runs)
    if form == "json":
        echo_json({"removed": removed, "bytes": 0})
    elif form == "csv":
        echo_csv([("removed",), *((run,) for run in removed)])
    else:
        for run in removed:
            click.echo(f"{'would remove' if dry_run else 'removed'} {run}")


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.pass_obj
def restore(context: Context, /, run: str) -> None:
    """Put a run back from history: its latest revision, or the one that RUN~1 or RUN@COMMIT names"""
    restored, changed = context.open_to_write().put_back(run)
    state = "restored" if changed else "as it was already"
    notice(f"{restored.short_id}: {state}, revision {restored.revision}")


COMMANDS = (tag, note, alias, rm, restore)
