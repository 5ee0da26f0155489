"""Commands that look after an archive: export, reindex, verify."""

from __future__ import annotations

import click

from runvault.cli.common import STYLES, Context, complete_run, echo_csv, echo_json, notice, output_options, working


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("folder", type=click.Path(file_okay=False))
@click.pass_obj
def export(context: Context, /, run: str, folder: str) -> None:
    """Write the files of a run into FOLDER, with the engine's pickle made from its tables where it has none"""
    for path in context.open().export(run, folder):
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
@output_options
@click.pass_obj
def verify(context: Context, /, runs: tuple[str, ...], form: str, **asked: bool) -> int:
    """Check addresses, digests, schema, pointers and objects; changes nothing

    Exits with 1 where anything is found.
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
    notice(", ".join(f"{count} {name}" for name, count in report.checked.items()) + " checked")
    return 1 if rows else 0


COMMANDS = (export, reindex, verify)
