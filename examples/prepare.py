"""Write the closes that the backtests use as a table of text: a row a day, a column a symbol."""

from __future__ import annotations

import pandas as pd
from common import BUILD, PRICES, read_params


def main() -> None:
    """Read the prices of all symbols and write one column of them."""
    params = read_params()["prices"]
    rows = pd.read_parquet(params["file"], columns=["ticker", "date", params["column"]])
    BUILD.mkdir(exist_ok=True)
    # CSV, because DVC and the runs' addresses go by the file's bytes, and those of Parquet change with its writer.
    rows.pivot(index="date", columns="ticker", values=params["column"]).to_csv(PRICES, lineterminator="\n")


if __name__ == "__main__":
    main()
