"""The end of a process that is ours: Python takes an engine's modules apart for a second, and nobody needs it."""

from __future__ import annotations

import atexit
import gc
import io
from contextlib import suppress


def end_quickly() -> None:
    """Let this process end without looking for garbage, once it has done all else that it does at its end.

    Modules are still taken apart, and what only they hold; objects that hold each other are left to the system, but
    for files: an entry that closes none finds its lines in them all the same. Not for a process that is the caller's.
    """
    atexit.register(_leave_garbage)  # called after those that are registered later


_WRITTEN = {io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom}  # a set: half a million objects are asked


def _leave_garbage() -> None:
    for each in gc.get_objects():
        if type(each) in _WRITTEN:
            with suppress(OSError, ValueError):
                each.flush()
    gc.freeze()
