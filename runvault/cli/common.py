"""What commands share: the vault, groups of options, output formats, completion."""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from runvault.api.vault import Vault

Json: TypeAlias = Any
Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")

STYLES = {"table": "simple", "md": "github"}
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Context:
    """What was said before the command's name."""

    repo: str
    branch: str | None
    debug: bool = False

    def open(self) -> Vault:
        """Return the vault for a command that only reads."""
        from runvault.api.vault import open_vault

        return open_vault(self.repo, self.branch, read_only=True)

    def find(self) -> Vault:
        """Return the vault for a command that needs no archive branch here."""
        from runvault.api.vault import find_vault

        return find_vault(self.repo, self.branch)

    def open_to_write(self) -> Vault:
        """Return the vault for a command that saves: a dirty checkout of the archive branch is an error now."""
        from runvault.api.vault import open_vault

        vault = open_vault(self.repo, self.branch)
        author = vault.author
        if author.fallback:
            notice(f"git has no user.name and user.email here: commits are by {author.name} <{author.email}>")
        return vault


class Finite(click.FloatRange):
    """A finite number in a range: NaN is in every one of click's, and infinity where there is no upper end."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


class Place(click.Path):
    """A path that is said to be one: empty text would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not value:
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


def output_options(command: Command) -> Command:
    """Add ``--format`` and ``--json``."""
    form = click.Choice(["table", "json", "csv", "md"])
    command = click.option("--json", "form", flag_value="json", help="The same as --format json")(command)
    return click.option("--format", "form", type=form, default="table", show_default=True)(command)


