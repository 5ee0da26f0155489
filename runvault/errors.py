"""Every error a user can meet, with its exit status.

::

    RunvaultError                 3   base of all; unforeseen errors exit with 3 too
    ├── VaultNotFoundError       10   no archive here or above
    ├── RunNotFoundError         11   a LookupError too
    ├── AmbiguousRunError        12   a LookupError too; lists the candidates
    ├── ConfigError              13   a ValueError too; names the path of the value
    ├── BranchMovedError         14   still behind after all retries
    ├── FormatError              20   a record cannot be read
    │   └── SchemaTooNewError    21   made by a newer runvault
    ├── IntegrityError           30   content does not match its hash; nothing is deleted
    ├── ArtifactMissingError     31   recorded, but not in the DVC cache
    ├── UntrustedPickleError     32   a pickle would have to be read
    ├── BusyError                33   another process holds the archive; names it
    ├── MetricInputError         40   a ValueError too
    └── ReplayError              50   a recipe could not be run; the hint says which part is missing

Exit statuses 0, 1 (the answer is no), 2 (wrong usage) and 130 (Ctrl-C) are not errors.
A message is one line without a full stop at its end; a hint, where there is one, says what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class RunvaultError(Exception):
    """Something that a person can act on: one line of message, and a hint where there is one.

    Parameters
    ----------
    message : str
        What went wrong, and with which object; one line.
    hint : str or None
        What to do next, as a command where there is one.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)  # both, so that the error survives a process pool
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class VaultNotFoundError(RunvaultError):
    """There is no archive here or above."""

    exit_code = 10


class RunNotFoundError(RunvaultError, LookupError):
    """No run answers to a reference."""

    exit_code = 11


class AmbiguousRunError(RunvaultError, LookupError):
    """Several runs answer to a reference; the hint lists them."""

    exit_code = 12


class ConfigError(RunvaultError, ValueError):
    """A value has no canonical form, or a filter is no condition; the message names the path."""

    exit_code = 13


class BranchMovedError(RunvaultError):
    """The archive branch was moved by others in every one of our attempts."""

    exit_code = 14


class FormatError(RunvaultError):
    """A record of the archive cannot be read."""

    exit_code = 20


class SchemaTooNewError(FormatError):
    """A record was written by a newer runvault."""

    exit_code = 21


class IntegrityError(RunvaultError):
    """Content does not match its hash. Nothing is deleted."""

    exit_code = 30


class ArtifactMissingError(RunvaultError):
    """An artifact is recorded, but its content is not here."""

    exit_code = 31


class UntrustedPickleError(RunvaultError):
    """A pickle would have to be read, and nobody said that it may."""

    exit_code = 32


class BusyError(RunvaultError):
    """Another process holds the archive."""

    exit_code = 33


class MetricInputError(RunvaultError, ValueError):
    """A number was asked of values it is not defined on."""

    exit_code = 40


class ReplayError(RunvaultError):
    """A recipe could not be run: its entry, its code, its data or its result is missing or wrong."""

    exit_code = 50


def one_line_of(error: RunvaultError) -> str:
    """Return an error's message as one line of ASCII: it may quote what a stranger wrote."""
    return " ".join(ascii(error.message)[1:-1].split())[:300]


def did_you_mean(near: Sequence[str], otherwise: str) -> str:
    """Return the hint for a name that nothing has: near ones, or what else to do where there are none."""
    return f"did you mean {' or '.join(near)}?" if near else otherwise
