"""The program: one group of commands, and the place where errors become a line, a hint and an exit status."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from runvault import __version__
from runvault.cli.common import Context
from runvault.errors import ConfigError, FormatError, IntegrityError, RunvaultError
from runvault.execution.own_process import end_quickly
from runvault.stores.git.secrets import without_secrets
from runvault.views.inert import inert

INTERRUPTED = 130
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
GENERAL_HINTS = {
    ConfigError: "nothing was written; give another value, or see '{command} --help'",
    FormatError: "run 'runvault verify' to see what else cannot be read",
    IntegrityError: "run 'runvault verify' to see what else is damaged",
}

MODULES = {
    "saving": ("init", "config", "save"),
    "running": ("run", "sweep", "replay", "check", "stale", "bisect"),
    "reading": ("list", "show", "has", "diff", "compare", "best", "similar", "log"),
    "changing": ("tag", "note", "alias", "rm", "prune", "restore"),
    "sharing": ("push", "pull", "clone", "merge", "remote", "bundle", "unbundle"),
    "reviewing": ("review",),
    "keeping": ("export", "reindex", "verify", "gc"),
}
"""By module of this package, the names of the commands in it."""


class Commands(click.Group):
    """Imports the module of a command when that is asked for: all of them take longer than looking up a run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - a method of click's
        """Return the names of all commands."""
        return sorted(name for names in MODULES.values() for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Return a command by its name, None where there is none."""
        for module, names in MODULES.items():
            if cmd_name in names:
                commands: tuple[click.Command, ...] = import_module(f"runvault.cli.{module}").COMMANDS
                return next(command for command in commands if command.name == cmd_name)
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error that says nothing better gets the hint of its class."""
        try:
            return super().invoke(ctx)
        except RunvaultError as error:
            error.hint = error.hint or _general_hint(error, f"{ctx.command_path} {ctx.invoked_subcommand}")
            raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="runvault")
@click.option("--repo", metavar="DIR", default=".", help="The repository, or a folder in it [default: here]")
@click.option("--branch", metavar="NAME", help="The archive branch [default: git config runvault.branch, or runvault]")
@click.option("--debug", is_flag=True, help="Show the traceback of an error")
@click.pass_context
def cli(ctx: click.Context, repo: str, branch: str | None, debug: bool) -> None:
    """Keep backtest runs on a Git branch: saved, found, compared and shared.

    A run is referred to by its id, a unique prefix of at least 4 digits, an alias, or latest, latest-1, …
    """
    ctx.obj = Context(repo, branch, debug)


class Ended(KeyboardInterrupt):
    """The system ends us: cleaned up after as Ctrl-C is, and told apart by the exit status."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def main(args: list[str] | None = None) -> None:
    """Run the program and exit with its status."""
    _open_standard_streams()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _end)
    end_quickly()
    sys.exit(run(args))


def _open_standard_streams() -> None:
    """Let a standard stream that was closed (``2>&-``) lead nowhere, and take what its encoding has no sign for.

    Of a closed one Python has None, and the next file that is opened gets its number: a repository's lock, say, which
    the programs that we start would write their errors into.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers: a file gets the lowest that is free
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - open to the end
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as Python has it for stderr: half a table is of no use


def _end(number: int, _frame: Any) -> None:
    raise Ended(number)


def run(args: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if args is None else args
    try:
        status: Any = cli.main(args=argv, prog_name="runvault", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return _fail(error.format_message(), _usage_hint(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        cause = stop if isinstance(stop, Ended) else stop.__cause__  # click makes an Abort of it
        return _fail("interrupted", None, cause.status if isinstance(cause, Ended) else INTERRUPTED)
    except BrokenPipeError:
        return _pipe_closed()
    except RunvaultError as error:
        _trace(argv)
        return _fail(str(error), error.hint, error.exit_code)
    except Exception as error:
        _trace(argv)
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return _fail(error.strerror or str(error), "free some space and do it again", 3)
        return _fail(
            f"{type(error).__name__}: {error}", "run it again as 'runvault --debug …' to see where; please report it", 3
        )
    return status if isinstance(status, int) else 0


def _trace(argv: list[str]) -> None:
    if "--debug" in argv:
        traceback.print_exc()


def _general_hint(error: RunvaultError, command: str) -> str | None:
    """Return what to do about a class of errors, where an error itself says nothing better."""
    hint = next((hint for kind, hint in GENERAL_HINTS.items() if isinstance(error, kind)), None)
    return hint and hint.format(command=command)


def _usage_hint(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    if context is None:
        return None
    if isinstance(error, click.NoSuchOption) and any(error.option_name in option.opts for option in cli.params):
        return (
            f"it goes before the command: {context.find_root().info_name} {error.option_name} … {context.info_name} …"
        )
    return f"run '{context.command_path} --help'"


def _fail(message: str, hint: str | None, status: int) -> int:
    click.echo(f"error: {inert(without_secrets(' '.join(message.split())).removesuffix('.'))}", err=True)
    if hint:
        click.echo(f"hint: {inert(' '.join(hint.split()))}", err=True)
    return status


def _pipe_closed() -> int:
    """Say nothing where the reader has gone (``runvault list | head``), as other programs do."""
    sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115, PTH123 - flushed at exit, by the interpreter
    return 141


if __name__ == "__main__":
    main()
