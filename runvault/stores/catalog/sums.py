"""Checksums of rows. SQLite notices a damaged page by its structure; a flipped bit within a value it hands out.

They are of values alone and of no row's number: catalogs that say the same have the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import orjson


def row_sum(row: Sequence[Any], definitions_sum: int, revision: int) -> int:
    """Return the checksum of a row of `runs`, its columns in the order of `SUMMED`, with that of its definitions.

    The revision is added: it changes with the history, and the sum by as much, in one statement.
    """
    return zlib.crc32(orjson.dumps(row), definitions_sum) + revision


def revision_sum(blob: bytes, commit: bytes) -> int:
    """Return the checksum of a row of `revisions`."""
    return zlib.crc32(commit, zlib.crc32(blob))
