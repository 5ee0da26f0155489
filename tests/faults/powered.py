"""A process that saves whole runs, to have its disk cut off. Run as a script: ``powered.py REPO NUMBER``.

After each save it says "ack ID" to somebody on another disk, and writes a note that it does not sync.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from results import make_result

import runvault as rv


def main() -> None:
    place = Path(sys.argv[1])
    vault = rv.open(place)
    for number in itertools.count():
        # A power of two below: to per cent and back is exact.
        saved = vault.save(make_result(number / 1024), strategy=f"cut {sys.argv[2]}", params={"n": number})
        (place / f"unsynced-{sys.argv[2]}-{number}").write_text("not synced")
        print("ack", saved.id, flush=True)


if __name__ == "__main__":
    main()
