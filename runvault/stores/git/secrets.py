"""Files that hold credentials, told by their names and by what stands in them."""

from __future__ import annotations

import re

# Text that opens a private key, and the tokens that services mark as theirs, so that scanners like this one find them.
# fmt: off
_MARKS = (
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    rb"PuTTY-User-Key-File-\d",
    rb"\bAGE-SECRET-KEY-1[0-9A-Z]{58}",
    rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",                    # Amazon
    rb"\bgh[pousr]_[A-Za-z0-9]{36,}",                     # GitHub
    rb"\bgithub_pat_[A-Za-z0-9_]{50,}",
    rb"\bglpat-[A-Za-z0-9_-]{20,}",                       # GitLab
    rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",                 # Slack
    rb"\bAIza[A-Za-z0-9_-]{35}",                          # Google
    rb"\b[rs]k_live_[A-Za-z0-9]{20,}",                    # Stripe
    rb"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{40,}",           # OpenAI, Anthropic
    rb"\bhf_[A-Za-z]{34}\b",                              # Hugging Face
    rb"\bnpm_[A-Za-z0-9]{36}\b",
    rb"\bpypi-AgE[A-Za-z0-9_-]{50,}",
    rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",  # a JSON web token
)
# fmt: on
_HOLDS = re.compile(b"|".join(_MARKS))

# `id_rsa`, `id_ed25519.old`, and any `id_something` without an ending; `id_rsa.pub` is public, `id_map.py` is code.
_NAMES = re.compile(
    r"\.env.*|.*\.(pem|key|p12|pfx|ppk|jks|keystore|kdbx)|id_(rsa|dsa|ecdsa|ed25519|xmss)(_sk)?(?!.*\.pub$).*|id_[^.]+"
    r"|\.?_?netrc|\.pgpass|\.pypirc|\.git-credentials",
    re.IGNORECASE | re.DOTALL,
)

# Programs that encrypt what goes into Git: the file in the working tree is what must not get there.
_ENCRYPTS = re.compile(r"crypt|gpg|\bage\b|sops|vault|secret", re.IGNORECASE)

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
    return _HOLDS.search(content, 0, SCANNED_BYTES) is not None


def encrypts(text: str) -> bool:
    """Tell whether the name of a filter, or its command, speaks of encryption.

    Examples
    --------
    >>> [name for name in ("git-crypt", "lfs", "sops -e", "page", "age -r x") if encrypts(name)]
    ['git-crypt', 'sops -e', 'age -r x']
    """
    return _ENCRYPTS.search(text) is not None
