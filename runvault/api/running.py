"""What running gives back, and how a call of a recorded function becomes a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.api.arguments import as_data, as_seed, as_series, as_span, as_text, texts
from runvault.api.machine import provenance
from runvault.api.saved import Saved
from runvault.errors import ConfigError, RunvaultError
from runvault.execution.calls import bind
from runvault.execution.commands import run_command as run_a_command
from runvault.execution.run import RunOutcome, RunRequest, run_entry, run_function
from runvault.execution.series import read_input
from runvault.stores.git.signing import refuse_unsignable

if TYPE_CHECKING:
    from runvault.api.vault import Vault

Json: TypeAlias = Any


class Ran(Saved):
    """The outcome of a run.

    Attributes
    ----------
    computed : bool
        False where an equal run was archived from equal code already, and nothing was computed.
    left_out : sequence of str
        Files that the snapshot of the code does not hold: credentials, and untracked files that were not imported.
    """

    def __init__(self, vault: Vault, outcome: RunOutcome) -> None:
        super().__init__(vault, outcome.saved)
        self.computed = outcome.ran is not None
        self.left_out = tuple(outcome.left_out)
        self.returned = None if outcome.ran is None else outcome.ran.returned


def run(vault: Vault, entry: str, said: Mapping[str, Any]) -> Ran:
    """Run an entry and archive what it returns; see `Vault.run`."""
    return Ran(vault, run_entry(vault.stores, entry, request_of(vault, said), _provide(vault)))


def run_command(vault: Vault, command: Sequence[str], result: str | Path, said: Mapping[str, Any]) -> Ran:
    """Run a program and archive the result that it leaves; see `Vault.run_command`."""
    if isinstance(command, str):
        raise ConfigError("a command is a list of words", hint="shlex.split makes one of a line")
    words = [str(word) for word in command]
    return Ran(vault, run_a_command(vault.stores, words, Path(result), request_of(vault, said), _provide(vault)))


def record_call(
    vault: Vault,
    function: Callable[..., Any],
    entry: str | None,
    params: Mapping[str, Any],
    files: Mapping[str, Path],
    frames: Mapping[str, Any],
    seed: int,
    said: Mapping[str, Any],
) -> tuple[Any, Saved]:
    """Run a recorded function; return what it gave, or the archived portfolio where it need not run, and the save."""
    request = {**said, "params": params, "data": files, "seed": seed}
    inputs = {**{name: read_input(path) for name, path in files.items()}, **frames}
    for force in (bool(said.get("force")), True):
        chosen = request_of(vault, {**request, "force": force})
        ran = Ran(vault, run_function(vault.stores, function, entry, inputs, chosen, _provide(vault)))
        if ran.computed:
            break
        try:
            return ran.run.portfolio(), ran
        except RunvaultError:  # what cannot be rebuilt is computed again
            continue
    return ran.returned, ran


def call_unrecorded(
    function: Callable[..., Any],
    params: Mapping[str, Any],
    files: Mapping[str, Path],
    frames: Mapping[str, Any],
    seed: Any,
    settings: Mapping[str, Any],
) -> Any:
    """Call a recorded function as `record_call` does, and archive nothing: inputs, settings and seed are the same."""
    inputs = {**{name: read_input(path) for name, path in files.items()}, **frames}
    call = bind(function, params=params, settings=settings, inputs=inputs, seed=as_seed(seed))
    return call.given()[0]


def request_of(vault: Vault, said: Mapping[str, Any]) -> RunRequest:
    """Return what a caller said as a request, in plain values.

    Raises
    ------
    RunvaultError
        Its result could not be signed: that is told now, not after a backtest of six hours.
    """
    refuse_unsignable(vault.stores.repository)
    return RunRequest(
        strategy=said.get("strategy"),
        params=said.get("params") or {},
        settings=said.get("settings") or {},
        data=as_data(said.get("data") or {}),
        seed=as_seed(said.get("seed", 0)),
        tags=texts(said.get("tags") or ()),
        note=as_text(said.get("note") or "", "note"),
        pickles=vault.settings.pickles if said.get("portfolio", True) else "none",
        allow=texts(said.get("allow", ())),
        force=bool(said.get("force")),
        require_clean=bool(said.get("require_clean")),
        snapshot_all=bool(said.get("snapshot_all")),
        span=as_span(said),
        series=as_series(said.get("series")),
    )


def _provide(vault: Vault) -> Callable[[], Any]:
    return lambda: provenance(vault.stores)
