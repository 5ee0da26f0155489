"""Columns that were decoded before: the runs of an archive have the names, labels and units of their statistics alike.

A column is known by its bytes, page headers with their checksums included, and by all that its file's footer says of
it; only small ones are kept, and the latest of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from runvault.model.table import Array
from runvault.stores.tables.claims import SMALL_BYTES, Claims

MOST = 256
MOST_DECODED = 16 << 10  # bytes, or characters


class Column(NamedTuple):
    """Values of a column, and the time zone in which its times are to be shown."""

    values: Array
    time_zone: str | None


Key: TypeAlias = tuple[bytes, bytes]

_known: OrderedDict[Key, Column] = OrderedDict()
_lock = threading.Lock()


def keys_of(data: bytes, claims: Claims) -> dict[str, Key]:
    """Return what each small column is known by; nothing where the file has several row groups."""
    if len(claims.chunks) != len(claims.columns):
        return {}
    return {
        name: (chunk.told, data[chunk.start : chunk.end])
        for name, chunk in zip(claims.columns, claims.chunks, strict=True)
        if chunk.told is not None and chunk.end - chunk.start <= SMALL_BYTES
    }


def known(keys: Mapping[str, Key], names: Iterable[str]) -> dict[str, Column]:
    """Return those of the columns of a file that another one had, too."""
    found: dict[str, Column] = {}
    with _lock:
        for name in names:
            key = keys.get(name)
            if key is not None and key in _known:
                _known.move_to_end(key)
                found[name] = _known[key]
    return found


def remember(keys: Mapping[str, Key], decoded: Mapping[str, Column]) -> None:
    """Keep the columns that are small; nobody can change their values from then on."""
    for name, column in decoded.items():
        if name in keys and _size(column.values) <= MOST_DECODED:
            column.values.flags.writeable = False
            with _lock:
                _known[keys[name]] = column
                if len(_known) > MOST:
                    _known.popitem(last=False)


def _size(values: Array) -> int:
    return values.nbytes if values.dtype != object else sum(len(text or "") for text in values) + len(values)
