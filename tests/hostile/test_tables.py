"""Parquet files made to hurt: refused or read, in bounded memory and time, and never a crash."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from machine import full_counts

from runvault.errors import FormatError
from runvault.model.table import Table
from runvault.stores.tables import read_table, write_table

CHILD = Path(__file__).with_name("parquet_child.py")
SECONDS = 5


def read_apart(paths: Iterable[Path], kind: str, checksums: str = "checked") -> dict[str, str]:
    """Read files in a child process; return what became of each, by file name."""
    names = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(
        [sys.executable, str(CHILD), kind, str(SECONDS), checksums], input=names, capture_output=True, text=True
    )
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert done.returncode == 0, f"after {len(told)} files: {done.returncode} {done.stderr[-2000:]}"
    return told


# --- Files built by hand: a footer in Thrift's compact protocol says anything one likes


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def zigzag(number: int) -> bytes:
    return varint(number << 1 ^ number >> 63)


def element(name: bytes, children: int = 0) -> bytes:
    if children:
        return b"\x48" + varint(len(name)) + name + b"\x15" + zigzag(children) + b"\0"
    return b"\x15" + zigzag(1) + b"\x25" + zigzag(1) + b"\x18" + varint(len(name)) + name + b"\0"


def parquet(elements: list[bytes], rows: int = 0, groups: bytes = b"\x0c") -> bytes:
    count = len(elements)
    head = bytes([count << 4 | 12]) if count < 15 else b"\xfc" + varint(count)
    footer = b"\x15\x04\x19" + head + b"".join(elements) + b"\x16" + zigzag(rows) + b"\x19" + groups + b"\0"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def nested(depth: int) -> bytes:
    return parquet([element(b"root", 1), *[element(b"a", 1)] * depth, element(b"x")])


def many_columns(count: int) -> bytes:
    return parquet([element(b"root", count), *[element(b"c%d" % i) for i in range(count)]])


def foot(footer: bytes) -> bytes:
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


# --- Files that pyarrow itself writes


def written(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **{"compression": "zstd", "write_page_checksum": True, **options})
    return sink.getvalue()


def rows_from_nothing(times: int = 1000) -> bytes:
    """Return 10^9 rows in a few kilobytes: row groups that all point to one run-length encoded page."""
    data = written({"column": pa.array(np.zeros(1_000_000, np.int64))}, row_group_size=1_000_000)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    merged = pq.ParquetFile(io.BytesIO(data)).metadata
    for _ in range(times - 1):
        merged.append_row_groups(metadata)
    sink = io.BytesIO()
    merged.write_metadata_file(sink)
    return data[: -8 - int.from_bytes(data[-8:-4], "little")] + sink.getvalue()[4:]


def with_arrow_schema(text: bytes) -> bytes:
    table = pa.table({"a": pa.array([1, 2])}).replace_schema_metadata({b"ARROW:schema": text})
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, table.schema, store_schema=False, write_page_checksum=True, compression="zstd"
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({b"ARROW:schema": text})
    return sink.getvalue()


ONE_COLUMN = write_table(Table({"a": np.arange(5)}))
HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "only magic": lambda: b"PAR1",
    "magic twice": lambda: b"PAR1" + b"\0" * 4 + b"PAR1",
    "encrypted": lambda: b"PARE" + ONE_COLUMN[4:-4] + b"PARE",
    "footer longer than the file": lambda: ONE_COLUMN[:-8] + b"\xff\xff\xff\x7fPAR1",
    "negative footer": lambda: ONE_COLUMN[:-8] + b"\xff\xff\xff\xffPAR1",
    "not Parquet": lambda: b"PAR1" + bytes(range(256)) * 40 + b"\x10\0\0\0PAR1",
    "nested 500 deep": lambda: nested(500),
    "nested 200,000 deep": lambda: nested(200_000),
    "100,000 columns": lambda: many_columns(100_000),
    "two columns of one name": lambda: parquet([element(b"root", 2), element(b"a"), element(b"a")]),
    "a root that counts wrong": lambda: parquet([element(b"root", 3), element(b"a")]),
    "10^18 rows and no group": lambda: parquet([element(b"root", 1), element(b"a")], 10**18),
    "negative rows": lambda: parquet([element(b"root", 1), element(b"a")], -5),
    "a list of 2^60": lambda: foot(b"\x19\xfc" + varint(2**60)),
    "a map of 2^60": lambda: foot(b"\x1b" + varint(2**60) + b"\x55"),
    "text of 2^60": lambda: foot(b"\x18" + varint(2**60)),
    "lists in lists": lambda: foot(b"\x19" + b"\x19" * 100_000),
    "structures in structures": lambda: foot(b"\x1c" * 1_000_000),
    "an endless number": lambda: foot(b"\x16" + b"\xff" * 100),
    "10^9 rows in a kilobyte": rows_from_nothing,
    "a page of 40 MB in 2 KB": lambda: written({"a": ["x" * 40_000_000]}, use_dictionary=False),
    "words of a megabyte": lambda: written({"a": ["x" * 1_000_000] * 100}),
    "a label of 5,000 characters": lambda: written({"a": ["x" * 5000]}),
    "snappy": lambda: written({"a": [1]}, compression="snappy"),
    "gzip": lambda: written({"a": [1]}, compression="gzip"),
    "no checksum": lambda: written({"a": [1]}, write_page_checksum=False),
    "a list": lambda: written({"a": [[1, 2], [3]]}),
    "a structure": lambda: written({"a": [{"b": 1}]}),
    "a map": lambda: written({"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}),
    "a decimal": lambda: written({"a": pa.array([1], pa.decimal128(38, 2))}),
    "bytes": lambda: written({"a": [b"\xff\xfe"]}),
    "fixed bytes": lambda: written({"a": pa.array([b"1234"], pa.binary(4))}),
    "a duration": lambda: written({"a": pa.array([1], pa.duration("ns"))}),
    "a date": lambda: written({"a": pa.array([1], pa.date32())}),
    "a time of day": lambda: written({"a": pa.array([1], pa.time64("ns"))}),
    "nothing but null": lambda: written({"a": pa.nulls(3)}),
    "a null number": lambda: written({"a": [1, None]}),
    "an extension type": lambda: written(
        {"a": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))}
    ),
    "a tensor": lambda: written(
        {
            "a": pa.ExtensionArray.from_storage(
                pa.fixed_shape_tensor(pa.int8(), [1]), pa.array([[1]], pa.list_(pa.int8(), 1))
            )
        }
    ),
    "a time zone that is a path": lambda: written({"a": pa.array([1], pa.timestamp("ns", "../../etc/passwd"))}),
    "no Arrow schema": lambda: with_arrow_schema(b"/////+not base64 of anything"),
    "an Arrow schema cut short": lambda: with_arrow_schema(b"/////3gAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAM"),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("hostile")
    paths = []
    for number, make in enumerate(HOSTILE.values()):
        paths.append(folder / str(number))
        paths[-1].write_bytes(make())
    return read_apart(paths, "other")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str, verdicts: dict[str, str]) -> None:
    assert verdicts[str(list(HOSTILE).index(name))].startswith("refused: other.parquet: ")


def test_ten_to_the_ninth_rows_are_refused_for_what_they_claim() -> None:
    data = rows_from_nothing()
    assert len(data) < 300_000
    with pytest.raises(FormatError, match="1000000000 rows of 1 columns do not fit a file of"):
        read_table(data, "other")


def test_a_file_cut_anywhere_is_refused() -> None:
    data = write_table(Table({"a": np.arange(5), "s": np.array(["x"] * 5, object)}))
    for end in range(len(data)):
        with pytest.raises(FormatError):
            read_table(data[:end], "other")


# --- Damage and mutations


def sample() -> Table:
    rng = np.random.default_rng(7)
    n = 400
    bar = np.arange(n)
    return Table(
        {
            "id": bar,
            "column": np.repeat(np.arange(4), n // 4),
            "bar": bar % 100,
            "time": np.datetime64("2020-01-01", "ns") + bar * np.timedelta64(1, "h"),
            "size": rng.random(n) + 0.5,
            "price": rng.random(n) + 50,
            "fees": rng.random(n),
            "side": bar % 2,
            "label": np.array([f"order {i % 9}" for i in range(n)], object),
        },
        {"time": "Asia/Kolkata"},
    )


def equal(a: Table, b: Table) -> bool:
    return list(a.columns) == list(b.columns) and all(
        values.dtype == b.columns[name].dtype and np.array_equal(values, b.columns[name])
        for name, values in a.columns.items()
    )


def test_a_flipped_bit_in_a_page_is_never_read_as_other_data() -> None:
    table = sample()
    data = write_table(table)
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    random_ = random.Random(42)
    different = []
    for _ in range(full_counts(1000, 20_000)):
        place, bit = random_.randrange(4, end), random_.randrange(8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        try:
            same = equal(read_table(bytes(flipped), "other"), table)
        except FormatError:
            continue
        if not same:
            different.append((place, bit))
    assert different == []


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    random_ = random.Random(seed)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for _ in range(count):
        mutant = bytearray(data)
        low, high = random_.choice([(4, footer), (footer, len(data) - 8), (4, len(data))])
        for _ in range(random_.choice([1, 1, 2, 5, 20])):
            place = random_.randrange(low, high)
            mutant[place] = random_.choice([0, 1, 0x7F, 0x80, 0xFF, mutant[place] ^ 1 << random_.randrange(8)])
        if random_.random() < 0.2:  # a stretch copied elsewhere, all offsets kept
            size, source, target = (random_.randrange(1, 64), *(random_.randrange(4, len(data) - 72) for _ in "ab"))
            mutant[target : target + size] = mutant[source : source + size]
        yield bytes(mutant)


@pytest.mark.faults
@pytest.mark.parametrize("checksums", ["checked", "forged"])
def test_mutated_files_never_crash_hang_or_fill_memory(tmp_path: Path, checksums: str) -> None:
    count = full_counts(300, 2500)
    paths = []
    sources = [
        write_table(sample()),
        written({name: values for name, values in sample().columns.items() if name != "time"}),
    ]
    for source, data in enumerate(sources):
        for number, mutant in enumerate(mutants(data, count // 2, seed=source)):
            paths.append(tmp_path / f"{source}-{number}")
            paths[-1].write_bytes(mutant)
    told = read_apart(paths, "orders", checksums)
    assert len(told) == len(paths)
    assert any(verdict.startswith("refused") for verdict in told.values())
