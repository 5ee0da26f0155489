"""Contents of blobs in the order in which they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator


class Contents:
    """Contents as they come, each of them taken in the order asked; what is asked for again is remembered.

    Parameters
    ----------
    contents : iterator of (str, bytes)
        Each blob once, in the order of its first asking; what is not there is left out.
    asked : Counter
        How often each blob will be taken.
    """

    def __init__(self, contents: Iterator[tuple[str, bytes]], asked: Counter[str]) -> None:
        self._contents = contents
        self._asked = asked
        self._shared: dict[str, bytes | None] = {}
        self._following = next(contents, None)

    def take(self, blob: str) -> bytes | None:
        """Return the content of a blob, None where it is not there."""
        if blob in self._shared:
            return self._shared[blob]
        content = None
        if self._following is not None and self._following[0] == blob:  # what is not there is left out of the answers
            content, self._following = self._following[1], next(self._contents, None)
        if self._asked[blob] > 1:
            self._shared[blob] = content
        return content
