"""Aliases: one name, one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runvault.archive.changing import annotations_at, edit_of
from runvault.archive.compose import created_at_text
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.model.ids import RunId, check_alias
from runvault.model.records import ANNOTATIONS
from runvault.stores.git.edits import Edit

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip


def alias_run(stores: Stores, name: str, run: RunId, provenance: Provenance) -> str | None:
    """Call `run` `name`, and take the name from the run that had it; None where it was so already.

    Raises
    ------
    ConfigError
        The name would be read as an id, as ``latest``, or as part of a reference.
    """
    check_alias(name)
    holder = stores.catalog().by_alias(stores.repository.ref, name)
    others = [RunId.parse(holder)] if holder and holder != str(run) else []

    def plan(tip: Tip) -> Edit | None:
        at = created_at_text(provenance.now, tip.time)
        files: list[tuple[str, bytes | None]] = []
        for target, alias in [*((other, None) for other in others), (run, name)]:
            before = annotations_at(tip, target)
            after = before.with_alias(alias, at=at, by=provenance.author)
            if after != before:
                files.append((f"{target.path}/{ANNOTATIONS}", after.to_bytes()))
        return (
            edit_of(files, f"Alias {name} for {run.short}", [run, *others], "annotate", provenance) if files else None
        )

    return stores.update(plan)
