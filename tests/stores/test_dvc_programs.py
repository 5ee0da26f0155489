"""Plain `dvc` and plain `git` on an archive branch: what they need is there, without runvault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine import git

from runvault.stores.dvc import ObjectStore, Stored, init_dvc_files, parse_pointer, pointer_bytes

DVC = Path(sys.executable).with_name("dvc")
RUN = f"runs/3f/{'3f9a' * 16}-42"
ARTIFACTS = {name: name.encode() * 500 for name in ("orders.parquet", "portfolio.pkl", "prices.parquet")}

# What DVC puts into a checkout of the branch, its own .dvc/.gitignore included
IGNORED = b"/.dvc/*\n!/.dvc/config\n/runs/*/*/*.parquet\n/runs/*/*/*.pkl\n/data/*/*\n!/data/*/*.dvc\n"


def dvc(folder: Path, *args: str) -> str:
    done = subprocess.run([str(DVC), *args], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit_branch(repo: Path, files: dict[str, bytes]) -> None:
    """Put `files` on the branch runvault, which shares no history with the code, without a checkout."""
    environment = {**os.environ, "GIT_INDEX_FILE": str(repo / ".git/archive-index")}

    def plumb(*args: str, data: bytes = b"") -> str:
        done = subprocess.run(["git", *args], cwd=repo, env=environment, input=data, capture_output=True, check=True)
        return done.stdout.decode().strip()

    for path, data in files.items():
        blob = plumb("hash-object", "-w", "--stdin", data=data)
        plumb("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    commit = plumb("commit-tree", plumb("write-tree"), "-m", "runvault archive, format 1")
    plumb("update-ref", "refs/heads/runvault", commit)


@pytest.fixture
def archive(repo: Path) -> Path:
    """Return a repository with DVC, a run on the branch runvault, its objects, an input file and an input folder."""
    init_dvc_files(repo)
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "dvc")
    store = ObjectStore.find(repo, repo / ".git")
    files = {".dvc/config": b"", ".dvcignore": b"", ".gitignore": IGNORED, "runvault.json": b'{"format": 1}\n'}
    with store.batch():
        for name, data in ARTIFACTS.items():
            files[f"{RUN}/{name}.dvc"] = pointer_bytes(name, store.put(data))
    files[f"{RUN}/manifest.json"] = b"{}\n"
    (repo / "ticks").mkdir()
    (repo / "ticks/a.csv").write_text("1\n")
    folder, file = store.put_file(repo / "ticks"), store.put(b"1,2\n")
    for name, stored in ((folder.md5, folder), (f"{file.md5}.csv", file)):
        files[f"data/{stored.md5[:2]}/{name}.dvc"] = pointer_bytes(name, stored)
    (repo / "ticks/a.csv").unlink()
    (repo / "ticks").rmdir()
    commit_branch(repo, files)
    return repo


def object_names(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_dvc_get_fetches_an_artifact_of_a_run(archive: Path, name: str, tmp_path: Path) -> None:
    dvc(archive, "get", ".", f"{RUN}/{name}", "--rev", "runvault", "--out", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == ARTIFACTS[name]


def test_dvc_list_shows_the_artifacts_of_a_run(archive: Path) -> None:
    listed = dvc(archive, "list", ".", RUN, "--rev", "runvault").split()
    assert set(listed) == {"manifest.json", *ARTIFACTS, *(f"{name}.dvc" for name in ARTIFACTS)}


def test_dvc_api_opens_an_artifact(archive: Path) -> None:
    code = f"import dvc.api\nprint(len(dvc.api.read({RUN + '/orders.parquet'!r}, repo='.', rev='runvault', mode='rb')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=archive, check=True, capture_output=True, text=True)
    assert int(done.stdout) == len(ARTIFACTS["orders.parquet"])


def test_dvc_push_takes_everything_to_a_remote_and_a_clone_pulls_it(archive: Path, tmp_path: Path) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    dvc(archive, "remote", "add", "--local", "--default", "store", str(remote))
    dvc(archive, "push", "--all-branches")
    store = ObjectStore.find(archive, archive / ".git")
    assert object_names(remote / "files/md5") == object_names(store.keep)

    git(tmp_path, "clone", "--quiet", "--branch", "runvault", str(archive), str(clone))
    dvc(clone, "remote", "add", "--local", "--default", "store", str(remote))
    dvc(clone, "pull")
    for name, data in ARTIFACTS.items():
        assert (clone / RUN / name).read_bytes() == data
    assert git(clone, "status", "--porcelain") == ""
    assert "up to date" in dvc(clone, "status")


def test_what_is_lost_here_comes_back_with_dvc_fetch(archive: Path, tmp_path: Path) -> None:
    dvc(archive, "remote", "add", "--local", "--default", "store", str(tmp_path / "remote"))
    dvc(archive, "push", "--all-branches")
    store = ObjectStore.find(archive, archive / ".git")
    pointer = parse_pointer(git(archive, "show", f"runvault:{RUN}/orders.parquet.dvc").encode(), "orders.parquet")
    assert store.cache is not None
    for root in (store.cache, store.keep):
        (root / pointer.md5[:2] / pointer.md5[2:]).unlink()
    dvc(archive, "fetch", "--all-branches")  # the hint of the error that `get` raises
    assert store.get(pointer.md5) == ARTIFACTS["orders.parquet"]


def test_an_object_that_dvc_gc_deletes_is_still_here(archive: Path) -> None:
    dvc(archive, "gc", "--workspace", "--force")
    store = ObjectStore.find(archive, archive / ".git")
    assert store.cache is not None
    assert object_names(store.cache) == set()
    for name, data in ARTIFACTS.items():
        pointer = parse_pointer(git(archive, "show", f"runvault:{RUN}/{name}.dvc").encode(), name)
        assert store.get(pointer.md5) == data


def test_dvc_gc_of_all_branches_keeps_the_archive(archive: Path) -> None:
    store = ObjectStore.find(archive, archive / ".git")
    before = object_names(store.keep)
    dvc(archive, "gc", "--all-branches", "--force")
    assert store.cache is not None
    assert object_names(store.cache) == before


@pytest.mark.parametrize(
    "name",
    ["orders.parquet", "prices 2004.csv", "123", "true", "é.csv", "- it's.csv", "a: b #c.csv", "long " * 30 + ".csv"],
)
def test_pointers_are_byte_for_byte_those_of_dvc_add(repo: Path, name: str) -> None:
    init_dvc_files(repo)
    data = name.encode()
    (repo / name).write_bytes(data)
    dvc(repo, "add", "--quiet", "--", f"./{name}")
    stored = ObjectStore.find(repo, repo / ".git").put(data)
    written = pointer_bytes(name, stored)
    assert (repo / f"{name}.dvc").read_bytes() == written
    assert parse_pointer(written, name).md5 == stored.md5


@pytest.mark.parametrize(
    "md5", ["1" * 32, "1" * 20 + "e" + "1" * 11, "0b" + "01" * 15, "ab" + "0" * 30, "0" * 31 + "e"]
)
def test_digests_that_look_like_numbers_are_written_as_dvc_quotes_them(md5: str) -> None:
    from dvc.utils.serialize import dumps_yaml

    stored = Stored(md5, "", 7)
    members = {"md5": md5, "size": 7, "hash": "md5", "path": "orders.parquet"}
    assert pointer_bytes("orders.parquet", stored).decode() == dumps_yaml({"outs": [members]})
    assert parse_pointer(pointer_bytes("orders.parquet", stored), "orders.parquet").md5 == md5


def test_another_layout_of_the_same_yaml_is_read() -> None:
    text = f'outs:\n  - {{path: "orders.parquet", hash: md5, size: 7, md5: {"ab" * 16}}}  # by hand\n'
    assert parse_pointer(text.encode(), "orders.parquet").md5 == "ab" * 16
