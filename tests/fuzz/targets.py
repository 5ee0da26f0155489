"""What is fuzzed: bytes of anybody in, a value or one of our errors out. Anything else is a finding."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping

import numpy as np

from runvault.errors import RunvaultError
from runvault.model.annotations import Annotations
from runvault.model.manifest import Manifest, check_address
from runvault.model.query import parse_condition
from runvault.model.table import Table
from runvault.stores.catalog.project import project
from runvault.stores.dvc import Stored, parse_pointer, pointer_bytes
from runvault.stores.tables import read_table, write_table
from runvault.views.markdown import code
from runvault.views.markup import escape

from .strategies import ANNOTATIONS, by_hand, dumped

NAME = "orders.parquet"


def manifest(data: bytes) -> None:
    """Read a manifest both ways: what a listing takes, the typed reader may refuse; never the address of another."""
    for read in (_typed, lambda content: project(_folder(content), content, None, ())):
        try:
            read(data)
        except RunvaultError as error:
            _check_message(error)


def _check_message(error: RunvaultError) -> None:
    """Check that an error is one line, and moves no cursor."""
    assert error.message.isprintable(), error.message


def _typed(data: bytes) -> None:
    found = Manifest.from_bytes(data)
    check_address(found)
    assert Manifest.from_bytes(found.to_bytes()) == found


def _folder(data: bytes) -> str:
    match = re.search(rb'"id": "([0-9a-f]{64}-[0-9]+)"', data)
    return match[1].decode() if match else "0" * 64 + "-0"


def annotations(data: bytes) -> None:
    """Read annotations; what is read is written and read again as the same."""
    try:
        found = Annotations.from_bytes(data)
    except RunvaultError:
        return
    assert Annotations.from_bytes(found.to_bytes()) == found


def pointer(data: bytes) -> None:
    """Read a pointer: one that is taken names our file and an object, nothing else."""
    try:
        found = parse_pointer(data, NAME)
    except RunvaultError:
        return
    assert re.fullmatch(r"[0-9a-f]{32}", found.md5)
    assert found.size is None or found.size >= 0


def condition(data: bytes) -> None:
    """Read a filter."""
    try:
        parse_condition(data.decode("utf-8", "surrogateescape"))
    except RunvaultError as error:
        _check_message(error)


def table(data: bytes) -> None:
    """Read a table: the first byte says of which kind, and whether the rest is a file or changes to a sound one."""
    if not data:
        return
    kind = KINDS[data[0] % len(KINDS)]
    content = data[1:] if data[0] & 0x80 else _changed(SOUND[kind], data[1:])
    try:
        read_table(content, kind)
    except RunvaultError:
        return


def _changed(sound: bytes, changes: bytes) -> bytes:
    """Return a file with bytes replaced: two say where, one by what."""
    content = bytearray(sound)
    for place, value in struct.iter_unpack("<HB", changes[: len(changes) // 3 * 3]):
        content[place % len(content)] = value
    return bytes(content)


def markup(data: bytes) -> None:
    """Show a text in Markdown and in HTML: none of its signs is left that either could read."""
    text = data.decode("utf-8", "surrogateescape")
    shown = code(text)
    inside = shown.removeprefix("<code>").removesuffix("</code>")
    assert not re.search(r"[<>@`\\_*~!$|\[\]\n\r\x1b\u202e]|&(?!#[0-9]+;)|:|\.[A-Za-z]", inside), shown
    assert not re.search(r"[<>\"'\x1b]", escape(text))


KINDS = ("orders", "prices", "equity", "stats")
TIMES = np.arange(3).astype("datetime64[ns]")
SOUND: Mapping[str, bytes] = {
    "orders": write_table(
        Table({"id": np.arange(3), "column": np.zeros(3, np.int64), "bar": np.arange(3), "time": TIMES,
               "size": np.ones(3), "price": np.ones(3), "fees": np.zeros(3), "side": np.zeros(3, np.int64)})
    ),
    "prices": write_table(Table({"index": TIMES, "price_0": np.ones(3)})),
    "equity": write_table(
        Table({"time": TIMES, "column": np.zeros(3, np.int64), "value": np.ones(3), "cash": np.ones(3),
               "benchmark": np.ones(3)})
    ),
    "stats": write_table(Table({"name": np.array(["a"], object), "value": np.ones(1)})),
}  # fmt: skip

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "manifest": manifest,
    "annotations": annotations,
    "pointer": pointer,
    "filter": condition,
    "table": table,
    "markup": markup,
}

CONDITIONS = (
    b"sharpe_ratio > 1 and params.fast < 20 and 'golden' in tags",
    b"not (symbol == 'GOOG' or seed in [1, 2])",
    b"params['x'].y is not None",
    b"-1 < total_return <= 1e3",
    b"(" * 300 + b"a" + b")" * 300,
    b"not " * 500 + b"a",
    b"__import__('os').system('touch pwned')",
    b"'\\ud800' == note",
)


def seeds(target: str) -> list[bytes]:
    """Return what to begin with."""
    if target == "manifest":
        return by_hand()
    if target == "annotations":
        return [dumped(ANNOTATIONS), b"{}", b"[]", b'{"tags": {"a": null}}']
    if target == "pointer":
        good = pointer_bytes(NAME, Stored("0123456789abcdef" * 2, "", 7))
        return [good, good + b"wdir: ..\n", b"a: &a [*a]\n", b"!!python/object/apply:os.system ['true']\n"]
    if target == "filter":
        return list(CONDITIONS)
    if target == "table":
        return [bytes([kind]) + b"\x10\0\xff" for kind in range(len(KINDS))] + [
            b"\x80" + each for each in SOUND.values()
        ]
    return [b"@ada <b> [x](y) `z` | \x1b[31m \xff", b"www.x.y https://z"]
