"""The DVC store: artifacts in the cache that the repository is configured with, and pointers that plain `dvc` reads."""

from __future__ import annotations

from runvault.stores.dvc.pointers import MAX_POINTER_BYTES, Pointer, parse_pointer, pointer_bytes
from runvault.stores.dvc.setup import init_dvc_files
from runvault.stores.dvc.store import ObjectProblem, ObjectStore
from runvault.stores.dvc.stored import Stored

__all__ = [
    "MAX_POINTER_BYTES",
    "ObjectProblem",
    "ObjectStore",
    "Pointer",
    "Stored",
    "init_dvc_files",
    "parse_pointer",
    "pointer_bytes",
]
