"""What all runs stand on: Git's own files, the history behind the tip, and the catalog."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from runvault.integrity.catalog import Verdict, catalog_path
from runvault.stores.git.damage import Damage
from runvault.stores.git.refs import PACKED, ref_damage
from runvault.stores.git.soundness import file_damage, history_walk

if TYPE_CHECKING:
    from runvault.archive.stores import Stores
    from runvault.integrity.findings import Report

CATALOG = "runvault/catalog.db"
CODE = "refs/runvault/code/"
REPAIR = "repair it from another copy: runvault verify --repair"
MEND = "mend it: runvault verify --repair, or by hand: each line is an id and a ref, '^' and an id, or '#' and words"
REBUILD = "make it anew: runvault reindex"


def check_refs(stores: Stores, report: Report) -> list[Damage]:
    """Report the refs that are not as git wrote them, and return them."""
    found = ref_damage(stores.repository)
    for damage in found:
        report.found("", damage.path, damage.problem, MEND if damage.path == PACKED else REPAIR)
    report.checked["refs"] += 1 + (stores.repository.common_dir / PACKED).exists()
    return found


def history_of(stores: Stores, tip: str) -> AbstractContextManager[Callable[[], list[Damage]]]:
    """Let git walk through the history of the archive's tip, and of the code that its runs name."""
    code = stores.repository.git("for-each-ref", "--format=%(objectname)", CODE, ok=(0, 1, 128)).stdout.decode("ascii")
    return history_walk(stores.repository, [tip, *dict.fromkeys(code.split())])


def check_git(
    stores: Stores, history: Callable[[], list[Damage]], report: Report, told: Collection[str]
) -> list[Damage]:
    """Report damaged files and missing objects, but those objects that were `told` already; return all of them."""
    files = list(file_damage(stores.repository))
    known = {damage.object for damage in files}
    behind = [each for each in history() if each.object not in known]
    for damage in (*files, *behind):
        if damage.object is None or damage.object not in told:
            report.found("", damage.path, damage.problem, REPAIR)
    return files + behind


def check_catalog(stores: Stores, compared: Callable[[], Verdict], report: Report) -> bool:
    """Report a catalog that says other than the archive; return whether it does."""
    verdict = compared()
    if verdict.failure is not None:  # what the archive itself is damaged by is a finding already
        if not report.findings:
            report.found("", CATALOG, f"cannot be compared: {verdict.failure}", verdict.hint)
        return False
    report.checked["catalogs"] += catalog_path(stores.repository).exists()
    if verdict.problem is not None:
        report.found("", CATALOG, f"not what the archive says: {verdict.problem}", REBUILD)
    return verdict.problem is not None
