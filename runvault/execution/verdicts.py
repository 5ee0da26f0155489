"""What is known already of a run in the code of other commits, so that no replay is made twice.

Two places know. The run's ledger, in its annotations, travels with the archive and has the verdict. A file of this
clone alone, ``<common git dir>/runvault/bisect.json``, has the metrics that differed, too: they are what a bisect by
metric asks for, and too much for a ledger that everybody fetches. Losing the file costs replays, nothing else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from runvault.archive.reading import Located
from runvault.archive.request import Provenance
from runvault.archive.stores import Stores
from runvault.execution.replay import ReplayOutcome, record_verdict
from runvault.model.annotations import Annotations
from runvault.model.records import ANNOTATIONS, MANIFEST, dump_json

Json: TypeAlias = Any

FILE = "bisect.json"


@dataclass(frozen=True)
class Known:
    """A verdict of one commit.

    `differing` are the metrics that are not the archived ones, with their values now; None where only the ledger
    knows the verdict. `timeout_s` is the limit under which a replay failed, which a longer one may not.
    """

    verdict: str
    differing: Mapping[str, Json] | None = field(default_factory=dict)
    timeout_s: float | None = None

    @classmethod
    def of(cls, outcome: ReplayOutcome, timeout_s: float | None) -> Known:
        """Return what a replay tells."""
        failed = outcome.verdict == "failed"
        differing = {row["name"]: row["b"] for row in outcome.metrics}
        return cls(outcome.verdict, differing, timeout_s if failed else None)

    def holds_under(self, timeout_s: float | None) -> bool:
        """Return whether a replay under this limit would end the same."""
        return self.timeout_s is None or (timeout_s is not None and timeout_s <= self.timeout_s)


class Verdicts:
    """The verdicts of one revision of a run, made in one environment.

    Parameters
    ----------
    located : Located
        The run. Of an earlier revision the ledger says nothing: its entries are about the latest.
    manifest : mapping
        Of that revision.
    provide : callable
        Says in which environment replays are made; only verdicts of an equal one count.
    """

    def __init__(
        self, stores: Stores, located: Located, manifest: Mapping[str, Json], provide: Callable[[], Provenance]
    ) -> None:
        self._stores = stores
        self._provide = provide
        environment = dict(provide().environment)
        digest = hashlib.sha256(dump_json(environment)).hexdigest()
        self._key = f"{located.id} {manifest['results_digest']} {digest}"
        self._is_latest = _is_latest(stores, located)
        self._ledger = _in_ledger(stores, located, environment, manifest["created_at"]) if self._is_latest else {}

    @property
    def path(self) -> Path:
        """Return where this clone keeps them."""
        return self._stores.repository.state_dir / FILE

    def find(self, commit: str) -> Known | None:
        """Return what is known of a commit, None where nothing is."""
        with suppress(TypeError, KeyError, ValueError):
            return Known(**self._read()[self._key][commit])
        verdict = self._ledger.get(commit)
        return None if verdict is None else Known(verdict, {} if verdict == "exact" else None)

    def keep(self, commit: str, outcome: ReplayOutcome, timeout_s: float | None) -> Known:
        """Keep the verdict of a replay: here, and in the ledger unless it failed under a time limit."""
        known = Known.of(outcome, timeout_s)
        verdicts = self._read()
        entries = verdicts.get(self._key)
        verdicts[self._key] = {**(entries if isinstance(entries, dict) else {}), commit: asdict(known)}
        self._write(verdicts)
        if self._is_latest and known.timeout_s is None and self._ledger.get(commit) != known.verdict:
            record_verdict(self._stores, outcome, commit, self._provide())
        return known

    def _read(self) -> dict[str, Json]:
        try:
            verdicts = orjson.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return verdicts if isinstance(verdicts, dict) else {}

    def _write(self, verdicts: Mapping[str, Json]) -> None:
        """Replace the file at once; of two writers the later wins, and the other's verdicts are replayed again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{FILE}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(orjson.dumps(verdicts))
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _is_latest(stores: Stores, located: Located) -> bool:
    """Return whether it is the revision at the tip that was named, if need be by its archive commit."""
    if located.commit is None:
        return True
    path, tip = f"{located.id.path}/{MANIFEST}", stores.require_tip()
    return stores.reader.blob_of(tip, path) == stores.reader.blob_of(located.commit, path)


def _in_ledger(stores: Stores, located: Located, environment: Mapping[str, Json], created_at: str) -> dict[str, str]:
    """Return the ledger's verdicts by commit: those of an equal environment, made of the revision at the tip."""
    content = stores.reader.read_file(stores.require_tip(), f"{located.id.path}/{ANNOTATIONS}")
    replays = Annotations.from_bytes(content).replays if content else ()
    return {
        each.code: each.verdict
        for each in replays
        if isinstance(each.code, str) and each.environment == environment and each.at >= created_at
    }
