"""Commands between archives: push, pull, merge, clone, remote, bundle, unbundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from runvault.cli.common import (
    STYLES,
    Context,
    Place,
    counting,
    echo_csv,
    echo_json,
    filter_options,
    notice,
    output_options,
    working,
)
from runvault.model.ids import RunId

if TYPE_CHECKING:
    from runvault.api.sharing import Shared

Json: TypeAlias = Any
Command = TypeVar("Command", bound=Callable[..., Any])
NAMED = 5  # input data, removed runs and objects that are named one by one


def _object_options(command: Command) -> Command:
    """Add ``--no-artifacts`` and ``--no-data``."""
    command = click.option("--no-data", is_flag=True, help="Leave input data where it is")(command)
    return click.option("--no-artifacts", is_flag=True, help="Leave the artifacts of runs where they are")(command)


@click.command()
@click.argument("remote", required=False)
@_object_options
@click.option("--all", "again", is_flag=True, help="Send what the DVC remote got before and lost, too")
@output_options
@click.pass_obj
def push(context: Context, /, remote: str | None, no_artifacts: bool, no_data: bool, again: bool, form: str) -> int:
    """Send runs, annotations and code to a Git remote, and objects to the default DVC remote

    What the remote has and is not here is merged first. New input data is named before it is sent.
    """
    vault = context.open_to_write()
    with counting("sending objects") as tell:
        shared = vault.push(
            remote, artifacts=not no_artifacts, data=not no_data, again=again, tell=tell, announce=_announce
        )
    return _show(shared, form, "sent", chosen=no_artifacts or no_data)


def _announce(inputs: Mapping[str, int], where: str) -> None:
    named = {path.removesuffix(".dvc"): size for path, size in inputs.items()}
    lines = [f"input data {path} ({size:,} bytes) goes to {where}" for path, size in named.items()]
    _name_some(lines, f"{sum(inputs.values()):,} bytes of input data in all")


def _name_some(lines: Sequence[str], in_all: str) -> None:
    """Tell the first few lines, and what they all come to."""
    for line in lines[:NAMED]:
        notice(line)
    if len(lines) > NAMED:
        notice(f"and {len(lines) - NAMED} more, {in_all}")


@click.command()
@click.argument("remote", required=False)
@_object_options
@click.option("--all", "again", is_flag=True, help="Fetch what the DVC remote did not have before, too")
@output_options
@click.pass_obj
def pull(context: Context, /, remote: str | None, no_artifacts: bool, no_data: bool, again: bool, form: str) -> int:
    """Bring what a Git remote has, and objects from the default DVC remote

    Makes the archive branch where there is none. Every run is looked at before it is let in; exits with 1 where one is
    refused.
    """
    from runvault.api.vault import find_vault

    vault = find_vault(context.repo, context.branch)
    with counting("fetching objects") as tell:
        shared = vault.pull(remote, artifacts=not no_artifacts, data=not no_data, again=again, tell=tell)
    return _show(shared, form, "fetched", chosen=no_artifacts or no_data)


@click.command()
@click.argument("url")
@click.argument("folder", metavar="DIR", type=Place(file_okay=False))
@_object_options
@output_options
@click.pass_obj
def clone(context: Context, /, url: str, folder: str, no_artifacts: bool, no_data: bool, form: str) -> int:
    """Clone a repository with its archive"""
    from runvault.api.sharing import clone as clone_vault

    with working("cloning"):
        _, shared = clone_vault(url, folder, context.branch, artifacts=not no_artifacts, data=not no_data)
    return _show(shared, form, "fetched", chosen=no_artifacts or no_data)


@click.command()
@click.argument("ref")
@output_options
@click.pass_obj
def merge(context: Context, /, ref: str, form: str) -> int:
    """Bring in the archive at REF, a branch or a commit of this repository

    There are no conflicts: see 'Merging' in docs/format.md. Exits with 1 where a run is refused.
    """
    return _show(context.open_to_write().merge(ref), form, "taken")


@click.command()
@click.argument("file", type=Place(dir_okay=False))
@filter_options
@output_options
@click.pass_obj
def bundle(context: Context, /, file: str, form: str, **filters: Any) -> None:
    """Write runs, artifacts and code into one file, for a machine without a network

    All runs with their history, or those that the filters choose, as they are now.
    """
    chosen = {name: value for name, value in filters.items() if value and name != "periods_per_year"}
    with working("writing the bundle"):
        done = context.open().bundle(file, **chosen)
    if form == "json":
        echo_json(done.to_dict())
    else:
        from runvault.views.inert import inert

        click.echo(f"{done.runs} runs and {done.objects} objects, {done.bytes:,} bytes, in {inert(file)}")
    if done.missing:
        fetch = "'runvault pull --all' fetches those that the DVC remote has"
        notice(f"{len(done.missing)} objects are not here and not in the bundle; {fetch}")


@click.command()
@click.argument("file", type=Place(exists=True, dir_okay=False))
@output_options
@click.pass_obj
def unbundle(context: Context, /, file: str, form: str) -> int:
    """Take runs, artifacts and code out of a bundle, looked at as what is pulled is"""
    from runvault.api.vault import find_vault

    with working("reading the bundle"):
        shared = find_vault(context.repo, context.branch).unbundle(file)
    return _show(shared, form, "taken")


@click.group()
def remote() -> None:
    """Name DVC remotes in the archive, to all who have it"""


@remote.command("add")
@click.argument("name")
@click.argument("url")
@click.pass_obj
def remote_add(context: Context, /, name: str, url: str) -> None:
    """Name a DVC remote in the archive; the first is the default

    An address that NAME has already is replaced. A URL with a password or a token is refused: it would be on the
    branch, in clear.
    """
    named = context.open_to_write().add_remote(name, url)
    replaced = f" in place of {named.before}" if named.before else ""
    notice(f"the archive names {name}: {named.url}{replaced}")


@remote.command("remove")
@click.argument("name")
@click.pass_obj
def remote_remove(context: Context, /, name: str) -> None:
    """Take a DVC remote out of the archive; what it holds stays there"""
    context.open_to_write().remove_remote(name)
    notice(f"the archive no longer names {name}")


@remote.command("list")
@output_options
@click.pass_obj
def remote_list(context: Context, /, form: str) -> None:
    """List the Git remotes, and the DVC remotes that the checkout and the archive name"""
    found = context.open().remotes()
    headings = ("name", "url", "kind", "default")
    rows = [(each.name, each.url, each.kind, each.default) for each in found]
    if form == "json":
        echo_json({"remotes": [dict(zip(headings, row, strict=True)) for row in rows]})
    elif form == "csv":
        echo_csv([headings, *rows])
    elif rows:
        from runvault.views.inert import inert
        from runvault.views.text import table

        cells = [[inert(name), inert(url), kind, "yes" if default else ""] for name, url, kind, default in rows]
        click.echo(table(cells, headings, STYLES[form]))


def _show(shared: Shared, form: str, verb: str, *, chosen: bool = False) -> int:
    """Print what became of a push, a pull or a merge; return 1 where something was refused.

    `chosen` says that somebody asked for objects to stay where they are.
    """
    document = shared.to_dict()
    if form == "json":
        echo_json(document)
    elif form == "csv":
        names = [name for name, value in document.items() if isinstance(value, int)]
        echo_csv([names, [document[name] for name in names]])
    else:
        click.echo(
            f"{shared.runs_added} runs and {shared.revisions_added} revisions added, {shared.removed} runs removed; "
            f"{shared.artifacts} objects {verb}, {shared.bytes:,} bytes"
        )
    for run in shared.drift:
        # Not RUN~1: at the tip may be an earlier revision, put back, or ours
        short = RunId.parse(run).short
        sides = [*(f"{short}@{commit[:10]}" for commit in shared.between[run]), short][:2]
        notice(f"drift: {run} has other results now; 'runvault diff {' '.join(sides)}' shows which")
    for each in shared.refused:
        notice(f"refused: {each['run']}: {each['problem']}")
    for each in shared.unread:
        notice(f"kept unread: {each['run']}: {each['problem']}; pip install --upgrade runvault")
    _name_some([f"removed: {run}" for run in shared.removed_runs], f"{shared.removed} runs removed in all")
    failed = shared.failed or {}
    lines = [f"object {name} was not moved: {problem}" for name, problem in failed.items()]
    _name_some(lines, f"{len(failed)} objects that were not moved in all")
    if shared.withheld:
        why = "" if chosen else ": there is no default DVC remote; 'runvault remote add NAME URL' names one to all"
        size = sum(shared.withheld.values())
        notice(f"{len(shared.withheld)} objects, {size:,} bytes, stayed where they are{why}")
    return 1 if shared.refused else 0


COMMANDS = (push, pull, clone, merge, remote, bundle, unbundle)
