"""What replaying gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.api.arguments import as_data, as_number, as_seed, as_span
from runvault.api.machine import installed, provenance
from runvault.archive.reading import Located
from runvault.errors import ConfigError, ReplayError, RunvaultError
from runvault.execution.bisect import BisectOutcome, BisectRequest
from runvault.execution.bisect import bisect as bisect_run
from runvault.execution.overrides import Overrides
from runvault.execution.replay import Ask, ReplayOutcome, ReplayRequest
from runvault.execution.replay import replay as replay_run

if TYPE_CHECKING:
    from runvault.api.run import Run
    from runvault.api.vault import Vault

Json: TypeAlias = Any

OVERRIDES = frozenset({"set", "start", "end", "interval", "cash", "seed", "data"})
OPTIONS = frozenset({"at", "rtol", "timeout", "record", "trust_code", "ask"})


class Replayed:
    """The outcome of a replay.

    Attributes
    ----------
    verdict : str
        ``exact``, ``close``, ``drift``, ``failed``, or ``changed`` where overrides made a new run.
    metrics : sequence of mapping
        The metrics that differ: ``name``, ``a`` (archived), ``b`` (now), ``delta``.
    reason : sequence of str
        What differs besides, and why it failed.
    """

    def __init__(self, vault: Vault, outcome: ReplayOutcome) -> None:
        self._vault = vault
        self._saved = outcome.saved
        self.of = str(outcome.of)
        self.verdict = outcome.verdict
        self.metrics: Sequence[Mapping[str, Json]] = list(outcome.metrics)
        self.reason: Sequence[str] = list(outcome.reason)

    @property
    def ok(self) -> bool:
        """Return whether the archived numbers came out again: ``exact`` or ``close``."""
        return self.verdict in ("exact", "close")

    @cached_property
    def run(self) -> Run | None:
        """The new run that overrides made; None without any."""
        return None if self._saved is None else self._vault.get(f"{self._saved.id}@{self._saved.commit}")

    def __repr__(self) -> str:
        return f"<Replayed {self.of[:8]}{self.of[64:]} {self.verdict}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the document that ``runvault replay --json`` prints."""
        return {
            "verdict": self.verdict,
            "run": None if self.run is None else self.run.to_dict(),
            "of": self.of,
            "metrics": list(self.metrics),
            "reason": list(self.reason),
        }


def replay(vault: Vault, located: Located, said: Mapping[str, Any]) -> Replayed:
    """Run a run again; see `Vault.replay`."""
    outcome = replay_run(vault.stores, located, _request(vault, said), _provide(vault), said.get("ask", _refuse))
    return Replayed(vault, outcome)


def check(vault: Vault, tag: str, said: Mapping[str, Any]) -> Sequence[Replayed]:
    """Replay every run with a tag; one that cannot be run has failed."""
    done = []
    for run in vault.list(tags=[tag], sort="created_at"):
        located = Located(run.located.id)
        try:
            done.append(replay(vault, located, said))
        except ReplayError as error:
            done.append(Replayed(vault, ReplayOutcome("failed", located.id, reason=[_told(error)])))
    return done


def bisect(vault: Vault, located: Located, request: BisectRequest, ask: Ask | None) -> BisectOutcome:
    """Find the first commit at which a run drifts; see `Vault.bisect`."""
    return bisect_run(vault.stores, located, request, lambda: installed(vault.stores), ask or _refuse)


def _told(error: RunvaultError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _refuse(_shown: str) -> bool:
    return False


def _request(vault: Vault, said: Mapping[str, Any]) -> ReplayRequest:
    for name in said:
        if name not in OVERRIDES and name not in OPTIONS:
            known = ", ".join(sorted((OVERRIDES | OPTIONS) - {"ask"}))
            raise ConfigError(f"a replay takes no {name!r}", hint=f"it takes {known}")
    seed, values = said.get("seed"), said.get("set") or {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"set is a {type(values).__name__}", hint='name the values: set={"params.fast": 20}')
    return ReplayRequest(
        overrides=Overrides(
            values=dict(values),
            span=as_span(said),
            cash=as_number(said.get("cash"), "cash"),
            seed=None if seed is None else as_seed(seed),
            data=as_data(said.get("data") or {}),
        ),
        at=said.get("at"),
        rtol=as_number(said.get("rtol"), "rtol", 0),
        timeout_s=as_number(said.get("timeout"), "timeout", 0, above=True),
        record=bool(said.get("record")),
        trusted=bool(said.get("trust_code")),
        pickles=vault.settings.pickles,
    )


def _provide(vault: Vault) -> Callable[[], Any]:
    return lambda: provenance(vault.stores)
