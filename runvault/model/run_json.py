"""A run as JSON, in the members that the command line promises: plain dictionaries, as the catalog makes 100,000.

Both records may have been written by anybody, so what is used of them is checked here, without the cost of the
typed models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from runvault.errors import ConfigError, FormatError, SchemaTooNewError
from runvault.model.ids import MAX_SEED, RunId

Json: TypeAlias = Any
Record: TypeAlias = Mapping[str, Json]

FORMAT = 1
_MANIFEST = {"config": dict, "window": dict, "created_at": str, "author": str, "metrics": dict, "artifacts": dict}
_CONFIG = {"strategy": str, "engine": str, "params": dict, "settings": dict, "data": dict}
_ID = re.compile(r"[0-9a-f]{64}-[0-9]+")
_UPGRADE = "upgrade the package: pip install --upgrade runvault"


def run_members(manifest: Record, annotations: Record) -> dict[str, Json]:
    """Return a run's members, but `revision` and `commit`, which only its history knows.

    Parameters
    ----------
    manifest, annotations : mapping
        The parsed files; `annotations` is empty where a run has none.

    Raises
    ------
    FormatError
        A member that is used here is missing or of another type, or the id does not fit its parts.
    SchemaTooNewError
        A newer runvault wrote the manifest.
    """
    check_format(manifest)
    run, config_hash, seed = _identity(manifest)
    config, window, created_at, author, metrics, artifacts = _members(manifest, _MANIFEST)
    strategy, engine, params, settings, data = _members(config, _CONFIG)
    return {
        "id": run,
        "short_id": f"{config_hash[:8]}-{seed}",
        "alias": alias_of(annotations),
        "config_hash": config_hash,
        "seed": seed,
        "strategy": strategy,
        "engine": engine,
        "params": params,
        "settings": settings,
        "data": data,
        "symbols": member(window, "symbols", list),
        "interval": _text_or_none(window, "interval"),
        "start": _text_or_none(window, "start"),
        "end": _text_or_none(window, "end"),
        "tags": tags_of(annotations),
        "note": note_of(annotations),
        "created_at": created_at,
        "author": author,
        "metrics": metrics,
        "code": _code(manifest.get("code")),
        "lineage": manifest.get("lineage") or {},
        "artifacts": _artifacts(artifacts),
    }


def check_format(manifest: Record, path: str = "the manifest") -> int:
    """Return the archive format that a manifest states.

    Raises
    ------
    SchemaTooNewError
        A newer runvault wrote it.
    FormatError
        It states none.
    """
    version = manifest.get("format")
    if type(version) is not int or version < 1:
        raise FormatError(f"{path} states no archive format")
    if version > FORMAT:
        raise SchemaTooNewError(f"{path} has format {version}, newer than {FORMAT}, the newest read here", _UPGRADE)
    return version


def tags_of(annotations: Record) -> list[str]:
    """Return the tags that nobody removed, sorted."""
    tags = annotations.get("tags")
    if not tags:
        return []
    if not isinstance(tags, dict) or not all(isinstance(tag, dict) for tag in tags.values()):
        raise FormatError("tags are not as they should be")
    return sorted(name for name, tag in tags.items() if not tag.get("removed"))


def note_of(annotations: Record) -> str:
    """Return the texts of the notes that nobody removed, oldest first, a line feed between them."""
    notes = annotations.get("notes")
    if not notes:
        return ""
    if not isinstance(notes, list):
        raise FormatError("notes are not as they should be")
    live = [(member(n, "at", str), member(n, "by", str), member(n, "text", str)) for n in notes if not _removed(n)]
    return "\n".join(text for _, _, text in sorted(live))


def _removed(note: Json) -> bool:
    if not isinstance(note, dict):
        raise FormatError("notes are not as they should be")
    return bool(note.get("removed"))


def alias_of(annotations: Record) -> str | None:
    """Return the name that stands for the run, if it has one."""
    alias = annotations.get("alias")
    if alias is None:
        return None
    if not isinstance(alias, dict):
        raise FormatError("alias is not as it should be")
    return _text_or_none(alias, "name")


def member(record: Record, name: str, kind: type) -> Json:
    """Return a member of exactly this type; FormatError otherwise."""
    value = record.get(name)
    if type(value) is not kind:
        raise FormatError(f"{name} is missing or not of type {kind.__name__}")
    return value


def _text_or_none(record: Record, name: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{name} is not text")
    return value


def _members(record: Record, kinds: Mapping[str, type]) -> list[Json]:
    """Return several members, each of exactly its type; looked at one by one only where one of them is not."""
    values = [*map(record.get, kinds)]
    if [*map(type, values)] != [*kinds.values()]:
        for name, kind in kinds.items():
            member(record, name, kind)
    return values


def _identity(manifest: Record) -> tuple[str, str, int]:
    """Return the id, the config hash and the seed; a manifest whose id is their text needs no parser of ids."""
    text, config_hash, seed = manifest.get("id"), manifest.get("config_hash"), manifest.get("seed")
    if type(seed) is int and seed <= MAX_SEED and text == f"{config_hash}-{seed}" and _ID.fullmatch(text):
        return text, str(config_hash), seed
    return _parsed_identity(manifest)


def _parsed_identity(manifest: Record) -> tuple[str, str, int]:
    try:
        run = RunId.parse(member(manifest, "id", str))
    except ConfigError as error:
        raise FormatError(str(error)) from error
    if manifest.get("config_hash") != run.config_hash or member(manifest, "seed", int) != run.seed:
        raise FormatError("id is not <config_hash>-<seed>")
    return str(run), str(run.config_hash), run.seed


def code_commit(manifest: Record) -> str | None:
    """Return the commit that holds the code of a checked manifest, None where none was recorded."""
    return (manifest.get("code") or {}).get("commit") or None


def _code(code: Json) -> dict[str, Json]:
    if not isinstance(code, dict):
        return {"commit": None, "base": None, "dirty": None}
    return {"commit": code.get("commit"), "base": code.get("base"), "dirty": code.get("dirty")}


def _artifacts(artifacts: Record) -> dict[str, dict[str, Json]]:
    if not {dict}.issuperset(map(type, artifacts.values())):
        raise FormatError("an artifact is not as it should be")
    return {
        name: {"md5": artifact.get("md5"), "sha256": artifact.get("sha256"), "size": artifact.get("size")}
        for name, artifact in artifacts.items()
    }
