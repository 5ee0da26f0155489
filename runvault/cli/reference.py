"""The reference of the command line, made of the commands themselves: ``python -m runvault.cli.reference``."""

from __future__ import annotations

import click

from runvault.cli.main import cli

HEAD = """# The command line

Made from the program by `python -m runvault.cli.reference > docs/cli.md`; a test compares the two.

Results go to stdout; progress, notices and errors to stderr. An error is one line `error: …`, and where it helps a line
`hint: …`. Every command that reads takes `--format table|json|csv|md`, or `--json` for short.

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | the answer is no: `has`, `diff --exit-code`, a finding in `verify`, drift in `replay`, a failure in `sweep` |
| 2 | wrong usage |
| 3 | any other error |
| 10 to 50 | the class of error, as `runvault/errors.py` draws it |
| 130 | interrupted by Ctrl-C |
| 129, 143 | ended by SIGHUP, SIGTERM |
"""


def reference() -> str:
    """Return the whole page."""
    parts = [HEAD, _section("runvault", cli)]
    parts.extend(_section(f"runvault {name}", cli.commands[name]) for name in sorted(cli.commands))
    return "\n".join(parts)


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    context.help_option_names = ["-h", "--help"]
    return f"## {path}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
