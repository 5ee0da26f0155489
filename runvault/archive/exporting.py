"""The files of a run, for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runvault.archive.artifacts import read_artifact
from runvault.archive.compose import PICKLE
from runvault.archive.curves import portfolio_tables
from runvault.archive.reading import Located, read_manifest
from runvault.archive.stores import Stores
from runvault.errors import RunvaultError


def export_run(
    stores: Stores, located: Located, folder: Path, replacing: Callable[[Path], None] | None = None
) -> list[Path]:
    """Write a run's files into `folder`, made where it is not there; return their paths.

    What has one of their names there is replaced, so that an export can be made again; `replacing` is told of a file
    before it is lost, and not of one that holds the same already.

    A run's own pickle is written where it was archived alone; that of a sweep's run, or of one saved without, is made
    from its tables. A portfolio that cannot be rebuilt is left out.

    Raises
    ------
    ArtifactMissingError, IntegrityError
        An artifact is not here, or is not what was recorded; then nothing is written.
    RunvaultError
        The folder cannot be made, or a file in it not written.
    """
    commit = located.commit or stores.require_tip()
    manifest = read_manifest(stores, located)
    files = {
        name: content
        for name, content in stores.reader.read_run(commit, located.id.path).items()
        if not name.endswith(".dvc")
    }
    for name, entry in manifest["artifacts"].items():
        if entry.get("column") is None or name != PICKLE:
            files[name] = read_artifact(stores.objects, manifest, name)
    if PICKLE not in files and manifest["portfolio"].get("rebuildable"):
        from runvault.engines.vectorbt.pickles import dump_pickle
        from runvault.engines.vectorbt.rebuild import rebuild

        files[PICKLE] = dump_pickle(rebuild(portfolio_tables(stores, manifest)))
    return [_write(folder, name, content, replacing) for name, content in sorted(files.items())]


def _write(folder: Path, name: str, content: bytes, replacing: Callable[[Path], None] | None) -> Path:
    path = folder / Path(name).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if replacing is not None and path.exists() and path.read_bytes() != content:
            replacing(path)
        path.write_bytes(content)
    except OSError as error:
        problem = f"cannot write {str(path)!r}: {error.strerror or error}"
        raise RunvaultError(problem, "name another folder, or make room there") from error
    return path
