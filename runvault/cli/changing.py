"""Commands that change what is said of runs, and which runs there are: tag, note, alias, rm, prune, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from runvault.cli.common import (
    Context,
    complete_metric,
    complete_run,
    complete_tag,
    echo_csv,
    echo_json,
    notice,
    output_options,
)

if TYPE_CHECKING:
    from runvault.api.vault import Vault


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
    size_bytes = vault.space_of(runs)
    removed = list(dict.fromkeys(vault.get(run).id for run in runs)) if dry_run else vault.remove(runs)
    _show_removed(removed, size_bytes, form, dry_run)


@click.command()
@click.option("--keep-last", type=click.IntRange(min=0), metavar="N", help="Keep the newest N runs of each strategy")
@click.option("--keep-best", type=click.IntRange(min=0), metavar="N", help="Keep the best N runs by --metric")
@click.option("--metric", metavar="M", default="sharpe_ratio", show_default=True, shell_complete=complete_metric)
@click.option(
    "--keep-tag", "keep_tags", metavar="T", multiple=True, shell_complete=complete_tag, help="Keep runs with this tag"
)
@click.option("--older-than", metavar="T", help="Keep runs saved since: a date, a time, or an age such as 90d")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing")
@output_options
@click.pass_obj
def prune(context: Context, /, form: str, dry_run: bool, **policy: Any) -> None:
    """Take runs off the tip of the archive by a policy, each strategy by itself

    What any of the options keeps stays. History keeps the others: restore brings them back, until gc drops their
    artifacts.

    Example: runvault prune --keep-last 100 --keep-best 10 --keep-tag golden --older-than 90d --dry-run
    """
    vault = context.open_to_write()
    done = vault.prune(**policy, dry_run=dry_run)
    if policy["keep_best"] is not None and done.removed:
        _warn_of_mixed(vault, policy["metric"])
    _show_removed(done.removed, done.size_bytes, form, dry_run)


def _warn_of_mixed(vault: Vault, metric: str) -> None:
    """Warn where the runs that were ranked are not measured alike."""
    from runvault.views.definitions import depending, mixed_definitions

    if depending({metric}, None):
        mixed = mixed_definitions(vault.definitions([run.id for run in vault.list()]).values())
        if mixed:
            notice(f"warning: {mixed}")


def _show_removed(removed: Sequence[str], size_bytes: int, form: str, dry_run: bool) -> None:
    from runvault.views.text import size_text

    if form == "json":
        echo_json({"removed": list(removed), "bytes": size_bytes})
    elif form == "csv":
        echo_csv([("removed",), *((run,) for run in removed)])
    else:
        for run in removed:
            click.echo(f"{'would remove' if dry_run else 'removed'} {run}")
    if not removed:
        notice("no run to remove")
    elif size_bytes:
        notice(f"'runvault gc' can then free {size_text(size_bytes)} of artifacts that no other run at the tip needs")


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.pass_obj
def restore(context: Context, /, run: str) -> None:
    """Put a run back from history: its latest revision, or the one that RUN~1 or RUN@COMMIT names

    Of a run that is damaged at the tip, its files or its annotations, the latest state that is whole.
    """
    restored, changed = context.open_to_write().put_back(run)
    state = "restored" if changed else "as it was already"
    notice(f"{restored.short_id}: {state}, revision {restored.revision}")


COMMANDS = (tag, note, alias, rm, prune, restore)
