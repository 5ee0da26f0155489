"""A reader of Thrift's compact protocol: just enough to see what a Parquet file claims before anything believes it."""

from __future__ import annotations

from typing import Any, TypeAlias

from runvault.errors import FormatError

Struct: TypeAlias = dict[int, Any]

MAX_DEPTH = 12  # Parquet's own structures are 6 deep
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class Reader:
    """Structures out of `data`, from `position` on: dictionaries by field number.

    Raises
    ------
    FormatError
        The bytes end early, nest too deep, or hold more than `budget` values.
    """

    def __init__(self, data: bytes, position: int = 0, budget: int = 5_000_000) -> None:
        self.data = data
        self.position = position
        self._budget = budget

    def struct(self) -> Struct:
        """Return the structure that begins here, and stand behind it."""
        try:
            return self._struct(0)
        except IndexError:
            raise FormatError("it ends early") from None

    def _struct(self, depth: int) -> Struct:
        # Every statistics table of a pull comes through here: what is frequent, small fields, makes no call.
        data, position = self.data, self.position
        fields: Struct = {}
        number = 0
        while header := data[position]:
            position += 1
            kind = header & 15
            if header > 15:
                number += header >> 4
            else:
                self.position = position
                number = self._integer()
                position = self.position
            if I16 <= kind <= I64 and (byte := data[position]) < 128:
                position += 1
                fields[number] = (byte >> 1) ^ -(byte & 1)
            elif TRUE <= kind <= FALSE:
                fields[number] = kind == TRUE
            else:
                self.position = position
                fields[number] = self._value(kind, depth)
                position = self.position
        self.position = position + 1
        self._spend(len(fields))
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise FormatError("its header nests too deep")
        if I16 <= kind <= I64:
            return self._integer()
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self._struct(depth + 1)
        if kind in (LIST, SET):
            return self._list(depth + 1)
        return self._rare(kind, depth)

    def _rare(self, kind: int, depth: int) -> Any:
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind != MAP:
            raise FormatError("its header is garbled")
        size = self._varint()
        self._spend(2 * size)
        kinds = self._byte() if size else 0
        return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)]

    def _list(self, depth: int) -> list[Any]:
        header = self._byte()
        size, kind = header >> 4, header & 15
        if size == 15:
            size = self._varint()
        self._spend(size)
        return [self._value(kind, depth) for _ in range(size)]

    def _spend(self, values: int) -> None:
        self._budget -= values
        if self._budget < 0:
            raise FormatError("its header holds too much")

    def _byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def _bytes(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise FormatError("it ends early")
        return self.data[start : self.position]

    def _varint(self) -> int:
        data, position = self.data, self.position
        value = data[position] & 127
        shift = 7
        while data[position] > 127:
            position += 1
            value |= (data[position] & 127) << shift
            shift += 7
            if shift > 70:
                raise FormatError("its header is garbled")
        self.position = position + 1
        return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
