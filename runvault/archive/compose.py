"""From an outcome and the caller's words to the bytes of a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from runvault.archive.request import Provenance, SaveRequest
from runvault.engines.result import Outcome
from runvault.model.annotations import Annotations
from runvault.model.canonical import config_hash, make_config, refuse_credentials
from runvault.model.ids import RunId
from runvault.model.run_json import FORMAT
from runvault.model.times import LAST_SECOND, format_instant

Json: TypeAlias = Any

PICKLE = "portfolio.pkl"


@dataclass(frozen=True)
class Address:
    """A config and where it lives."""

    id: RunId
    config: Mapping[str, Json]


@dataclass(frozen=True)
class Made:
    """What made a run: the same for all columns of a sweep."""

    engine: str
    backend: str | None
    packages: Mapping[str, str]


def address_of(request: SaveRequest, engine: str, data: Mapping[str, Json], params: Mapping[str, Json]) -> Address:
    """Return the address of a run; refuses values without a canonical form, and what looks like a credential.

    Raises
    ------
    ConfigError
        Naming the path of the first value that is refused.
    """
    config = make_config(request.strategy, engine, params, request.settings, data)
    refuse_credentials(config, request.allow)
    return Address(RunId(config_hash(config), request.seed), config)


def created_at_text(now: datetime, floor: int) -> str:
    """Return the time of creation: `now`, but never earlier than `floor`, the parent commit's time in seconds.

    Behind a commit that says it is of the year 10000 and later, it is the last second before.
    """
    at_least = datetime.fromtimestamp(min(floor, LAST_SECOND), UTC)
    return format_instant(max(now, at_least))


def manifest_of(
    address: Address,
    outcome: Outcome,
    made: Made,
    request: SaveRequest,
    provenance: Provenance,
    *,
    created_at: str,
    artifacts: Mapping[str, Json],
    portfolio: Mapping[str, Json],
    lineage: Mapping[str, Json],
) -> dict[str, Json]:
    """Return the members of a manifest, in plain values."""
    window = outcome.window
    return {
        "format": FORMAT,
        "id": str(address.id),
        "config_hash": str(address.id.config_hash),
        "seed": address.id.seed,
        "config": address.config,
        "recipe": None if request.recipe is None else dict(request.recipe),
        "code": dict(provenance.code),
        "environment": environment_of(made, provenance),
        "window": {
            "start": window.start,
            "end": window.end,
            "bars": window.bars,
            "interval": window.interval,
            "symbols": list(window.symbols),
        },
        "created_at": created_at,
        "author": provenance.author,
        "duration_s": request.duration_s,
        "metrics": dict(outcome.metrics),
        "metric_definitions": dict(outcome.metric_definitions),
        "moments": dict(outcome.moments),
        "artifacts": dict(artifacts),
        "portfolio": dict(portfolio),
        "results_digest": outcome.digest,
        "lineage": dict(lineage),
        "warnings": list(outcome.warnings),
    }


def environment_of(made: Made, provenance: Provenance) -> dict[str, Json]:
    """Return the manifest's environment: the machine's, with the engine's packages and backend."""
    packages = {**provenance.environment.get("packages", {}), **made.packages}
    return {**provenance.environment, "packages": packages, "backend": made.backend}


def new_annotations(request: SaveRequest, provenance: Provenance, at: str) -> Annotations:
    """Return the annotations of a run that is saved for the first time."""
    return annotate(Annotations(), request, provenance, at)


def annotate(annotations: Annotations, request: SaveRequest, provenance: Provenance, at: str) -> Annotations:
    """Return `annotations` with the tags and the note of a save; unchanged where it brings nothing new."""
    fresh = [tag for tag in request.tags if tag not in annotations.live_tags()]
    if fresh:
        annotations = annotations.with_tags(add=fresh, remove=(), at=at, by=provenance.author)
    if request.note and request.note != annotations.note():
        annotations = annotations.with_note(request.note, at=at, by=provenance.author)
    return annotations


def message_of(subject: str, **trailers: str | None) -> str:
    """Return a commit message: a subject a person can read, and trailers a program can.

    Names are put on one line, so that a hostile strategy name cannot forge a trailer.
    """
    lines = [f"{name.capitalize()}: {one_line(value)}" for name, value in trailers.items() if value]
    return f"{one_line(subject)}\n\n" + "\n".join(lines) + "\n"


def sweep_message(strategy: str, count: int, sweep: str | None, code: str | None) -> str:
    """Return the message of a commit of several runs of a sweep."""
    subject = f"Save sweep of {one_line(strategy, 60)}: {count} run{'' if count == 1 else 's'}"
    return message_of(subject, sweep=sweep, strategy=strategy, code=code, kind="sweep")


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` on one line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
