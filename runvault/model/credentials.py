"""Values that look like credentials, found by the names they stand under."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

from runvault.errors import ConfigError
from runvault.model.paths import join

MIN_CHARACTERS = 16  # shorter text under such a name is a choice ("token": "bar"), not a secret

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# fmt: off
_NAMES = frozenset({
    "apikey", "apikeys", "apitoken", "accesskey", "accesstoken", "auth", "authentication", "authkey", "authorization",
    "authtoken", "bearer", "cookie", "cookies", "credential", "credentials", "jwt", "passphrase", "passwd", "password",
    "passwords", "privatekey", "pwd", "secret", "secretkey", "secrets", "token", "tokens",
})
_KEYS = frozenset({
    "access", "account", "api", "auth", "client", "encryption", "master", "private", "secret", "session", "signing",
    "ssh",
})
# fmt: on


def find_credentials(config: Mapping[str, object]) -> list[str]:
    """Return the paths of text of 16 characters or more under names that look like credentials.

    A name is taken apart into words (``api_key``, ``apiKey`` and ``API-KEY`` alike), so that ``author`` and
    ``tokenizer`` pass. What is nested below such a name counts as well.

    Examples
    --------
    >>> find_credentials({"params": {"api_key": "0123456789abcdef", "token": "short"}})
    ['params.api_key']
    """
    return [path for path, _ in _suspects(config, "", ())]


def refuse_credentials(config: Mapping[str, object], allow: Collection[str] = ()) -> None:
    """Raise ConfigError if `config` holds credentials, unless `allow` has their name or path.

    Nothing of the value itself is told.
    """
    found = [(path, names) for path, names in _suspects(config, "", ()) if path not in allow]
    refused = [(path, names[0]) for path, names in found if not set(names) & set(allow)]
    if not refused:
        return
    paths = ", ".join(path for path, _ in refused)
    problem = "looks like a credential" if len(refused) == 1 else "look like credentials"
    names = " ".join(f"--allow {name}" for name in sorted({name for _, name in refused}))
    raise ConfigError(f"{paths} {problem}", f"leave it out; if it is none, say {names}, or allow=[…] in Python")


def _suspects(value: object, path: str, names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield paths of suspicious text, each with the suspicious names on its way, the innermost first."""
    if isinstance(value, str):
        if names and len(value) >= MIN_CHARACTERS:
            yield path, names
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _suspects(item, join(path, key), (key, *names) if looks_secret(key) else names)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _suspects(item, f"{path}[{i}]", names)


def looks_secret(name: str) -> bool:
    """Tell whether a name reads as that of a credential.

    Examples
    --------
    >>> [name for name in ("apiKey", "AUTH_TOKEN", "author", "key", "private_key_2") if looks_secret(name)]
    ['apiKey', 'AUTH_TOKEN', 'private_key_2']
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if any(word in _NAMES for word in words):
        return True
    return any(first in _KEYS and second in ("key", "keys") for first, second in pairwise(words))
