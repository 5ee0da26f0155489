"""NumPy arrays to Arrow and back, buffer by buffer.

pyarrow's own converters (``pa.array``, ``to_numpy``) import pandas, which costs a second that no listing can pay.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa

from runvault.errors import FormatError
from runvault.model.table import Array

MAX_TEXT = 4096  # characters of one label

# Names are looked up as files by whoever shows them
TIME_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}|[+-][0-9]{2}:[0-9]{2}")

NAT = np.iinfo(np.int64).min


def to_arrow(values: Array, time_zone: str | None = None) -> pa.Array:
    """Return `values` as an Arrow array that shares their memory where it can."""
    if time_zone is not None and not TIME_ZONE.fullmatch(time_zone):
        raise FormatError(f"no time zone: {time_zone[:50]!r}")
    if values.dtype == object:
        return _strings_to_arrow(values)
    if values.dtype.kind == "M":
        return _times_to_arrow(values, time_zone)
    if values.dtype == bool:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _times_to_arrow(values: Array, time_zone: str | None) -> pa.Array:
    unit = np.datetime_data(values.dtype)[0]
    if unit not in ("ms", "us", "ns"):
        values, unit = values.astype("datetime64[ns]"), "ns"
    ticks = np.ascontiguousarray(values).view(np.int64)
    valid = _validity(ticks != NAT)
    return pa.Array.from_buffers(pa.timestamp(unit, time_zone), len(ticks), [valid, pa.py_buffer(ticks)])


def _strings_to_arrow(values: Array) -> pa.Array:
    if any(text is not None and len(text) > MAX_TEXT for text in values):
        raise FormatError(f"a text is longer than {MAX_TEXT} characters")
    encoded = [None if text is None else text.encode() for text in values]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text or b"") for text in encoded], out=offsets[1:])
    body = b"".join(text for text in encoded if text)
    valid = _validity(np.fromiter((text is not None for text in encoded), bool, len(encoded)))
    return pa.Array.from_buffers(pa.string(), len(encoded), [valid, pa.py_buffer(offsets), pa.py_buffer(body)])


def _validity(present: Array) -> pa.Buffer | None:
    return None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))


def to_numpy(column: pa.ChunkedArray) -> Array:
    """Return a column as an array of the kinds that `Table` knows; memory is shared where the column is one chunk."""
    _dtype(column.type)
    parts = [_chunk_to_numpy(chunk) for chunk in column.chunks]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, _dtype(column.type))


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_dictionary(kind):
        return np.dtype(object)
    if pa.types.is_timestamp(kind):
        return np.dtype(f"datetime64[{kind.unit}]")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise FormatError(f"a column is of type {kind}")
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


def _chunk_to_numpy(chunk: pa.Array) -> Array:
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        return _strings_to_numpy(chunk)
    if pa.types.is_boolean(kind):
        bits = np.frombuffer(chunk.buffers()[1], np.uint8)
        return np.unpackbits(bits, count=chunk.offset + len(chunk), bitorder="little")[chunk.offset :].astype(bool)
    if pa.types.is_timestamp(kind):
        ticks = _values(chunk, np.dtype(np.int64))
        if chunk.null_count:
            ticks = np.where(_present(chunk), ticks, NAT)
        return ticks.view(_dtype(kind))
    if chunk.null_count:
        raise FormatError("numbers are missing")
    return _values(chunk, _dtype(kind))


def _values(chunk: pa.Array, dtype: np.dtype[Any]) -> Array:
    if not len(chunk):
        return np.empty(0, dtype)
    return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)


def _present(chunk: pa.Array) -> Array:
    bits = np.frombuffer(chunk.buffers()[0], np.uint8)
    return np.unpackbits(bits, count=chunk.offset + len(chunk), bitorder="little")[chunk.offset :].astype(bool)


def _strings_to_numpy(chunk: pa.DictionaryArray) -> Array:
    words = np.array([*_words(chunk.dictionary), None], dtype=object)
    codes = _values(chunk.indices, np.dtype(np.int32))
    if chunk.null_count:
        codes = np.where(_present(chunk), codes, len(words) - 1)
    return words[codes]


def _words(words: pa.Array) -> list[str]:
    if not pa.types.is_string(words.type):
        raise FormatError(f"a column is of type {words.type}")
    texts: list[str] = words.to_pylist()
    if any(len(text) > MAX_TEXT for text in texts):
        raise FormatError(f"a text is longer than {MAX_TEXT} characters")
    return texts
