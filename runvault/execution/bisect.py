"""The first commit of the code at which a replay drifts: git's own search, with a replay for each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runvault.archive.reading import Located, read_manifest
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.errors import ConfigError, ReplayError
from runvault.execution.placing import is_at_hand
from runvault.execution.recipe import Recipe
from runvault.execution.replay import Ask, ReplayOutcome, ReplayRequest, replay
from runvault.execution.verdicts import Known, Verdicts
from runvault.model.run_json import code_commit
from runvault.stores.git.bisecting import candidates, choose, is_before

Json: TypeAlias = Any
Provide: TypeAlias = Callable[[], Provenance]
RunAgain: TypeAlias = Callable[[Stores, Located, ReplayRequest, Provide, Ask], ReplayOutcome]

SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class BisectRequest:
    """What a caller says of a search.

    `good` and `bad` name commits of the code. With `metric` a commit is bad where that metric differs by more than
    `tol` from the archived one, or is defined on one side only; without, where the verdict is ``drift``. `timeout_s`
    and `trusted` as for a replay.
    """

    good: str
    bad: str
    metric: str | None = None
    tol: float = 0.0
    timeout_s: float | None = None
    trusted: bool = False


@dataclass(frozen=True)
class Tested:
    """A commit that was judged; `replayed` is False where its verdict was known from an earlier search."""

    commit: str
    verdict: str
    replayed: bool


@dataclass(frozen=True)
class BisectOutcome:
    """The first commit that drifts, and what was judged on the way, in that order."""

    first_drift: str
    tested: Sequence[Tested]

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault bisect --json`` prints."""
        tested = [{"commit": each.commit, "verdict": each.verdict} for each in self.tested]
        return {"first_drift": self.first_drift, "tested": tested}


def bisect(
    stores: Stores,
    located: Located,
    request: BisectRequest,
    provide: Provide,
    ask: Ask,
    run_again: RunAgain = replay,
) -> BisectOutcome:
    """Return the first commit at which the replay of a run drifts.

    The search is that of ``git bisect``, merges and skipped commits included: of n commits behind `bad` and not behind
    `good` about log2(n) are replayed. `good` is not tested: it is the user's word. Neither is `bad`, unless the search
    ends at it with nothing that drifted in between: then one replay says whether there is any drift at all.

    Every verdict is kept at once, so that a search that was broken off goes on where it stood: see `verdicts`.

    Parameters
    ----------
    provide : callable
        Says who asks, when, and in which environment; replays made in an equal one are not made again.
    run_again : callable
        What replays a run in a commit; for tests of the search.

    Raises
    ------
    ReplayError
        A commit is not here; nothing drifts in the range; only commits that cannot run are left, which are named; or
        what `replay` raises, such as for code that is not yours.
    ConfigError
        `good` is not before `bad`, or the run has no such metric.
    """
    manifest = read_manifest(stores, located)
    _check_inputs(stores, manifest)
    _check_metric(manifest, request)
    good, bad = _range(stores, request)
    verdicts = Verdicts(stores, located, manifest, provide)

    def judge(commit: str) -> tuple[Known, bool]:
        known = verdicts.find(commit)
        if known is not None and known.holds_under(request.timeout_s) and _tells(known, request):
            return known, False
        asked = ReplayRequest(at=commit, timeout_s=request.timeout_s, trusted=request.trusted, pickles="none")
        outcome = run_again(stores, located, asked, provide, ask)
        return verdicts.keep(commit, outcome, request.timeout_s), True

    search = _Search(stores, [good], bad)
    while (commit := search.following()) is not None:
        known, replayed = judge(commit)
        is_bad = None if known.verdict == "failed" else _is_bad(known, manifest, request)
        search.learn(Tested(commit, known.verdict, replayed), is_bad)
    return search.outcome()


@dataclass
class _Search:
    """How far a search is: commits known as good, the earliest known as bad, those that cannot run."""

    stores: Stores
    good: list[str]
    bad: str
    skipped: list[str] = field(default_factory=list)
    tested: list[Tested] = field(default_factory=list)
    is_confirmed: bool = False
    is_denied: bool = False
    ordered: list[str] = field(default_factory=list)

    def following(self) -> str | None:
        """Return the commit to judge next; None at the end."""
        if self.is_denied:
            return None
        self.ordered = candidates(self.stores.repository, self.good, self.bad)
        commit = choose(self.ordered, self.bad, self.skipped)
        nothing_seen = not self.is_confirmed and self.ordered == [self.bad] and self.bad not in self.skipped
        return self.bad if commit is None and nothing_seen else commit

    def learn(self, tested: Tested, is_bad: bool | None) -> None:
        """Take in what a commit is; None where it cannot run."""
        self.tested.append(tested)
        if is_bad is None:
            self.skipped.append(tested.commit)
        elif is_bad:
            self.bad, self.is_confirmed = tested.commit, True
        elif tested.commit == self.bad:
            self.is_denied = True
        else:
            self.good.append(tested.commit)

    def outcome(self) -> BisectOutcome:
        """Return what was found; ReplayError where that is nothing, or one of several."""
        if self.is_denied:
            hint = f"{self.bad[:12]} gives what is archived: name a later commit with --bad"
            raise ReplayError("nothing drifts in that range", hint=hint)
        left = [commit for commit in self.ordered if commit in self.skipped]
        if left:
            names = [*left, *([self.bad] if self.bad not in left else [])]
            shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
            hint = f"the first drift is one of {shown}"
            raise ReplayError("only commits that cannot run are left to test", hint=hint)
        return BisectOutcome(self.bad, self.tested)


def _range(stores: Stores, request: BisectRequest) -> tuple[str, str]:
    good, bad = map(stores.reader.require_commit, (request.good, request.bad))
    if good == bad:
        raise ConfigError(f"{request.good!r} and {request.bad!r} are one commit", hint="there is nothing between them")
    if not is_before(stores.repository, good, bad):
        raise ConfigError(
            f"{request.good!r} is not an ancestor of {request.bad!r}",
            hint=f"name an earlier commit as good: git merge-base {good[:12]} {bad[:12]}",
        )
    return good, bad


def _check_inputs(stores: Stores, manifest: Mapping[str, Json]) -> None:
    """Refuse to start where the data is not here: every commit would fail for it, and be remembered as failed."""
    code = code_commit(manifest)
    for each in Recipe.from_manifest(manifest).inputs.values():
        if not is_at_hand(stores, each, code):
            raise ReplayError(f"the input {each.path or each.name} is not here", hint="fetch it: runvault pull")


def _check_metric(manifest: Mapping[str, Json], request: BisectRequest) -> None:
    if request.metric is not None and request.metric not in manifest["metrics"]:
        known = ", ".join(sorted(manifest["metrics"]))
        raise ConfigError(f"the run has no metric {request.metric!r}", hint=f"it has {known}")
    if math.isnan(request.tol) or request.tol < 0:
        raise ConfigError(f"a tolerance of {request.tol} allows nothing")


def _tells(known: Known, request: BisectRequest) -> bool:
    """Return whether what is known decides: the ledger alone does not know a metric."""
    return request.metric is None or known.differing is not None or known.verdict == "failed"


def _is_bad(known: Known, manifest: Mapping[str, Json], request: BisectRequest) -> bool:
    if request.metric is None:
        return known.verdict == "drift"
    differing = known.differing or {}
    if request.metric not in differing:
        return False
    then, now = manifest["metrics"][request.metric], differing[request.metric]
    return then is None or now is None or abs(now - then) > request.tol
