"""Push, pull and merge, beside bare git and beside copying the files."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

import runvault
from benchmarks.backtests import SETTINGS, new_params
from benchmarks.bench import Bench
from benchmarks.commands import RUNVAULT
from benchmarks.dvc_experiments import project, save
from benchmarks.figures import Figure, Target
from benchmarks.forge import Template, forge_archive
from benchmarks.machine import program
from benchmarks.measure import run_process, seconds_of
from benchmarks.repositories import git, new_repository
from runvault.api.vault import Vault, find_vault
from runvault.stores.dvc.remotes import default_remote
from runvault.stores.dvc.store import ObjectStore
from runvault.stores.dvc.transfer import Wanted, fetch, send

RUNS, FEW = 1_000, 10
OBJECTS, OBJECT_BYTES = 1_000, 200_000
DIFFERING, AIMED_AT = 100, 10_000


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield what sharing costs."""
    yield from _branches(bench)
    yield from _objects(bench)
    for size in bench.sizes:
        yield _merge(bench, size)
    yield from _beside_experiments(bench)


def _branches(bench: Bench) -> Iterator[Figure]:
    """Push 1,000 new runs to a folder, and pull them from there, without artifacts."""
    taken: dict[str, list[float]] = {"push": [], "git push": [], "pull": [], "git fetch": []}
    for _ in range(bench.repeat):
        vault = _forged(bench, RUNS)
        place = vault.stores.repository.common_dir.parent
        ours, plain = bench.archives.folder("ours"), bench.archives.folder("plain")
        for remote, path in (("origin", ours), ("plain", plain)):
            git(place, "init", "--quiet", "--bare", str(path))
            git(place, "remote", "add", remote, str(path))
        vault = runvault.open(place)
        taken["git push"].append(seconds_of(lambda at=place: git(at, "push", "--quiet", "plain", "runvault")))
        taken["push"].append(seconds_of(lambda at=vault: at.push(artifacts=False)))
        there = new_repository(bench.archives.folder("there"))
        git(there, "remote", "add", "origin", str(ours))
        bare = new_repository(bench.archives.folder("bare"))
        git(bare, "remote", "add", "origin", str(ours))
        taken["git fetch"].append(seconds_of(lambda at=bare: git(at, "fetch", "--quiet", "origin", "runvault")))
        taken["pull"].append(seconds_of(lambda at=there: find_vault(at).pull(artifacts=False)))
        assert runvault.open(there).count() == RUNS + 1  # all were let in
        for path in (place, ours, plain, there, bare):
            shutil.rmtree(path)
    for work, beside in (("push", "git push"), ("pull", "git fetch")):
        plain_s = statistics.median(taken[beside])
        target = Target("3 times", most_ratio=3.0)
        yield Figure(
            f"{work}, no artifacts", statistics.median(taken[work]), size=RUNS, plain=(beside, plain_s), target=target
        )


def _forged(bench: Bench, runs: int) -> Vault:
    place = new_repository(bench.archives.folder("forged"))
    vault = runvault.init(place)
    saved = vault.save(bench.prepared.new(), strategy="dual_sma", params=new_params(), settings=SETTINGS)
    forge_archive(place, runs, Template.read(vault.stores.repository.common_dir, saved.id))
    return runvault.open(place)


def _objects(bench: Bench) -> Iterator[Figure]:
    """Send 1,000 objects of 200 KB to a folder and fetch them, beside copying as many files with fsync."""
    taken: dict[str, list[float]] = {"send": [], "fetch": [], "copy": []}
    for number in range(bench.repeat):
        scratch = bench.archives.folder("objects")
        (scratch / ".dvc").mkdir(parents=True)
        url = scratch / "remote"
        (scratch / ".dvc" / "config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n")
        store = ObjectStore(scratch / "keep", scratch / ".dvc")
        with store.batch():
            names = [store.put(_content(number, each)).md5 for each in range(OBJECTS)]
        remote = default_remote(scratch / ".dvc")
        assert remote is not None
        taken["send"].append(seconds_of(lambda r=remote, s=store, n=names: send(r, s, n)))
        taken["copy"].append(seconds_of(lambda s=scratch: _copy(s / "remote", s / "copied")))
        other = ObjectStore(scratch / "other", None)
        wanted = [Wanted(name, OBJECT_BYTES) for name in names]
        taken["fetch"].append(seconds_of(lambda r=remote, o=other, w=wanted: fetch(r, o, w)))
        assert all(other.has(name) for name in names)
        shutil.rmtree(scratch)
    copied = statistics.median(taken["copy"])
    for work in ("send", "fetch"):
        target = Target("1.5 times", most_ratio=1.5)
        measured = statistics.median(taken[work])
        yield Figure(f"{work} 1,000 objects of 200 KB", measured, plain=("copy, synced", copied), target=target)


