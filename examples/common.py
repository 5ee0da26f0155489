"""What the steps of the demo share: parameters, prices and receipts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BUILD = Path("build")
PRICES = BUILD / "prices.csv"
METRICS = BUILD / "metrics.json"
CURVES = BUILD / "equity.csv"
PAGE = BUILD / "report.html"
STEPS = ("backtest", "sweep", "report")  # those that leave a receipt


def read_params() -> dict[str, Any]:
    """Return params.yaml."""
    from ruamel.yaml import YAML

    return dict(YAML(typ="safe").load(Path("params.yaml")))


def read_prices() -> Any:
    """Return the prepared prices: a frame, a row a day, a column a symbol."""
    import pandas as pd

    # Without "round_trip" the last bit of a price may differ from what was written.
    prices = pd.read_csv(PRICES, index_col="date", parse_dates=["date"], float_precision="round_trip")
    return prices.rename_axis(columns="symbol")


def write_receipt(step: str, runs: Iterable[str], files: Iterable[Path] = ()) -> None:
    """Write down what a step leaves outside of DVC's sight: runs in the archive, and files."""
    receipt = {"runs": sorted(runs), "files": [path.as_posix() for path in files]}
    (BUILD / f"{step}.json").write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8", newline="\n")


def read_receipt(step: str) -> dict[str, list[str]]:
    """Return the receipt of a step."""
    return dict(json.loads((BUILD / f"{step}.json").read_text(encoding="utf-8")))
