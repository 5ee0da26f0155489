"""Commands that look at what others would bring: review."""

from __future__ import annotations

import click

from runvault.cli.common import Context, complete_metric, echo_json, working


@click.command()
@click.argument("span", metavar="[BASE..HEAD]", default="..")
@click.option("--metric", metavar="M", default="sharpe_ratio", show_default=True, shell_complete=complete_metric)
@click.option("-n", "count", type=click.IntRange(min=0), metavar="N", default=10, show_default=True)
@click.option("--format", "form", type=click.Choice(["md", "html", "json"]), default="md", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json")
@click.pass_obj
def review(context: Context, /, span: str, metric: str, count: int, form: str) -> None:
    """Show what HEAD adds to BASE: new runs, drift, the leaderboard, what to look at twice

    BASE and HEAD are archive commits or refs, such as origin/runvault..runvault; a side that is left out is the
    remote branch, as it was last fetched, or the archive branch. What was added is told from where the two parted.
    Markdown is fit for a comment on a pull request; HTML is one file with charts. Nothing is unpickled, imported
    or written.
    """
    vault = context.find()
    with working("reading both sides"):
        found = vault.review(span, metric=metric, n=count)
        shown = found.html() if form == "html" else found.markdown() if form == "md" else ""
    if form == "json":
        return echo_json(found.to_dict())
    return click.echo(shown, nl=False)


COMMANDS = (review,)
