"""Pointer files: the small text that stands in Git for an object of the DVC cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from runvault.errors import FormatError
from runvault.stores.dvc.stored import Stored

MAX_POINTER_BYTES = 4096
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")

NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")

# Text in every version of YAML, never a number: a digest with such a letter behind its second digit, a plain file name
PLAIN_MD5 = re.compile(r".{2,}[abcdf]")
PLAIN_NAME = re.compile(r"[0-9a-z]+\.[a-z]{2,10}")

# What runvault writes
WRITTEN = re.compile(
    r"outs:\n- md5: (?P<md5>[0-9a-f]{32}(?:\.dir)?)\n  size: (?P<size>[0-9]+)\n(?:  nfiles: (?P<nfiles>[0-9]+)\n)?"
    r"  hash: md5\n  path: (?P<path>[0-9a-z]+(?:\.[a-z]+)?)\n"
)

# The parser events of {"outs": [{…}]} before and behind the members
HEAD = [
    ("StreamStart", ""),
    ("DocumentStart", ""),
    ("MappingStart", ""),
    ("Scalar", "outs"),
    ("SequenceStart", ""),
    ("MappingStart", ""),
]
TAIL = [("MappingEnd", ""), ("SequenceEnd", ""), ("MappingEnd", ""), ("DocumentEnd", ""), ("StreamEnd", "")]
MAX_EVENTS = 100


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
    nfiles = {} if stored.nfiles is None else {"nfiles": stored.nfiles}
    members = {"md5": stored.md5, "size": stored.size, **nfiles, "hash": "md5", "path": name}
    if PLAIN_MD5.match(stored.md5) and PLAIN_NAME.fullmatch(name):
        lines = "\n  ".join(f"{key}: {value}" for key, value in members.items())
        return f"outs:\n- {lines}\n".encode()
    from dvc.utils.serialize import dumps_yaml  # knows what to quote and where to fold

    return str(dumps_yaml({"outs": [members]})).encode()


@lru_cache(1024)  # the runs of a sweep share most of their pointers
def parse_pointer(data: bytes, expected_name: str, *, folder: bool = False) -> Pointer:
    """Read a pointer file that should stand for `expected_name`; anything but that and one object is refused.

    Parameters
    ----------
    data : bytes
        The file, as it lies in Git.
    expected_name : str
        The one path it may name; never a path that the file itself brings.
    folder : bool
        Whether it stands for a folder, that is for a ``.dir`` object.

    Raises
    ------
    FormatError
        It names another path, a folder elsewhere (``wdir``), a dependency, a second output or a malformed digest.
    """
    try:
        pointer = _pointer(_members(data), folder)
    except FormatError as error:
        raise FormatError(f"{expected_name}.dvc: {error}") from error
    if pointer.name != expected_name:
        raise FormatError(f"{expected_name}.dvc: names another file: {pointer.name[:100]!r}")
    return pointer


def _pointer(members: dict[str, str], folder: bool) -> Pointer:
    expected = {"md5", "size", "hash", "path"} | ({"nfiles"} if folder else set())
    if set(members) != expected:
        raise FormatError(f"its members are {sorted(members)}, not {sorted(expected)}")
    if not MD5.fullmatch(members["md5"]) or members["md5"].endswith(".dir") != folder or members["hash"] != "md5":
        raise FormatError(f"no digest that DVC writes: {members['md5'][:50]!r} ({members['hash'][:10]!r})")
    nfiles = _number(members["nfiles"]) if folder else None
    return Pointer(members["md5"], _number(members["size"]), members["path"], nfiles)


def _number(text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise FormatError(f"no number: {text[:50]!r}")
    return int(text)


def _members(data: bytes) -> dict[str, str]:
    """Return the members of the one output; the form that runvault writes needs no YAML parser."""
    if len(data) > MAX_POINTER_BYTES:
        raise FormatError(f"{len(data)} bytes are too many for a pointer")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8") from error
    found = WRITTEN.fullmatch(text)
    if found is None:
        return _parse(text)
    return {name: value for name, value in found.groupdict().items() if value is not None} | {"hash": "md5"}


def _parse(text: str) -> dict[str, str]:
    """Read YAML of the shape ``outs: [{name: text, …}]`` from parser events: no tag is resolved, nothing is built."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        events = [_plain(event) for event in islice(YAML(typ="safe", pure=True).parse(text), MAX_EVENTS)]
    except (YAMLError, ValueError, RecursionError) as error:
        raise FormatError("no YAML") from error
    head, scalars, tail = events[: len(HEAD)], events[len(HEAD) : -len(TAIL)], events[-len(TAIL) :]
    if head != HEAD or tail != TAIL or not all(kind == "Scalar" for kind, _ in scalars):
        raise FormatError("not one output")
    names, values = [text for _, text in scalars[::2]], [text for _, text in scalars[1::2]]
    if len(set(names)) != len(names) or len(names) != len(values):
        raise FormatError("a member is given twice")
    return dict(zip(names, values, strict=True))


def _plain(event: Any) -> tuple[str, str]:
    """Return kind and text of a parser event; anchors, aliases, tags and directives are refused."""
    if any(getattr(event, name, None) for name in ("anchor", "tag", "tags", "version")):
        raise FormatError("anchors and tags have no place in a pointer")
    return type(event).__name__.removesuffix("Event"), str(getattr(event, "value", ""))