def filter_options(command: Command) -> Command:
    """Add the filters of a listing."""
    options: list[Callable[[Any], Any]] = [
        click.option("--strategy", metavar="S", shell_complete=complete_strategy),
        click.option("--engine", metavar="E"),
        click.option("--symbol", metavar="X", shell_complete=complete_symbol, help="Runs that this asset is part of"),
        click.option(
            "--tag", "tags", metavar="T", multiple=True, shell_complete=complete_tag, help="All of these tags"
        ),
        click.option(
            "--any-tag", "any_tags", metavar="T", multiple=True, shell_complete=complete_tag, help="Any of them"
        ),
        click.option("--where", metavar="EXPR", help="A condition: 'sharpe_ratio > 1 and params.fast < 20'"),
        click.option("--search", metavar="WORDS", help="Runs whose notes have these words"),
        click.option("--since", metavar="T", help="Saved at or after: a date, a time, or an age such as 30d"),
        click.option("--until", metavar="T", help="Saved at or before; a date means all of that day"),
        click.option("--config-hash", metavar="H", help="The config hash, or the beginning of it"),
        click.option("--seed", metavar="N", type=int),
        click.option(
            "--periods-per-year",
            metavar="N",
            type=Finite(min=0, min_open=True),
            help="Show Sharpe ratios with N periods a year, from the moments",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def echo_json(document: Json) -> None:
    """Print one JSON document."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def echo_runs_json(total: int, runs: Iterable[Mapping[str, Json]]) -> None:
    """Print ``{"total", "runs"}``, a run at a time: a listing of any length takes little memory."""
    import orjson

    click.echo(b'{"total": %d, "runs": [' % total, nl=False)
    for place, run in enumerate(runs):
        click.echo((b"\n" if place == 0 else b",\n") + orjson.dumps(run), nl=False)
    click.echo(b"\n]}")


def echo_csv(rows: Iterable[Sequence[Json]]) -> None:
    """Print rows as CSV as they come; a cell that a spreadsheet would take for a formula is quoted as text."""
    waiting = iter(rows)
    while chunk := list(islice(waiting, ROWS_AT_ONCE)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_csv_cell(cell) for cell in row] for row in chunk)
        click.echo(text.getvalue(), nl=False)


def _csv_cell(cell: Json) -> Json:
    import orjson

    from runvault.views.inert import inert

    if cell is None or isinstance(cell, (int, float)):
        return cell
    text = inert(cell) if isinstance(cell, str) else inert(orjson.dumps(cell).decode())
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def echo_paged(lines: Iterable[str]) -> None:
    """Print what may be long: through the pager on a terminal that it does not fit on, plainly elsewhere."""
    waiting = iter(lines)
    if sys.stdout.isatty():
        height = shutil.get_terminal_size().lines
        first = list(islice(waiting, height))
        waiting = chain(first, waiting)
        if len(first) == height:
            click.echo_via_pager(f"{line}\n" for line in waiting)
            return
    while chunk := list(islice(waiting, ROWS_AT_ONCE)):
        click.echo("\n".join(chunk))


@contextmanager
def working(text: str) -> Iterator[Callable[[], None]]:
    """Show on a terminal that something is being done; nothing in a pipe, where it would end up in a file.

    Yields a function that ends the showing, for a question to be asked.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console

    with Console(stderr=True).status(text) as shown:
        yield shown.stop


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show on a terminal how much is done, how fast, and how long it will take; yield what is to be told."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(text, total=None, rate="")
        known: list[int] = []  # what was there at the start is no speed

        def tell(done: int, total: int) -> None:
            known.append(done) if not known else None
            speed = shown.tasks[0].speed
            rate = f"{speed:.1f}/s" if speed else ""
            shown.update(task, completed=done - known[0], total=total - known[0], rate=rate)

        yield tell


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Let what a backtest prints go to stderr meanwhile, as stdout has the outcome of ours.

    What it prints in C, and what the processes print that it starts, goes there by the descriptor: a sweep's workers
    are started meanwhile, too.
    """
    printed = sys.stdout
    if printed is not None:  # None where the program was started without a stdout
        printed.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # either is closed
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if printed is not None:
            printed.flush()  # what was printed by another name of it
        os.dup2(kept, 1)
        os.close(kept)


def notice(text: str) -> None:
    """Say something on stderr that is not the result."""
    from runvault.views.inert import inert

    for line in text.splitlines():
        click.echo(inert(line), err=True)


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, Json]:
    """Return ``k=v`` options as a mapping; a value is JSON where it parses, else text.

    Raises
    ------
    click.BadParameter
        As `named_values`, and for a value that is ``nan`` or ``inf`` without quotes.
    """
    return named_values(pairs, option, "value", parse_value)


def named_values(pairs: Sequence[str], option: str, form: str, parse: Callable[[str, str], T]) -> dict[str, T]:
    """Return ``name=form`` options as a mapping; `parse` gets a value's text and what to call it in an error.

    Raises
    ------
    click.BadParameter
        There is no ``=``, or a name is given twice.
    """
    values: dict[str, T] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not of the form name={form}", param_hint=option)
        if name in values:
            raise click.BadParameter(f"{name!r} is given twice", param_hint=option)
        values[name] = parse(text, f"{option} {name}")
    return values


NOT_NUMBERS = {"nan", "inf", "infinity"}


def parse_value(text: str, option: str) -> Json:
    """Return a value given as text: JSON where it parses, else the text itself.

    Examples
    --------
    >>> parse_value("10", "--param"), parse_value('"nan"', "--param"), parse_value("ema", "--param")
    (10, 'nan', 'ema')
    """
    if text.strip().lstrip("+-").lower() in NOT_NUMBERS:
        raise click.BadParameter(
            f"{text} is no value that two runs could agree on; quote it to mean the text", param_hint=option
        )
    try:
        return parse_json(text, option)
    except ValueError:
        return text


def parse_json(text: str, option: str) -> Json:
    """Return JSON; ValueError where it is none, and click's own error for a key given twice, NaN and infinities."""
    import json

    refused: list[str] = []  # what is said once it is JSON: a text may begin like this, too

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        values = dict(pairs)
        if len(values) < len(pairs):
            refused.append("a key is given twice in one object")
        return values

    def constant(name: str) -> None:
        refused.append(f"{name} is no value that two runs could agree on")

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
    except RecursionError as error:
        raise click.BadParameter("it is nested too deeply", param_hint=option) from error
    if refused:
        raise click.BadParameter(refused[0], param_hint=option)
    return value


def read_params(path: str | None) -> dict[str, Json]:
    """Return the parameters in a JSON or YAML file."""
    if path is None:
        return {}
    from pathlib import Path

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = Path(path).read_text(encoding="utf-8")
        values = parse_json(text, "--params") if path.endswith(".json") else YAML(typ="safe", pure=True).load(text)
    except (OSError, ValueError, YAMLError) as error:
        raise click.BadParameter(
            f"cannot read {path}: {' '.join(str(error).split())}", param_hint="--params"
        ) from error
    if not isinstance(values, dict):
        raise click.BadParameter(f"{path} holds no mapping of names to values", param_hint="--params")
    return values


def complete_run(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a run by id or alias."""
    return _complete(ctx, lambda vault: vault.complete_runs(incomplete), "")


def complete_strategy(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a strategy."""
    return _complete(ctx, lambda vault: vault.complete_values("strategy"), incomplete)


def complete_tag(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a tag."""
    return _complete(ctx, lambda vault: vault.complete_values("tag"), incomplete)


def complete_symbol(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an asset."""
    return _complete(ctx, lambda vault: vault.complete_values("symbol"), incomplete)


def complete_metric(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a metric."""
    return _complete(ctx, lambda vault: vault.complete_values("metric"), incomplete)


def complete_field(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a field, metric or parameter: the last of several.

    Behind the sign of an order click completes nothing: it takes the word for the beginning of an option.
    """
    before = incomplete[: incomplete.rfind(",") + 1]
    return _complete(ctx, lambda vault: (f"{before}{name}" for name in vault.complete_values("name")), incomplete)


def _complete(ctx: click.Context, find: Callable[[Vault], Iterable[str]], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from runvault.errors import RunvaultError

    root = ctx.find_root().params
    try:
        vault = Context(root.get("repo") or ".", root.get("branch")).open()
        return [CompletionItem(value) for value in find(vault) if value.startswith(incomplete)]
    except RunvaultError:
        return []  # a shell that completes must not print errors
