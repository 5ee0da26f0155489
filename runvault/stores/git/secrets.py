"""Files that hold credentials, told by their names and by what stands in them."""

from __future__ import annotations

import re

from runvault.model.credentials import looks_secret

# Text that opens a private key, and the tokens that services mark as theirs, so that scanners like this one find them:
# how each begins, which is found a hundred times as fast as a pattern, and what follows.
# fmt: off
_MARKS = {
    b"-----BEGIN ": rb"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    b"PuTTY-User-Key-File-": rb"\d",
    b"AGE-SECRET-KEY-1": rb"[0-9A-Z]{58}",
    b"AKIA": rb"[0-9A-Z]{16}\b",                     # Amazon
    b"ASIA": rb"[0-9A-Z]{16}\b",
    b"ghp_": rb"[A-Za-z0-9]{36}",                    # GitHub
    b"gho_": rb"[A-Za-z0-9]{36}",
    b"ghu_": rb"[A-Za-z0-9]{36}",
    b"ghs_": rb"[A-Za-z0-9]{36}",
    b"ghr_": rb"[A-Za-z0-9]{36}",
    b"github_pat_": rb"[A-Za-z0-9_]{50}",
    b"glpat-": rb"[A-Za-z0-9_-]{20}",                # GitLab
    b"xox": rb"[abeoprs]-[A-Za-z0-9-]{10}",          # Slack
    b"AIza": rb"[A-Za-z0-9_-]{35}",                  # Google
    b"k_live_": rb"[A-Za-z0-9]{20}",                 # Stripe
    b"sk-": rb"(?:ant-|proj-)?[A-Za-z0-9_-]{40}",    # OpenAI, Anthropic
    b"hf_": rb"[A-Za-z]{34}\b",                      # Hugging Face
    b"npm_": rb"[A-Za-z0-9]{36}\b",
    b"pypi-AgE": rb"[A-Za-z0-9_-]{50}",
    b"eyJ": rb"[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{20}",  # a JSON web token
}
# fmt: on
_PATTERNS = {begin: re.compile(rest) for begin, rest in _MARKS.items()}

# `id_rsa`, `id_ed25519.old`, and any `id_something` without an ending; `id_rsa.pub` is public, `id_map.py` is code.
_NAMES = re.compile(
    r"\.env.*|.*\.(pem|key|p12|pfx|ppk|jks|keystore|kdbx)|id_(rsa|dsa|ecdsa|ed25519|xmss)(_sk)?(?!.*\.pub$).*|id_[^.]+"
    r"|\.?_?netrc|\.pgpass|\.pypirc|\.git-credentials",
    re.IGNORECASE | re.DOTALL,
)

# Programs that encrypt what goes into Git: the file in the working tree is what must not get there.
_ENCRYPTS = re.compile(r"crypt|gpg|\bage\b|sops|vault|secret", re.IGNORECASE)

# In the query of an address, and not in the config of a run: a signature lets in whoever has it
_SIGNED = re.compile(r"sig|key|.*signature", re.IGNORECASE)

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")

SCANNED_BYTES = 16 << 20  # beyond this a file is data, and nobody pastes a key there


def named_as_credential(path: str) -> bool:
    """Tell whether a file's name is that of a credential.

    Examples
    --------
    >>> paths = (".env.local", "a/tls.KEY", "id_ed25519", "id_rsa.pub", "id_map.py")
    >>> [path for path in paths if named_as_credential(path)]
    ['.env.local', 'a/tls.KEY', 'id_ed25519']
    """
    return _NAMES.fullmatch(path.rpartition("/")[2]) is not None


def holds_credential(content: bytes) -> bool:
    """Tell whether a private key or a well-known kind of token stands in the first 16 MiB of `content`."""
    end = min(len(content), SCANNED_BYTES)
    return any(_has(content, end, begin, rest) for begin, rest in _PATTERNS.items())


def secret_in_address(url: str) -> tuple[str | None, str]:
    """Return whether an address holds a ``password`` or a ``token``, or a ``secret`` in its query, and it without.

    Examples
    --------
    >>> secret_in_address("https://ada:sesame@host/x")
    ('password', 'https://ada@host/x')
    >>> secret_in_address("ssh://git@host/x")
    (None, 'ssh://git@host/x')
    >>> secret_in_address("https://host/x?sig=sesame&v=1")
    ('secret', 'https://host/x?v=1')
    """
    secret, url = _secret_in_query(url)
    told = re.match(r"(?P<scheme>[^/]*://)(?P<who>[^/?#]*)@", url)
    if told is None:
        return secret, url
    user, has_password, _ = told["who"].partition(":")
    token = _is_token(told["scheme"], user)
    if not has_password and not token:
        return secret, url
    without = told["scheme"] + (f"{user}@" if user and not token else "") + url[told.end() :]
    return ("token" if token else "password"), without


def _secret_in_query(url: str) -> tuple[str | None, str]:
    place, _, query = url.partition("?")
    said = query.split("&")
    kept = [each for each in said if not _names_secret(each.partition("=")[0])]
    if "://" not in place or kept == said:
        return None, url
    return "secret", "?".join([place, *(["&".join(kept)] if kept else [])])


def _names_secret(name: str) -> bool:
    return looks_secret(name) or _SIGNED.fullmatch(name) is not None


def without_secrets(text: str) -> str:
    """Return a message with the addresses in it as `secret_in_address` has them: messages end in logs.

    Examples
    --------
    >>> without_secrets("there is no Git remote 'https://ada:sesame@host/x'")
    "there is no Git remote 'https://ada@host/x'"
    """
    return _ADDRESS.sub(lambda found: secret_in_address(found[0])[1], text)


def _is_token(scheme: str, user: str) -> bool:
    """Tell whether the user's name in an address is a token: marked as one, or as long and mixed as people's are not.

    The latter only where a server takes one for a name, which is by HTTP.
    """
    long = re.fullmatch(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}", user) is not None
    return holds_credential(user.encode()) or (long and scheme.startswith(("http", "webdav")))


def _has(content: bytes, end: int, begin: bytes, rest: re.Pattern[bytes]) -> bool:
    at = content.find(begin, 0, end)
    while at >= 0:
        if rest.match(content, at + len(begin), end) and not _in_a_word(content, at, begin):
            return True
        at = content.find(begin, at + 1, end)
    return False


def _in_a_word(content: bytes, at: int, begin: bytes) -> bool:
    """Tell whether a mark is the end of a longer word, as in ``task-...``; Stripe's has two beginnings."""
    before = content[at - 1 : at]
    return begin != b"k_live_" and begin[:1].isalpha() and (before.isalnum() or before == b"_")


def encrypts(text: str) -> bool:
    """Tell whether the name of a filter, or its command, speaks of encryption.

    Examples
    --------
    >>> [name for name in ("git-crypt", "lfs", "sops -e", "page", "age -r x") if encrypts(name)]
    ['git-crypt', 'sops -e', 'age -r x']
    """
    return _ENCRYPTS.search(text) is not None
