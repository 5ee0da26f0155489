"""Which runs a policy lets go, and what taking runs off the tip will free."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.archive.changing import remove_unchanged
from runvault.archive.gate import Gate
from runvault.errors import ConfigError, RunvaultError, did_you_mean
from runvault.integrity.collecting import Removal
from runvault.model.ids import RunId
from runvault.model.metrics import sort_order
from runvault.model.query import Selection
from runvault.stores.dvc import parse_pointer

if TYPE_CHECKING:
    from runvault.archive.request import Provenance
    from runvault.archive.stores import Stores

Json: TypeAlias = Any
Members: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True)
class Policy:
    """What is kept of each strategy; a run goes where nothing keeps it.

    Parameters
    ----------
    keep_last : int or None
        The newest runs.
    keep_best : int or None
        The best runs by `metric`; one that is undefined is never among them.
    metric : str
        Its direction follows the registry.
    keep_tags : collection of str
        Runs with any of these tags.
    older_than : str or None
        A time; runs that were saved since are kept.
    """

    keep_last: int | None = None
    keep_best: int | None = None
    metric: str = "sharpe_ratio"
    keep_tags: Collection[str] = ()
    older_than: str | None = None

    def __post_init__(self) -> None:
        if self.keep_last is None and self.keep_best is None and self.older_than is None and not self.keep_tags:
            hint = "say --keep-last, --keep-best, --keep-tag or --older-than"
            raise ConfigError("a policy that keeps nothing would remove every run", hint)
        if min(self.keep_last or 0, self.keep_best or 0) < 0:
            raise ConfigError("no less than no run can be kept")


def prunable(stores: Stores, policy: Policy) -> list[RunId]:
    """Return the runs at the tip that `policy` lets go, oldest first.

    Raises
    ------
    ConfigError
        No run has a metric of that name; or tags alone are to keep runs, and no run has one of them.
    """
    catalog, ref = stores.catalog(), stores.repository.ref
    if policy.keep_best is not None or policy.metric != Policy.metric:  # what somebody said is looked at, used or not
        catalog.require_name(ref, policy.metric)
    strategies: dict[str, list[Members]] = defaultdict(list)
    for run in catalog.select(ref, Selection()):  # newest first
        strategies[run["strategy"]].append({name: run[name] for name in ("id", "created_at", "tags", "metrics")})
    _refuse_unknown_tags(policy, strategies)
    gone = [run for runs in strategies.values() for run in _let_go(runs, policy)]
    return [RunId.parse(run["id"]) for run in sorted(gone, key=lambda run: (run["created_at"], run["id"]))]


def _refuse_unknown_tags(policy: Policy, strategies: Mapping[str, Sequence[Members]]) -> None:
    """Raise ConfigError where tags alone are to keep runs and no run has one: misspelt, it would remove everything."""
    if not policy.keep_tags or (policy.keep_last, policy.keep_best, policy.older_than) != (None, None, None):
        return
    known = {tag for runs in strategies.values() for run in runs for tag in run["tags"]}
    if strategies and known.isdisjoint(policy.keep_tags):
        asked = " or ".join(map(ascii, policy.keep_tags))
        near = [tag for each in policy.keep_tags for tag in difflib.get_close_matches(each, known, n=3)]
        hint = did_you_mean(near, "'runvault list' shows the tags that runs have")
        raise ConfigError(f"no run has the tag {asked}: nothing would be kept", hint)


def _let_go(runs: Sequence[Members], policy: Policy) -> list[Members]:
    """Return which runs of one strategy go; they come newest first."""
    kept = {run["id"] for run in runs[: policy.keep_last or 0]}
    if policy.keep_best is not None:
        descending = sort_order(policy.metric).startswith("-")
        known = [run for run in runs if run["metrics"].get(policy.metric) is not None]
        ranked = sorted(known, key=lambda run: run["metrics"][policy.metric], reverse=descending)
        kept |= {run["id"] for run in ranked[: policy.keep_best]}
    kept |= {run["id"] for run in runs if not set(policy.keep_tags).isdisjoint(run["tags"])}
    if policy.older_than is not None:
        kept |= {run["id"] for run in runs if run["created_at"] >= policy.older_than}
    return [run for run in runs if run["id"] not in kept]


def prune(stores: Stores, policy: Policy, provenance: Provenance, *, dry_run: bool = False) -> Removal:
    """Take the runs that `policy` lets go off the tip, in one commit; history keeps them, and `restore` brings them.

    Runs that somebody tagged, or changed otherwise, between the choice and the commit stay.
    """
    tip = stores.require_tip()
    runs = prunable(stores, policy)
    removed = runs if dry_run else remove_unchanged(stores, runs, tip, provenance)
    return Removal([str(run) for run in removed], space_of(stores, removed, at=tip))


def space_of(stores: Stores, runs: Collection[RunId], at: str | None = None) -> int:
    """Return the size of the artifacts that these runs alone need at the tip, in bytes: what `gc` can free later.

    A table that a sweep shares counts once the last of its runs goes. Nothing but pointers is read.
    """
    if not runs:
        return 0
    gone = {run.path for run in runs}
    mine: dict[str, str] = {}
    others: set[str] = set()
    for path, blob in Gate(stores.reader).changed_files(None, at or stores.require_tip()):
        if path.endswith(".dvc") and blob:
            if path.rpartition("/")[0] in gone:
                mine[blob] = path.rpartition("/")[2].removesuffix(".dvc")
            else:
                others.add(blob)
    sizes: dict[str, int] = {}
    for blob, content in stores.reader.read_blobs([blob for blob in mine if blob not in others]):
        try:
            pointer = parse_pointer(content, mine[blob])
        except RunvaultError:
            continue  # of a damaged run nothing is known
        sizes[pointer.md5] = pointer.size
    return sum(sizes.values())
