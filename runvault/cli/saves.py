"""What the commands that save have in common: the words they take, and how they show what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import click

from runvault.cli.common import STYLES, Place, complete_tag, echo_csv, echo_json, notice, parse_pairs, read_params

Json: TypeAlias = Any
Command = TypeVar("Command", bound=Callable[..., Any])


def request_options(command: Command) -> Command:
    """Add the options that say what is asked for: parameters, settings, inputs, seed, tags, note."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--param", "params", multiple=True, metavar="K=V", help="A parameter; V is JSON where it parses, else text"
        ),
        click.option(
            "--params", "params_file", type=Place(), metavar="FILE", help="Parameters from a JSON or YAML file"
        ),
        click.option("--setting", "settings", multiple=True, metavar="K=V", help="A setting, such as fees=0.001"),
        click.option(
            "--data",
            multiple=True,
            metavar="[NAME=]PATH",
            help="An input file or folder; NAME is prices where not said",
        ),
        click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True),
        click.option("--tag", "tags", multiple=True, metavar="T", shell_complete=complete_tag),
        click.option("--note", default="", metavar="TEXT"),
        click.option("--no-portfolio", is_flag=True, help="Do not archive the engine's own dump beside the tables"),
        click.option(
            "--allow",
            multiple=True,
            metavar="NAME",
            help="Archive a value whose name looks like a credential; run code in such a file",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def request_words(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `request_options` as the Python API takes them."""
    words = dict(said)
    words["params"] = {**read_params(words.pop("params_file")), **parse_pairs(words["params"], "--param")}
    words["settings"] = parse_pairs(words["settings"], "--setting")
    words["data"] = parse_data(words["data"])
    if "series" in words:
        words["series"] = dict(text.partition("=")[::2] for text in words["series"]) or None
    words["portfolio"] = not words.pop("no_portfolio")
    return words


def series_option(command: Command) -> Command:
    """Add the option that declares time series."""
    text = "This input is a time series, and no undeclared one; COLUMN holds its times, where several do"
    return click.option("--series", multiple=True, metavar="NAME[=COLUMN]", help=text)(command)


def parse_data(given: tuple[str, ...]) -> dict[str, str]:
    """Return ``[NAME=]PATH`` options as a mapping; the name is ``prices`` where none is said."""
    data: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        name, path = (name, path) if equals and name.isidentifier() else ("prices", text)
        if name in data:
            raise click.BadParameter(f"{name!r} is given twice", param_hint="--data")
        if not path:
            raise click.BadParameter(f"the path of {name!r} is empty", param_hint="--data")
        data[name] = path
    return data


def show_saved(saved: Any, form: str, state: str | None = None) -> None:
    """Show what a save gave: warnings and drift on stderr, the run on stdout."""
    from runvault.views.text import COLUMNS, drift_text, field_of, runs_table

    run = saved.run.to_dict()
    for warning in saved.run.warnings:
        notice(f"warning: {warning}")
    if saved.drift:
        notice(drift_text(saved.drift))
    if form == "json":
        echo_json(saved.to_dict())
    elif form == "csv":
        echo_csv([COLUMNS, [field_of(run, column) for column in COLUMNS]])
    else:
        fresh = "revised" if saved.drift else "saved"
        notice(f"{run['short_id']}: {state or (fresh if saved.created else 'already there, with equal results')}")
        click.echo(runs_table([run], style=STYLES[form]))


def show_swept(document: Mapping[str, Json], form: str) -> None:
    """Show what came of a sweep: what failed on stderr, the counts on stdout."""
    import json

    for failure in document["failed"]:
        words = ", ".join(f"{name}={json.dumps(value)}" for name, value in failure["params"].items())
        notice(f"failed: {words}: {failure['error']}")
    counts = {name: document[name] for name in ("total", "archived", "skipped")} | {"failed": len(document["failed"])}
    if form == "json":
        echo_json(document)
    elif form == "csv":
        echo_csv([list(counts), list(counts.values())])
    elif form == "md":
        cells = ([*counts], ["---:"] * len(counts), [str(count) for count in counts.values()])
        click.echo("\n".join(f"| {' | '.join(row)} |" for row in cells))
    else:
        click.echo(f"{counts['total']} combinations: " + ", ".join(f"{counts[n]} {n}" for n in [*counts][1:]))
