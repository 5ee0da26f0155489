"""Pointer files: the small text that stands in Git for an object of the DVC cache."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runvault.errors import FormatError
from runvault.stores.dvc.stored import Stored

MAX_POINTER_BYTES = 4096
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")

# A digest that holds such a letter behind its second digit is text in every version of YAML, never a number
PLAIN_MD5 = re.compile(r".{2,}[abcdf]")
PLAIN_NAME = re.compile(r"[a-z]+\.(parquet|pkl)")
WRITTEN = re.compile(
    r"outs:\n- md5: (?P<md5>'?[0-9a-f]{32}(?:\.dir)?'?)\n  size: (?P<size>0|[1-9][0-9]{0,17})\n"
    r"(?:  nfiles: (?P<nfiles>0|[1-9][0-9]{0,8})\n)?  hash: md5\n  path: (?P<path>[^\n]{1,1024})\n"
)


@dataclass(frozen=True)
class Pointer:
    """What a pointer file says: the object's name in DVC, its size, and the file it stands for."""

    md5: str
    size: int
    name: str
    nfiles: int | None = None


def pointer_bytes(name: str, stored: Stored) -> bytes:
    """Return the pointer that ``dvc add`` writes for a file called `name`, byte for byte.

    Examples
    --------
    >>> print(pointer_bytes("orders.parquet", Stored("ab" * 16, "0" * 64, 7)).decode(), end="")
    outs:
    - md5: abababababababababababababababab
      size: 7
      hash: md5
      path: orders.parquet
    """
    md5 = stored.md5 if PLAIN_MD5.match(stored.md5) else _yaml(stored.md5)
    path = name if PLAIN_NAME.fullmatch(name) else _yaml(name)
    nfiles = "" if stored.nfiles is None else f"  nfiles: {stored.nfiles}\n"
    return f"outs:\n- md5: {md5}\n  size: {stored.size}\n{nfiles}  hash: md5\n  path: {path}\n".encode()


def _yaml(text: str) -> str:
    """Return `text` as DVC's own serialiser writes it behind a key."""
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml({"path": text})).removeprefix("path:").strip()


def parse_pointer(data: bytes, expected_name: str) -> Pointer:
    """Read a pointer file that should stand for `expected_name`; anything but that and one object is refused.

    Raises
    ------
    FormatError
        It names another path, a folder elsewhere (``wdir``), a dependency, a second output or a malformed digest.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{expected_name}.dvc: not UTF-8") from error
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise FormatError(f"{expected_name}.dvc: not a pointer that dvc add writes")
    nfiles = found["nfiles"]
    stored = Stored(found["md5"].strip("'"), "", int(found["size"]), None if nfiles is None else int(nfiles))
    if pointer_bytes(expected_name, stored) != data:
        raise FormatError(f"{expected_name}.dvc: names {found['path']!r}")
    return Pointer(stored.md5, stored.size, expected_name, stored.nfiles)
