"""What only a process that is ours does with Python's search for garbage: not at its start, and not at its end.

An engine brings 330,000 objects that stay. To look for garbage among them takes seconds, and finds none.
"""

from __future__ import annotations

import atexit
import gc
import io
from contextlib import suppress


def import_engine() -> None:
    """Import the engine without looking for garbage meanwhile, nor ever after among what is there by then."""
    gc.disable()
    try:
        import runvault.engines.vectorbt.extract  # noqa: F401
    finally:
        gc.enable()
    gc.freeze()


def end_quickly() -> None:
    """Let this process end without looking for garbage, once it has done all else that it does at its end.

    Modules are still taken apart, and what only they hold; objects that hold each other are left to the system, but
    for files: an entry that closes none finds its lines in them all the same.
    """
    atexit.register(_leave_garbage)  # called after those that are registered later


_WRITTEN = {io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom}  # a set: half a million objects are asked


def _leave_garbage() -> None:
    for each in gc.get_objects():
        if type(each) in _WRITTEN:
            with suppress(OSError, ValueError):
                each.flush()
    gc.freeze()
