"""Commands that look after an archive: export, reindex, verify, gc."""

from __future__ import annotations

import click

from runvault.cli.common import (
    STYLES,
    Context,
    Place,
    complete_run,
    echo_csv,
    echo_json,
    notice,
    output_options,
    working,
)


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("folder", type=Place(file_okay=False))
@click.pass_obj
def export(context: Context, /, run: str, folder: str) -> None:
    """Write the files of a run into FOLDER, with the engine's pickle made from its tables where it has none

    Files of these names are replaced, and named where they held something else.
    """
    for path in context.open().export(run, folder, replacing=lambda path: notice(f"replaced: {path}")):
        click.echo(str(path))


@click.command()
@click.pass_obj
def reindex(context: Context, /) -> None:
    """Rebuild the catalog from the archive; it is made and kept up to date by itself"""
    vault = context.open()
    with working("reading the archive"):
        count = vault.reindex()
    notice(f"{count} runs")


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--artifacts", is_flag=True, help="Read every table, too, and compute the results digests from them")
@click.option("--recompute", is_flag=True, help="Compute the statistics from archived prices and orders, and compare")
@click.option("--signatures", is_flag=True, help="Check who signed the commits: allowed signers, or the GPG keyring")
@click.option("--repair", is_flag=True, help="Heal what another copy can heal, and report what is left")
@output_options
@click.pass_obj
def verify(context: Context, /, runs: tuple[str, ...], form: str, **asked: bool) -> int:
    """Check addresses, digests, schema, pointers, objects and Git's own files; changes nothing without --repair

    Exits with 1 where anything is found, even what could be healed; with --repair where anything is left.
    """
    vault = context.open()
    with working("reading the archive and its objects"):
        report = vault.verify(runs, **asked)
    rows = [(finding.run, finding.file, finding.problem, finding.hint) for finding in report.findings]
    headings = ("run", "file", "problem", "hint")
    if form == "json":
        echo_json(report.to_dict())
    elif form == "csv":
        echo_csv([headings, *rows])
    elif rows:
        from runvault.views.inert import inert
        from runvault.views.text import table

        click.echo(table([[inert(cell or "") for cell in row] for row in rows], headings, STYLES[form]))
    for repaired in report.repaired or ():
        notice(f"repaired {repaired}")
    notice(", ".join(f"{count} {name}" for name, count in report.checked.items()) + " checked")
    return 1 if rows else 0


def _history(_ctx: click.Context, _param: click.Parameter, value: str) -> int | None:
    if value == "all":
        return None
    if not (value.isascii() and value.isdigit() and int(value)):
        raise click.BadParameter(f"{value!r} is neither 'all' nor a number from 1")
    return int(value)


@click.command()
@click.option(
    "--keep-history",
    callback=_history,
    default="all",
    show_default=True,
    metavar="N|all",
    help="Revisions of each run to keep",
)
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing")
@output_options
@click.pass_obj
def gc(context: Context, /, keep_history: int | None, dry_run: bool, form: str) -> None:
    """Drop artifacts that nothing kept needs, from the DVC cache and from its second copy

    Kept are all revisions of the runs at the tip of any branch, remote branch or tag, what your own DVC files name,
    and what a save in progress has put. Pointers to input data that no run needs any more leave the archive first.
    """
    vault = context.open()
    with working("reading what is needed"):
        done = vault.gc(keep_history, dry_run=dry_run)
    if form == "json":
        echo_json(done.to_dict())
    elif form == "csv":
        echo_csv([("removed", "of"), *((md5, done.of.get(md5)) for md5 in done.removed)])
    else:
        for md5 in done.removed:
            of = f", {done.of[md5]}" if md5 in done.of else ""
            click.echo(f"{'would drop' if dry_run else 'dropped'} {md5}{of}")
    from runvault.views.text import size_text

    notice(f"{len(done.removed)} objects, {size_text(done.size_bytes)}")
    if vault.stores.objects.shares_cache:
        notice("the DVC cache lies outside this repository and may be shared: nothing was taken from it")


COMMANDS = (export, reindex, verify, gc)
