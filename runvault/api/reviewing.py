"""A review, as users hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault import __version__
from runvault.errors import RunvaultError
from runvault.sharing.review import Review
from runvault.sharing.review import review as review_span
from runvault.sharing.span import resolve_span
from runvault.views.review_markdown import review_markdown

if TYPE_CHECKING:
    from runvault.api.vault import Vault
    from runvault.archive.stores import Stores
    from runvault.views.figures import Curve

Json: TypeAlias = Any

CURVES = 12  # on one page


class ReviewOf(Review):
    """What one state of an archive adds to another; it prints as Markdown."""

    stores: Stores

    def markdown(self) -> str:
        """Return it for a comment on a pull request: at most 65,536 bytes, and inert whatever the names in it are."""
        return review_markdown(self.to_dict(), f"runvault {__version__}")

    def html(self) -> str:
        """Return it as a page that stands alone, with curves of the new runs whose artifacts are here.

        Raises
        ------
        RunvaultError
            plotly, which draws them, is not installed.
        """
        import importlib.util

        if importlib.util.find_spec("plotly") is None:
            raise RunvaultError("a page needs plotly, which is not installed", hint="pip install 'runvault[report]'")
        from runvault.views.review_page import review_page

        document = self.to_dict()
        curves = self._curves(document)
        without = len(document["new"]) - len(curves)
        return review_page(document, curves, [each.metrics for each in self.others], without=without)

    def _curves(self, document: Mapping[str, Json]) -> list[Curve]:
        """Return the curves of the best new runs, as many as fit; one that is not here or damaged is left out."""
        from runvault.archive.curves import equity_of
        from runvault.views.figures import Curve
        from runvault.views.frames import to_frame

        curves: list[Curve] = []
        for run in sorted(document["new"], key=lambda run: (run["place"] is None, run["place"] or 0)):
            if len(curves) == CURVES:
                break
            try:
                curves.append(Curve(run, to_frame(equity_of(self.stores, self.manifests[run["id"]]))))
            except RunvaultError:
                continue
        return curves

    def __str__(self) -> str:
        return self.markdown()

    def _repr_markdown_(self) -> str:
        return self.markdown()


def review(vault: Vault, span: str, metric: str, rows: int) -> ReviewOf:
    """Return what `Vault.review` does."""
    settings = vault.settings
    found = review_span(
        vault.stores,
        resolve_span(vault.stores, span, settings.remote),
        metric=metric,
        rows=rows,
        periods_per_year=settings.periods_per_year,
    )
    reviewed = ReviewOf(**vars(found))
    object.__setattr__(reviewed, "stores", vault.stores)
    return reviewed
