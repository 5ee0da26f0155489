"""The manifest: what was asked, what ran it, what came out. Immutable within a revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NotRequired, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from runvault.errors import ConfigError, FormatError, IntegrityError
from runvault.model.canonical import hash_of_parsed, normalise, plain_bytes
from runvault.model.ids import MAX_SEED, RunId
from runvault.model.records import MANIFEST, MAX_RECORD_BYTES, check_json, dump_checked, parse_json
from runvault.model.run_json import FORMAT, check_format
from runvault.model.validation import Instant, first_problem

Json: TypeAlias = Any

UPGRADES: dict[int, Callable[[dict[str, Json]], dict[str, Json]]] = {}
"""By format version, the function that turns a manifest of that version into one of the next. Format 1 is the first."""


Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]
GitCommit: TypeAlias = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
FileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
Number: TypeAlias = int | float | None
Name: TypeAlias = Annotated[str, Field(min_length=1)]
Size: TypeAlias = Annotated[int, Field(ge=0)]


@with_config(ConfigDict(extra="allow"))
class Config(TypedDict):
    """What was asked for, and nothing that is merely recorded: the address is its hash."""

    strategy: Name
    engine: Name
    params: dict[str, Json]
    settings: dict[str, Json]
    data: dict[str, Json]


class Code(TypedDict):
    """The state of the user's repository."""

    commit: GitCommit | None
    base: GitCommit | None
    branch: str | None
    dirty: bool | None


class Environment(TypedDict):
    """What the run was computed with."""

    python: str
    platform: str
    packages: dict[str, str]
    backend: str | None


class Window(TypedDict):
    """The stretch of time that the run covers."""

    start: str | None
    end: str | None
    bars: Size
    interval: str | None
    symbols: list[str]


class Artifact(TypedDict):
    """A file of the run that DVC tracks; `column` is the run's place in a table that a sweep shares."""

    md5: Md5
    sha256: Sha256 | None
    size: Size
    media_type: str
    column: NotRequired[Size]


@with_config(ConfigDict(extra="allow"))
class Lineage(TypedDict, total=False):
    """Where the run comes from: a replayed run (``<id>@<archive commit>``), a sweep, another registry."""

    replay_of: str
    sweep: str
    imported_from: str


