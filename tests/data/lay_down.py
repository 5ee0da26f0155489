"""Lay down an archive of this generation of packages: ``python tests/data/lay_down.py tests/data/vectorbt-X.Y.Z``."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

import runvault as rv


def lay_down(target: Path) -> None:
    """Write ``archive.bundle``, ``objects/`` and ``numbers.json`` of two runs into a folder."""
    platform.release = lambda: "6.1.0"  # whose machine it was is nobody's business
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", folder], check=True)
        for name, value in (("name", "Ada Quant"), ("email", "ada@example.org")):
            subprocess.run(["git", "config", f"user.{name}", value], cwd=folder, check=True)
        vault = rv.init(folder)
        index = pd.date_range("2020-01-01", periods=120, freq="D", tz="UTC")
        close = pd.DataFrame({"A": 100 + np.arange(120) % 17 - np.arange(120) % 5, "B": 50.0 + np.arange(120) % 11})
        close = close.set_index(index).astype(float)
        above = close > close.rolling(5).mean()
        single = vbt.Portfolio.from_signals(close["A"], above["A"], ~above["A"], fees=0.001, freq="1D")
        group = vbt.Portfolio.from_signals(close, above, ~above, group_by=True, cash_sharing=True, freq="1D")
        runs = {}
        for name, portfolio in (("single", single), ("group", group)):
            run = vault.save(portfolio, strategy=name, params={"window": 5}, tags=["golden"], note=f"{name} é").run
            runs[name] = {
                "id": run.id,
                "results_digest": run.manifest["results_digest"],
                "metrics": dict(run.metrics),
                **numbers(portfolio),
            }
        target.mkdir(parents=True, exist_ok=True)
        bundle = str((target / "archive.bundle").absolute())
        subprocess.run(["git", "bundle", "create", "--quiet", bundle, "runvault"], cwd=folder, check=True)
        shutil.copytree(Path(folder, ".dvc/cache/files/md5"), target / "objects", dirs_exist_ok=True)
        packages = {"vectorbt": vbt.__version__, "pandas": pd.__version__, "numpy": np.__version__}
        (target / "numbers.json").write_text(json.dumps({"packages": packages, "runs": runs}, sort_keys=True) + "\n")


def numbers(portfolio: vbt.Portfolio) -> dict[str, Any]:
    """Return what the engine itself says of a portfolio: nothing of it has been through an archive."""
    return {
        "stats": {label: plain(value) for label, value in portfolio.stats().items()},
        "equity": [float(value) for value in portfolio.value()],
        "orders": columns(portfolio.orders.records),
        "trades": columns(portfolio.trades.records),
    }


def plain(value: Any) -> float | str | None:
    """Return a statistic as JSON: None where it is undefined, a time or a duration as its text."""
    if pd.isna(value):
        return None
    return str(value) if isinstance(value, pd.Timestamp | pd.Timedelta) else float(value)


def columns(records: pd.DataFrame) -> dict[str, list[float]]:
    """Return the engine's records, a list a field."""
    return {name: [value.item() for value in records[name].to_numpy()] for name in records.columns}


if __name__ == "__main__":
    lay_down(Path(sys.argv[1]))
