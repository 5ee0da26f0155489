"""The catalog: a disposable SQLite projection of archive branches, for listing, filtering, sorting and search.

Nothing is kept here alone. A file that is missing, damaged or of another version is made anew from the archive, and
nobody has to ask for it.
"""

from __future__ import annotations

from runvault.stores.catalog.catalog import Catalog

__all__ = ["Catalog"]
