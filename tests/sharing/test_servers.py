"""The same over a network: git's protocols, S3 and SFTP, with real servers on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from loopback import git_daemon, git_over_http, s3_server
from machine import git
from team import Team, place, save, tree_of

import runvault as rv
from runvault.errors import RunvaultError


@pytest.mark.parametrize("serve", [git_daemon, git_over_http])
def test_two_people_share_over_a_git_server(
    team: Team, serve: Callable[[Path], AbstractContextManager[str]], tmp_path: Path
) -> None:
    git(team.origin, "config", "http.receivepack", "true")
    with serve(tmp_path) as address:
        git(place(team.ada), "remote", "set-url", "origin", f"{address}/origin.git")
        ada = rv.open(place(team.ada))
        first = save(ada, fast=1)
        assert ada.push().runs_added == 1
        served = Team(Path(f"{address}/origin.git"), team.storage, ada, tmp_path)
        served.origin = f"{address}/origin.git"  # type: ignore[assignment]
        grace = served.join("Grace")
        assert grace.get(first.id).equity().equals(first.equity())
        save(ada, fast=2)
        ada.push()
        save(grace, fast=3)
        assert grace.push().runs_added == 1
        assert ada.pull().runs_added == 1
        assert tree_of(ada) == tree_of(grace)
    with pytest.raises(RunvaultError, match="cannot fetch from 'origin'"):
        ada.pull()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with s3_server("runs") as address:
        yield address


def use_remote(vault: rv.Vault, url: str, **options: str) -> rv.Vault:
    lines = [f"    {name} = {value}\n" for name, value in options.items()]
    text = f"[core]\n    remote = far\n['remote \"far\"']\n    url = {url}\n{''.join(lines)}"
    (place(vault) / ".dvc" / "config").write_text(text)
    return rv.open(place(vault))


def commit_and_push_config(vault: rv.Vault) -> None:
    git(place(vault), "commit", "--quiet", "--all", "--message", "dvc: another remote")
    git(place(vault), "push", "--quiet", "origin", "main")


def test_artifacts_travel_through_s3(team: Team, bucket: str) -> None:
    ada = use_remote(team.ada, "s3://runs/cache", endpointurl=bucket)
    commit_and_push_config(ada)
    run = save(ada)
    told: list[tuple[int, int]] = []
    pushed = ada.push(tell=lambda done, of: told.append((done, of)))
    assert (pushed.artifacts, pushed.bytes) == (5, sum(entry["size"] for entry in run.artifacts.values()))
    assert told[-1] == (5, 5)
    assert ada.push().artifacts == 0
    grace = team.join("Grace")
    assert grace.get(run.id).equity().equals(run.equity())
    assert grace.verify(artifacts=True).findings == []
    save(ada, fast=11)
    ada.push()
    assert grace.pull(artifacts=False).artifacts == 0
    assert len(grace.list()[0].equity()) == 20


def test_an_s3_that_is_not_there_is_one_error_and_nothing_leaves(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    ada = use_remote(team.ada, "s3://runs/cache", endpointurl="http://127.0.0.1:9")
    save(ada)
    with pytest.raises(RunvaultError, match="the DVC remote 'far' cannot be used"):
        ada.push()
    assert git(team.origin, "branch", "--list", "runvault") == ""


@contextmanager
def sftp_server(root: Path) -> Iterator[int]:
    asyncssh = pytest.importorskip("asyncssh")
    ready, stop = threading.Event(), asyncio.Event()
    found: list[int] = []
    loop = asyncio.new_event_loop()

    opened: list[Any] = []  # DVC leaves its connections open

    class Anybody(asyncssh.SSHServer):  # type: ignore[misc,name-defined]
        def connection_made(self, connection: Any) -> None:
            opened.append(connection)

        def begin_auth(self, _: str) -> bool:
            return False

    async def serve() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        options = {"server_factory": Anybody, "server_host_keys": [key], "sftp_factory": True, "allow_scp": False}
        server = await asyncssh.listen("127.0.0.1", 0, **options)
        found.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        for connection in opened:
            connection.abort()
            await connection.wait_closed()
        await server.wait_closed()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


def test_artifacts_travel_over_sftp(team: Team, tmp_path: Path) -> None:
    pytest.importorskip("dvc_ssh")
    with sftp_server(tmp_path) as port:
        address = f"ssh://tester@127.0.0.1:{port}{tmp_path}/far"
        ada = use_remote(team.ada, address, allow_agent="false")
        commit_and_push_config(ada)
        run = save(ada)
        assert ada.push().artifacts == 5
        assert len(list((tmp_path / "far" / "files" / "md5").glob("*/*"))) == 5
        grace = team.join("Grace")
        assert grace.get(run.id).equity().equals(run.equity())
