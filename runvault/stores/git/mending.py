"""Lines of packed refs that git cannot read, read as what they were before a bit flipped or the file was cut.

A reading counts where it is the only one: what it names must be an object that is here, and where several readings are
left, the log of the ref decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from runvault.stores.git.refs import HEADER, PACKED_LINE, PEELED_LINE, logged_refs
from runvault.stores.git.repository import Repository
from runvault.stores.git.sounding import sound_objects

_LINE = re.compile(rb"[^\n]*\n|[^\n]+$")


def mended(repository: Repository, content: bytes) -> bytes | None:
    """Return packed refs that git can read, None where a line of them cannot be told."""
    lines = _LINE.findall(content)
    known = {found[2] for line in lines if (found := PACKED_LINE.fullmatch(line))}
    logged = {_entry(ref, commit) for ref, commit in logged_refs(repository).items() if ref.encode() not in known}
    first = [HEADER] if lines and lines[0].startswith(b"#") and lines[0].count(b"refs/") == 0 else []
    read = [line if _is_read(line) else _reading(repository, line, logged) for line in lines[len(first) :]]
    return None if None in read else b"".join([*first, *(line for line in read if line is not None)])


def _is_read(text: bytes) -> bool:
    return all(map(_is_entry, text.removeprefix(HEADER).splitlines(keepends=True)))


def _is_entry(line: bytes) -> bool:
    return bool(PACKED_LINE.fullmatch(line) or PEELED_LINE.fullmatch(line))


def _entry(ref: str, commit: str) -> bytes:
    return f"{commit} {ref}\n".encode("utf-8", "surrogateescape")


def _reading(repository: Repository, line: bytes, logged: set[bytes]) -> bytes | None:
    possible = [text for text in _one_bit_away(line) if _is_read(text)]
    possible = _here(repository, possible)
    if len(possible) > 1:
        possible = [text for text in possible if logged.issuperset(_refs(text))]
    if not possible:
        possible = _here(repository, [entry for entry in logged if _is_rest_of(line, entry)])
    return possible[0] if len(possible) == 1 else None


def _here(repository: Repository, texts: Sequence[bytes]) -> list[bytes]:
    """Return those of the texts that name nothing but objects of this repository."""
    named = sorted({name.decode("ascii") for text in texts for name in _names(text)})
    here = {found.name.encode("ascii") for found in sound_objects(repository, named)}
    return [text for text in texts if here.issuperset(_names(text))]


def _one_bit_away(line: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(line)):
        changed = bytearray(line)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def _names(text: bytes) -> Iterable[bytes]:
    return [line.removeprefix(b"^")[:40] for line in text.removeprefix(HEADER).splitlines()]


def _refs(text: bytes) -> Iterable[bytes]:
    return [line for line in text.removeprefix(HEADER).splitlines(keepends=True) if not line.startswith(b"^")]


def _is_rest_of(line: bytes, entry: bytes) -> bool:
    """Tell whether a line may be what is left of an entry: its beginning, or another id before the same name."""
    return entry.startswith(line) or line.endswith(entry[40:])
