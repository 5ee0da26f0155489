"""Tables as Parquet files: written with page checksums, read under caps, values checked before anyone uses them."""

from __future__ import annotations

from runvault.stores.tables.checks import check_values
from runvault.stores.tables.reading import read_table
from runvault.stores.tables.writing import TableWriter, write_table

__all__ = ["TableWriter", "check_values", "read_table", "write_table"]