class Manifest(BaseModel):
    """A run's ``manifest.json``.

    Nested members are plain dictionaries of the JSON, typed. Build one through `from_dict`, which raises our errors.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, title="runvault manifest, format 1")

    format: Annotated[Literal[1], Field(description="version of the archive format")]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}-(0|[1-9][0-9]{0,18})$", description="<config hash>-<seed>")]
    config_hash: Annotated[Sha256, Field(description="SHA-256 of the config's canonical JSON (RFC 8785)")]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED, description="0 where nothing is random; not part of the hash")]
    config: Annotated[Config, Field(description="what was asked for; the address is its hash")]
    recipe: Annotated[
        dict[str, Json] | None, Field(description="how to run it again, with the inputs by path; null if unknown")
    ] = None
    code: Annotated[Code | None, Field(description="the state of the user's repository; null outside of one")] = None
    environment: Annotated[Environment | None, Field(description="what the run was computed with")] = None
    window: Annotated[Window, Field(description="the stretch of time that the run covers")]
    created_at: Annotated[Instant, Field(description="UTC; never earlier than the parent commit's time")]
    author: Annotated[str, Field(description="Name <e-mail>")]
    duration_s: Annotated[float | None, Field(ge=0, description="seconds that the backtest took, if known")] = None
    metrics: Annotated[dict[str, Number], Field(description="by name: fractions, seconds, counts; null if undefined")]
    metric_definitions: Annotated[
        dict[str, Json], Field(description="how the metrics were computed: periods_per_year, risk_free, ddof, engine")
    ]
    moments: Annotated[dict[str, Number], Field(description="of the returns per period")]
    artifacts: Annotated[dict[FileName, Artifact], Field(description="by file name")]
    portfolio: Annotated[
        dict[str, Json] | None,
        Field(description="what the tables do not hold of the portfolio's constructor inputs, and rebuildable"),
    ] = None
    results_digest: Annotated[Sha256, Field(description="SHA-256 over the values of the results")]
    lineage: Annotated[Lineage, Field(description="where the run comes from")] = {}
    warnings: Annotated[list[str], Field(description="what a reader of the numbers should know")] = []

    @model_validator(mode="after")
    def _check_id(self) -> Self:
        if self.id != f"{self.config_hash}-{self.seed}":
            raise ValueError("id is not <config_hash>-<seed>")
        return self

    @property
    def run_id(self) -> RunId:
        """Return the id as a value."""
        return RunId.parse(self.id)

    @classmethod
    def from_bytes(cls, data: bytes, path: str = "") -> Self:
        """Read a manifest that anybody may have written.

        Parameters
        ----------
        data : bytes
            The file.
        path : str
            Its path in the archive, for messages.

        Raises
        ------
        FormatError
            It is no manifest (see `parse_json` for the caps).
        SchemaTooNewError
            A newer runvault wrote it.
        """
        path = path or MANIFEST
        members = upgraded(parse_json(data, path), path)
        manifest = cls._validated(members, path, strict=True)
        manifest._check_config(path)
        return manifest

    @classmethod
    def from_dict(cls, members: Mapping[str, Json], path: str = MANIFEST) -> Self:
        """Make a manifest of its members; FormatError names the first that does not fit."""
        check_json(members, path)
        return cls._validated(members, path, strict=False)

    @classmethod
    def _validated(cls, members: Mapping[str, Json], path: str, *, strict: bool) -> Self:
        try:
            return cls.model_validate(members, strict=strict)
        except ValidationError as error:
            raise FormatError(f"{path}: {first_problem(error)}") from error

    def _check_config(self, path: str) -> None:
        if plain_bytes(self.config) is not None:
            return
        try:
            normal = normalise(self.config, "config")
        except ConfigError as error:
            raise FormatError(f"{path}: {error}") from error
        if normal != self.config:
            raise FormatError(f"{path}: config is not in its normal form")

    def to_dict(self) -> dict[str, Json]:
        """Return the members as they stand in the file."""
        return self.model_dump()

    def to_bytes(self) -> bytes:
        """Return the file; FormatError where it would be larger than readers accept."""
        data = dump_checked(self.to_dict(), MANIFEST)
        if len(data) > MAX_RECORD_BYTES:
            raise FormatError(f"manifest.json would have {len(data):,} bytes, more than {MAX_RECORD_BYTES:,}")
        return data


class Envelope(BaseModel):
    """What every format keeps of a manifest: whose it is, and which files it accounts for.

    With it a run's folder can be looked at by those who cannot read its manifest yet.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    artifacts: dict[FileName, Artifact]

    @classmethod
    def from_bytes(cls, data: bytes, path: str = MANIFEST) -> Self:
        """Read these members of a manifest of any format; FormatError where they are not there."""
        try:
            return cls.model_validate(parse_json(data, path), strict=True)
        except ValidationError as error:
            raise FormatError(f"{path}: {first_problem(error)}") from error


def upgraded(members: dict[str, Json], path: str) -> dict[str, Json]:
    """Return a manifest's members in the form of the current format; see `check_format` for what is raised."""
    for version in range(check_format(members, path), FORMAT):
        members = UPGRADES[version](members)
    return members


def check_address(manifest: Manifest, expected: RunId | None = None) -> None:
    """Compute a manifest's address again.

    Parameters
    ----------
    manifest : Manifest
        As it was read.
    expected : RunId or None
        The run whose folder it was found in.

    Raises
    ------
    IntegrityError
        The config does not have the recorded hash, or the manifest stands in another run's folder.
    """
    try:
        actual = hash_of_parsed(manifest.config)
    except ConfigError as error:
        raise IntegrityError(f"the address of {manifest.run_id.short} cannot be computed: {error}") from error
    if actual != manifest.config_hash:
        raise IntegrityError(f"the config of {manifest.run_id.short} has the hash {actual[:8]}…, not the recorded one")
    if expected is not None and manifest.id != str(expected):
        raise IntegrityError(f"the folder of {expected.short} holds the manifest of {manifest.run_id.short}")


def manifest_schema() -> dict[str, Json]:
    """Return the JSON Schema of a manifest, as shipped in ``schemas/manifest-1.json``."""
    schema = Manifest.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
