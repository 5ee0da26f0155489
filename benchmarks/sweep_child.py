"""Builds a sweep in a process of its own; then asks for its stats, or saves it: `sweeping.memory` reads the memory."""

from __future__ import annotations

import sys
import uuid

import runvault
from benchmarks.backtests import SETTINGS, sweep

if __name__ == "__main__":
    what, columns = sys.argv[1], int(sys.argv[2])
    pf = sweep(columns)
    if what == "stats":
        pf.stats(agg_func=None)
    else:
        runvault.open().save_sweep(pf, strategy=uuid.uuid4().hex, settings=SETTINGS)
