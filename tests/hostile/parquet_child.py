"""Read Parquet files in a process of its own, under limits; print what became of each.

Called with the kind of table, the seconds that one file may take, and ``checked`` or ``forged``: a forger makes page
checksums fit, which is as if they were not looked at. File names come on standard input, a line each.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from runvault.errors import FormatError
from runvault.stores.tables import read_table, reading

MAX_ADDRESS_SPACE = 4 << 30  # pyarrow and its allocator reserve far more than they use
MAX_RESIDENT_KB = 1 << 20


def _unchecked(*args: Any, **options: Any) -> pq.ParquetFile:
    return CHECKED(*args, **{**options, "page_checksum_verification": False})


CHECKED = pq.ParquetFile


def main(kind: str, seconds: str, checksums: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    if checksums == "forged":
        reading.pq.ParquetFile = _unchecked
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        signal.alarm(int(seconds))  # kills
        try:
            read_table(path.read_bytes(), kind)
            print(path.name, "read", flush=True)
        except FormatError as error:
            print(path.name, f"refused: {error}".replace("\n", " "), flush=True)
        if _peak_kb() > MAX_RESIDENT_KB:
            sys.exit(f"{path}: more than a gigabyte")


def _peak_kb() -> int:
    """Return the most memory that this process had; getrusage counts what its parent had as well."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    main(*sys.argv[1:])
