"""Sharing an archive: push, pull, merge, remotes, clones and bundles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.api.arguments import as_path
from runvault.api.machine import provenance
from runvault.errors import RunNotFoundError
from runvault.model.query import Selection
from runvault.sharing import bundles, merge, remotes, sync
from runvault.sharing.bundles import Bundled
from runvault.sharing.incoming import Refusal
from runvault.sharing.remotes import Named, NamedRemote
from runvault.sharing.sync import Choice, Synced

if TYPE_CHECKING:
    from runvault.api.vault import Vault
    from runvault.stores.dvc.transfer import Tell

Json: TypeAlias = Any


@dataclass(frozen=True)
class Shared:
    """What a push, a pull, a merge or an `unbundle` did.

    Attributes
    ----------
    runs_added, revisions_added, removed : int
        Runs that came (of a push: to the remote), new revisions of known ones, and runs that went.
    drift : sequence of str
        Runs known before that have other results now.
    refused : sequence of mapping
        What was not let in: `run` and `problem`.
    artifacts, bytes : int
        Objects of the DVC cache that were moved, and their size.
    withheld : mapping of str to int
        Objects that stayed, with their sizes: excluded, or there is no DVC remote.
    failed : mapping of str to str
        Objects that could not be moved, with the reason.
    unread : sequence of mapping
        Runs that were let in without being read, as a newer runvault wrote them: `run` and `problem`.
    removed_runs : sequence of str
        The runs that `removed` counts.
    between : mapping of str to sequence of str
        Of each run in `drift` the archive commits with either results, as in ``RUN@COMMIT``; where it is one, the tip
        has the others.
    """

    runs_added: int
    revisions_added: int
    removed: int
    drift: Sequence[str]
    refused: Sequence[Mapping[str, str]]
    artifacts: int = 0
    bytes: int = 0
    withheld: Mapping[str, int] | None = None
    failed: Mapping[str, str] | None = None
    unread: Sequence[Mapping[str, str]] = ()
    removed_runs: Sequence[str] = ()
    between: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """Return the document that the commands print with ``--json``."""
        return {
            "runs_added": self.runs_added,
            "revisions_added": self.revisions_added,
            "removed": self.removed,
            "drift": list(self.drift),
            "refused": [dict(each) for each in self.refused],
            "artifacts": self.artifacts,
            "bytes": self.bytes,
        }


def push(
    vault: Vault,
    remote: str | None,
    *,
    artifacts: bool,
    data: bool,
    again: bool = False,
    tell: Tell | None = None,
    announce: Callable[[Mapping[str, int], str], None] | None = None,
) -> Shared:
    """Send what this archive has."""
    choice, name = Choice(artifacts, data, again), remote or vault.settings.remote
    done = sync.push(vault.stores, name, provenance(vault.stores), choice, tell=tell, announce=announce)
    return _shared(done)


def pull(
    vault: Vault, remote: str | None, *, artifacts: bool, data: bool, again: bool = False, tell: Tell | None = None
) -> Shared:
    """Bring what a remote has; `vault` may have no archive yet."""
    choice, name = Choice(artifacts, data, again), remote or vault.settings.remote
    return _shared(sync.pull(vault.stores, name, provenance(vault.stores), choice, tell=tell))


def merge_ref(vault: Vault, ref: str) -> Shared:
    """Bring in what a branch or a commit of this repository has."""
    commit = vault.stores.reader.require_commit(ref)
    joined = merge.join(vault.stores, commit, ref, provenance(vault.stores))
    return _shared(Synced(joined))


def bundle(vault: Vault, path: str | Path, selection: Selection | None) -> Bundled:
    """Write runs into one file; all of them, with their history, where nothing is selected."""
    from runvault.model.ids import RunId

    runs = None
    if selection is not None:
        rows = vault.stores.catalog().select(vault.stores.repository.ref, selection)
        runs = [RunId.parse(row["id"]) for row in rows]
        if not runs:
            raise RunNotFoundError("no run answers to these filters", "see 'runvault list' with the same ones")
    return bundles.bundle(vault.stores, as_path(path, "the bundle"), runs, provenance(vault.stores))


def unbundle(vault: Vault, path: str | Path) -> Shared:
    """Take runs out of a file; `vault` may have no archive yet."""
    joined, moved = bundles.unbundle(vault.stores, as_path(path, "the bundle"), provenance(vault.stores))
    return _shared(Synced(joined, moved))


def clone(url: str, folder: str | Path, branch: str | None, *, artifacts: bool, data: bool) -> tuple[Vault, Shared]:
    """Clone a repository with its archive."""
    from runvault.api.vault import find_vault
    from runvault.stores.git.remotes import clone_repository

    clone_repository(url, as_path(folder, "the folder"))
    vault = find_vault(folder, branch)
    return vault, pull(vault, "origin", artifacts=artifacts, data=data)


def list_remotes(vault: Vault) -> Sequence[NamedRemote]:
    """Return the remotes that push and pull may use."""
    return remotes.list_remotes(vault.stores, vault.settings.remote)


def add_remote(vault: Vault, name: str, url: str) -> Named:
    """Name a DVC remote to all who have the archive."""
    return remotes.add_remote(vault.stores, name, url, provenance(vault.stores))


def remove_remote(vault: Vault, name: str) -> None:
    """Take a DVC remote out of the archive."""
    remotes.remove_remote(vault.stores, name, provenance(vault.stores))


def _shared(done: Synced) -> Shared:
    joined = done.joined
    return Shared(
        joined.runs_added,
        joined.revisions_added,
        joined.removed,
        tuple(joined.drift),
        _told(joined.refused),
        done.moved.objects,
        done.moved.bytes,
        done.withheld,
        done.moved.failed,
        _told(joined.unread),
        tuple(joined.removed_runs),
        joined.between,
    )


def _told(refusals: Sequence[Refusal]) -> list[dict[str, str]]:
    return [{"run": each.run, "problem": each.problem} for each in refusals]
