"""The names of runs: ConfigHash and RunId are exact, RunRef is what a person types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from runvault.errors import ConfigError

MAX_SEED = 2**63 - 1
_HASH = re.compile(r"[0-9a-f]{64}")
_SEED = r"0|[1-9][0-9]{0,18}"
_ID = re.compile(rf"([0-9a-f]{{64}})-({_SEED})")
_PREFIX = re.compile(rf"([0-9a-f]{{4,64}})(?:-({_SEED}))?")
_LATEST = re.compile(r"latest(?:-([0-9]{1,9}))?")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")
_REF = re.compile(r"(?P<base>[^~@\s]+)(?:~(?P<back>[0-9]{0,9})|@(?P<at>[^~@\s]*))?")
_ALIAS_BYTES = 100


class ConfigHash(str):
    """The SHA-256 of a canonical config: 64 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Refuse anything that is not 64 lower-case hex digits."""
        if not _HASH.fullmatch(text):
            raise ConfigError(f"{_quoted(text)} is no config hash: 64 lower-case hex digits are needed")
        return super().__new__(cls, text)


@dataclass(frozen=True, order=True)
class RunId:
    """The full name of a run: the hash of what was asked, and the seed.

    Examples
    --------
    >>> run = RunId.parse("42ac6b203a9c26a4edda4ab6b58eba5b21f7407fecd1490321b22304755d36dd-7")
    >>> run.seed, run.short
    (7, '42ac6b20-7')
    """

    config_hash: ConfigHash
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= MAX_SEED:
            raise ConfigError("seed must be an integer from 0 to 2^63-1", "use 0 where nothing is random")
        if not isinstance(self.config_hash, ConfigHash):
            object.__setattr__(self, "config_hash", ConfigHash(self.config_hash))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a full id; raise ConfigError for anything else, prefixes included."""
        match = _ID.fullmatch(text)
        if match is None:
            raise ConfigError(f"{_quoted(text)} is no run id: <64 hex digits>-<seed> is needed")
        return cls(ConfigHash(match[1]), int(match[2]))

    @classmethod
    def from_path(cls, path: str) -> Self | None:
        """Return the run that a path of the archive belongs to; None for a path outside ``runs/``.

        Examples
        --------
        >>> RunId.from_path("runvault.json") is None
        True
        """
        parts = path.split("/")
        if len(parts) < 3 or parts[0] != "runs" or not _ID.fullmatch(parts[2]) or parts[1] != parts[2][:2]:
            return None
        try:
            return cls.parse(parts[2])
        except ConfigError:  # a seed of 19 digits may still be beyond 2^63-1
            return None

    @property
    def short(self) -> str:
        """Return eight digits of the hash and the seed, as tables show it."""
        return f"{self.config_hash[:8]}-{self.seed}"

    @property
    def path(self) -> str:
        """Return the run's folder in the archive, ``runs/42/<id>``."""
        return f"runs/{self.config_hash[:2]}/{self}"

    def __str__(self) -> str:
        return f"{self.config_hash}-{self.seed}"


@dataclass(frozen=True)
class RunRef:
    """What a person types to mean a run: a prefix of an id, an alias or ``latest``, and which revision of it.

    Parameters
    ----------
    text : str
        The reference as it was typed, for messages.
    base : str
        The part that names the run.
    back : int
        How many revisions before the newest: 1 for ``~1``.
    at : str or None
        The archive commit behind ``@``, or a prefix of it.

    Examples
    --------
    >>> ref = RunRef.parse("latest-2~1")
    >>> ref.latest, ref.back, ref.at
    (2, 1, None)
    >>> RunRef.parse("3f9a-42@0badc0de").prefix
    ('3f9a', 42)
    """

    text: str
    base: str
    back: int = 0
    at: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a reference apart; raise ConfigError where it cannot name anything."""
        match = _REF.fullmatch(text)
        if match is None:
            raise ConfigError(f"{_quoted(text)} is no reference to a run", _REFERENCE_HINT)
        at = match["at"]
        if at is not None and not _COMMIT.fullmatch(at.lower()):
            raise ConfigError(f"{_quoted(text)}: an archive commit must follow '@'", _REFERENCE_HINT)
        back = match["back"]
        return cls(text, match["base"], 0 if back is None else int(back or 1), at and at.lower())

    @property
    def latest(self) -> int | None:
        """Return how many rows below the first one of a listing is meant; None where it is not ``latest``."""
        match = _LATEST.fullmatch(self.base)
        return int(match[1] or 0) if match else None

    @property
    def prefix(self) -> tuple[str, int | None] | None:
        """Return the hex digits and the seed where the base reads as the beginning of an id, else None."""
        match = _PREFIX.fullmatch(self.base.lower())
        return (match[1], None if match[2] is None else int(match[2])) if match else None


def check_alias(name: str) -> str:
    """Return `name` if it can stand for a run and cannot be taken for another kind of reference.

    Raises
    ------
    ConfigError
        It is empty, longer than 100 bytes, begins with a dash, holds white space, control characters, ``~``, ``@`` or
        lone surrogates, is ``latest`` or ``latest-N``, or reads as the beginning of an id.
    """
    ref = RunRef(name, name)
    if ref.latest is not None or ref.prefix is not None:
        raise ConfigError(f"alias {_quoted(name)} would be read as another reference", _ALIAS_HINT)
    if not name.isprintable() or not re.fullmatch(r"[^-~@\s][^~@\s]*", name) or len(name.encode()) > _ALIAS_BYTES:
        raise ConfigError(f"{_quoted(name)} cannot be an alias", _ALIAS_HINT)
    return name


_REFERENCE_HINT = "a run is named by its id, 4 or more digits of it, an alias, or latest-N, then ~N or @<commit>"
_ALIAS_HINT = "choose a word that is not hexadecimal, without spaces, '~' and '@', such as 'golden-sma'"


def _quoted(text: str) -> str:
    """Show foreign text on one line, shortened, without anything a terminal would obey."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