def _content(number: int, each: int) -> bytes:
    seed = hashlib.sha256(f"{number} {each}".encode()).digest()
    return (seed * (OBJECT_BYTES // len(seed) + 1))[:OBJECT_BYTES]


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as read, place.open("wb") as written:
                shutil.copyfileobj(read, written)
                written.flush()
                os.fsync(written.fileno())


def _merge(bench: Bench, size: int) -> Figure:
    """Merge two archives of so many runs that differ in 100."""
    place = bench.archives.copy(size)
    git(place, "branch", "other", "runvault")
    for branch in ("runvault", "other"):
        vault = runvault.open(place, branch=branch)
        for _ in range(DIFFERING // 2):
            vault.save(bench.prepared.new(), strategy="dual_sma", params=new_params(), settings=SETTINGS)
    taken, plain = [], []
    for number in range(bench.repeat):
        git(place, "branch", f"merged-{number}", "runvault")
        vault = runvault.open(place, branch=f"merged-{number}")
        taken.append(seconds_of(lambda at=vault: at.merge("other")))
        plain.append(seconds_of(lambda: git(place, "merge-tree", "--write-tree", "runvault", "other")))
    target = Target("0.5 s", most=0.5) if size <= AIMED_AT else None
    beside = ("git merge-tree", statistics.median(plain))
    return Figure("merge, 100 runs differ", statistics.median(taken), size=size, plain=beside, target=target)


def _beside_experiments(bench: Bench) -> Iterator[Figure]:
    """Push and pull a few runs with their artifacts, and as many experiments of DVC: whole processes of both."""
    dvc = program("dvc")
    if dvc is None:
        bench.skip("`dvc exp push` and `pull` were not measured: DVC is not installed.")
        return
    theirs, ours = project(bench, dvc), bench.archives.empty("shared")
    save(bench, theirs, dvc, FEW)
    vault = runvault.open(ours)
    for _ in range(FEW):
        vault.save(bench.prepared.new(), strategy="dual_sma", params=new_params(), settings=SETTINGS)
    taken: dict[str, list[float]] = {"push": [], "dvc exp push": [], "pull": [], "dvc exp pull": []}
    for _ in range(bench.repeat):
        for place, verb, push, pull in (
            (ours, "", [RUNVAULT, "push", "there"], [RUNVAULT, "pull", "there"]),
            (theirs, "dvc exp ", [dvc, "exp", "push", "-q", "-A", "there"], [dvc, "exp", "pull", "-q", "-A", "there"]),
        ):
            remote, storage, clone = (bench.archives.folder(name) for name in ("remote", "storage", "clone"))
            git(place, "init", "--quiet", "--bare", str(remote))
            git(place, "push", "--quiet", str(remote), "HEAD:refs/heads/main")
            git(place, "clone", "--quiet", "--branch", "main", str(remote), str(clone))
            for each in (place, clone):
                git(each, "config", "remote.there.url", str(remote))
                _use_storage(each, storage)
            taken[f"{verb}push"].append(run_process(push, place).seconds)
            taken[f"{verb}pull"].append(run_process(pull, clone).seconds)
            for path in (remote, storage, clone):
                shutil.rmtree(path)
    for verb in ("push", "pull"):
        peer = (f"dvc exp {verb} -A of as many", statistics.median(taken[f"dvc exp {verb}"]))
        yield Figure(
            f"runvault {verb}, runs with artifacts, whole process", statistics.median(taken[verb]), size=FEW, plain=peer
        )


def _use_storage(repository: Path, storage: Path) -> None:
    """Make a folder the default DVC remote, in this clone alone."""
    config = repository / ".dvc" / "config.local"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f"[core]\n    remote = s\n['remote \"s\"']\n    url = {storage}\n", encoding="utf-8")
