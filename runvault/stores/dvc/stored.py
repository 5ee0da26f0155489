"""What the store says of an object it keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """One object of the DVC cache.

    Parameters
    ----------
    md5 : str
        Its name in DVC, with ``.dir`` behind it where it lists a folder.
    sha256 : str
        Of the same bytes: what reading compares, since MD5 protects against accidents only.
    size : int
        In bytes; of a folder, of all its files together, as DVC counts.
    nfiles : int or None
        How many files a folder holds; None for a file.
    """

    md5: str
    sha256: str
    size: int
    nfiles: int | None = None


def describe(data: bytes) -> Stored:
    """Return what `data` is called as an object.

    Examples
    --------
    >>> describe(b"").md5
    'd41d8cd98f00b204e9800998ecf8427e'
    """
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Stored(md5, hashlib.sha256(data).hexdigest(), len(data))
