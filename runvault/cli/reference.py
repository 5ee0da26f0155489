"""The reference of the command line, made of the commands themselves: ``python -m runvault.cli.reference``."""

from __future__ import annotations

import click

from runvault.cli.main import cli

HEAD = """# The command line

Made from the program by `python -m runvault.cli.reference > docs/cli.md`; a test compares the two.

Results go to stdout; progress, notices, errors and what a backtest prints to stderr. An error is one line `error: …`,
and where it helps a line `hint: …`. Every command that reads takes `--format table|json|csv|md`, or `--json` for short.

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | the answer is no: `has`, `diff --exit-code`, a finding in `verify`, drift or a failure in \
`replay` and `check`, a failure in `sweep`, a refused run in `push`, `pull`, `clone`, `merge` and `unbundle` |
| 2 | wrong usage |
| 3 | any other error |
| 10 to 50 | the class of error, as `runvault/errors.py` draws it |
| 130 | interrupted by Ctrl-C |
| 129, 143 | ended by SIGHUP, SIGTERM |
"""


def reference() -> str:
    """Return the whole page."""
    parts = [HEAD, _section("runvault", cli)]
    parts.extend(_section(f"runvault {command.name}", command) for command in every_command())
    return "\n".join(parts)


def every_command() -> list[click.Command]:
    """Return all commands by name."""
    context = click.Context(cli)
    found = (cli.get_command(context, name) for name in cli.list_commands(context))
    return [command for command in found if command is not None]


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    context.help_option_names = ["-h", "--help"]
    return f"## {path}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
