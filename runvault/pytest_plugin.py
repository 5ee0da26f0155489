"""pytest fixtures for strategies: a throw-away archive, the project's own archive, and a replay as an assertion.

pytest loads this at its start, so that nothing else of runvault is imported before a fixture is asked for.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runvault.api.replaying import Replayed
    from runvault.api.run import Run
    from runvault.api.saved import Saved
    from runvault.api.vault import Vault

    AssertReplays = Callable[..., Replayed]

_GIT_CONFIG = """[user]
\tname = Test
\temail = test@example.org
[init]
\tdefaultBranch = main
[commit]
\tgpgsign = false
"""


@pytest.fixture
def runvault_vault(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """Return a new archive in a new Git repository, with a made-up author and none of the machine's configuration.

    HOME is a folder of the test meanwhile. The repository is ``vault.stores.repository.work_tree``.
    """
    from runvault.api.vault import init_vault

    home = tmp_path_factory.mktemp("runvault-home")
    (home / ".gitconfig").write_text(_GIT_CONFIG, encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "RUNVAULT_BRANCH", "RUNVAULT_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    repository = tmp_path_factory.mktemp("runvault-repository")
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "first"]):
        subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True)
    return init_vault(repository)


@pytest.fixture
def vault_here(pytestconfig: pytest.Config) -> Vault:
    """Return the archive of the project under test, opened as for reading; the test is skipped where there is none."""
    from runvault.api.vault import open_vault
    from runvault.errors import VaultNotFoundError

    try:
        return open_vault(pytestconfig.rootpath, read_only=True)
    except VaultNotFoundError as error:
        pytest.skip(f"no archive here: {error.message}")


@pytest.fixture
def assert_replays(request: pytest.FixtureRequest) -> AssertReplays:
    """Return a function that replays a run, and fails the test unless the archived numbers come out again.

    ``assert_replays(run, exact=False, vault=None, **said)``: `run` is a run, what a save gave back, or text that names
    one in `vault`, by default the archive that `run` came from or else that of the project. `exact` refuses ``close``,
    too; `said` is what `Vault.replay` takes besides (``trust_code``, ``rtol``, ``at``, ``timeout``).
    """

    def check(run: Run | Saved | str, *, exact: bool = False, vault: Vault | None = None, **said: Any) -> Replayed:
        __tracebackhide__ = True  # what a failure shows is the line of the test, then the verdict
        from runvault.errors import RunvaultError
        from runvault.views.replays import replay_text

        target = vault or _vault_of(run) or request.getfixturevalue("vault_here")
        replayed, problem = None, ""
        try:
            replayed = target.replay(run if isinstance(run, str) else run.id, **said)
        except RunvaultError as error:
            hint = f"\n  hint: {error.hint}" if error.hint else ""
            problem = f"{run} cannot be replayed: {error.message}{hint}"
        if replayed is None:  # outside of the handler, or pytest shows the frames of the error, too
            pytest.fail(problem)
        if not replayed.ok or (exact and replayed.verdict != "exact"):
            pytest.fail(replay_text(replayed.to_dict()))
        return replayed

    return check


def _vault_of(run: Run | Saved | str) -> Vault | None:
    """Return the archive that a run came from, None where text alone is given."""
    from runvault.api.run import Run
    from runvault.api.saved import Saved
    from runvault.api.settings import Settings
    from runvault.api.vault import Vault

    if isinstance(run, Saved):
        return run._vault
    if isinstance(run, Run):
        return Vault(run._stores, Settings(run._stores.repository.config, {}))
    return None
