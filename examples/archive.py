"""Make the archive where there is none, and drop the receipts of runs that it lacks: see dvc.yaml."""

from __future__ import annotations

from pathlib import Path

from common import BUILD, STEPS, read_receipt

import runvault as rv


def main() -> None:
    """Open the archive for the steps that follow."""
    vault = rv.init()
    BUILD.mkdir(exist_ok=True)
    receipts = [path for step in STEPS if (path := BUILD / f"{step}.json").exists()]
    archived = {run.id for run in vault.list()} if receipts else set()
    for path in receipts:
        receipt = read_receipt(path.stem)
        if not archived.issuperset(receipt["runs"]) or not all(map(Path.exists, map(Path, receipt["files"]))):
            print(f"{path}: what it stands for is gone; its step runs again")
            path.unlink()
    (BUILD / "archive.txt").write_text("The archive is open.\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
