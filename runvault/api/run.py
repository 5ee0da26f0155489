"""A saved run, as users hold it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.model.records import STATS

if TYPE_CHECKING:
    import pandas as pd

    from runvault.archive.reading import Located
    from runvault.archive.stores import Stores

Json: TypeAlias = Any


class Run:
    """One revision of a saved run.

    The members of its JSON are attributes: ``run.id``, ``run.params``, ``run.metrics["sharpe_ratio"]``, …
    Tables and the portfolio are read when asked for, each with its hash checked; no pickle is ever read.
    """

    def __init__(self, stores: Stores, located: Located, members: dict[str, Json]) -> None:
        self._stores = stores
        self.located = located
        self._members = members

    def __getattr__(self, name: str) -> Json:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._members[name]
        except KeyError:
            raise AttributeError(f"a run has no {name!r}; it has {', '.join(self._members)}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._members})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and (self.id, self.commit) == (other.id, other.commit)

    def __hash__(self) -> int:
        return hash((self.id, self.commit))

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<Run {self.short_id} {self.strategy} {self.params}>"

    def _repr_html_(self) -> str:
        from runvault.views.html import run_html

        return run_html(self._members)

    def to_dict(self) -> dict[str, Json]:
        """Return the run as JSON."""
        return dict(self._members)

    def file(self, name: str) -> bytes:
        """Return one file of the run as it is stored, such as ``manifest.json`` or ``orders.parquet``."""
        from runvault.archive.reading import read_run_file

        return read_run_file(self._stores, self.located, name)

    @cached_property
    def manifest(self) -> dict[str, Json]:
        """The whole manifest, as plain values."""
        from runvault.archive.reading import read_manifest

        return read_manifest(self._stores, self.located)

    @cached_property
    def environment(self) -> dict[str, Json]:
        """What the run was computed with: `python`, `platform`, `packages`, `backend`; empty where it is not known."""
        return self._surroundings[0]

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader of the numbers should know."""
        return self._surroundings[1]

    @cached_property
    def _surroundings(self) -> tuple[dict[str, Json], list[str]]:
        from runvault.archive.reading import read_surroundings

        return read_surroundings(self._stores, self.located)

    @cached_property
    def replays(self) -> list[dict[str, Json]]:
        """The ledger: every kept replay, oldest first, with `at`, `by`, `code`, `environment` and `verdict`."""
        commit = self.located.commit or self._stores.require_tip()
        content = self._stores.reader.read_file(commit, f"{self.located.id.path}/annotations.json") or b""
        if b'"verdict"' not in content:  # most runs: no model of annotations is imported for them
            return []
        from runvault.model.annotations import Annotations

        found: list[dict[str, Json]] = Annotations.from_bytes(content).to_dict()["replays"]
        return found

    def stats(self) -> pd.Series[Any]:
        """Return the statistics, equal to ``pf.stats()`` to the last bit, in the engine's own names and units.

        Returns
        -------
        pd.Series
            Index: the engine's labels. Undefined is NaN or NaT, as in the engine.
        """
        from runvault.archive.reading import read_run_file
        from runvault.engines.vectorbt.statistics import statistics_to_series, table_to_statistics
        from runvault.stores.tables import read_table

        content = read_run_file(self._stores, self.located, STATS)
        return statistics_to_series(table_to_statistics(read_table(content, "stats")))

    def equity(self) -> pd.DataFrame:
        """Return the equity curve.

        Returns
        -------
        pd.DataFrame, a row a bar and column
            ``time``, ``column``, ``value`` and ``cash`` in the account currency at each bar's close, ``benchmark`` (the
            same money bought and held).
        """
        from runvault.archive.curves import equity_of
        from runvault.views.frames import to_frame

        return to_frame(equity_of(self._stores, self.manifest))

    def trades(self) -> pd.DataFrame:
        """Return the trades, a row a trade from entry to exit, open trades included (``status``)."""
        from runvault.archive.curves import trades_of
        from runvault.views.frames import to_frame

        return to_frame(trades_of(self._stores, self.manifest))

    def orders(self) -> pd.DataFrame:
        """Return the filled orders, a row an order."""
        from runvault.archive.curves import orders_of
        from runvault.views.frames import to_frame

        return to_frame(orders_of(self._stores, self.manifest))

    def report(self) -> str:
        """Return a page about the run as HTML that stands alone: curves, metrics, what was asked, code, packages.

        Raises
        ------
        RunvaultError
            plotly, which draws the curves, is not installed.
        """
        import importlib.util

        from runvault.errors import ArtifactMissingError, ConfigError, RunvaultError

        if importlib.util.find_spec("plotly") is None:
            raise RunvaultError("a report needs plotly, which is not installed", hint="pip install 'runvault[report]'")
        from runvault.views.run_page import run_page

        try:
            equity = self.equity()
        except (ArtifactMissingError, ConfigError):
            equity = None
        return run_page(self.to_dict(), self.manifest, equity)

    def portfolio(self, *, pickle: bool = False, trust: str | None = None) -> Any:
        """Return a new ``vectorbt.Portfolio``, equal to the saved one, rebuilt from prices and orders.

        Parameters
        ----------
        pickle : bool
            Load the engine's own dump instead, for a portfolio that cannot be rebuilt. Loading a pickle runs what it
            holds.
        trust : str, optional
            With `pickle`: the SHA-256 of the dump, as ``run.artifacts["portfolio.pkl"]`` gives it. Saying it is your
            word that you know where the file comes from.

        Raises
        ------
        FormatError
            It cannot be rebuilt; the message gives the reason recorded at save.
        ArtifactMissingError
            Its tables are not in the DVC cache.
        UntrustedPickleError
            `pickle` without the right `trust`.
        """
        if pickle:
            return self._unpickled(trust)
        from runvault.archive.curves import portfolio_tables
        from runvault.engines.vectorbt.rebuild import rebuild

        return rebuild(portfolio_tables(self._stores, self.manifest))

    def _unpickled(self, trust: str | None) -> Any:
        from runvault.engines.vectorbt.pickles import load_pickle
        from runvault.errors import UntrustedPickleError

        content = self.file("portfolio.pkl")
        entry = self.manifest["artifacts"]["portfolio.pkl"]
        if trust != entry["sha256"]:
            raise UntrustedPickleError(
                f"portfolio.pkl of run {self.short_id} would have to be unpickled, which runs what it holds",
                hint=f"if you trust its author, say trust={entry['sha256']!r}",
            )
        portfolio = load_pickle(content)
        return portfolio if entry.get("column") is None else portfolio.iloc[entry["column"]]
