"""The object store: what is put is durable, named as DVC names it, and never believed without a look."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from machine import git

from runvault.errors import ArtifactMissingError, ConfigError, FormatError, IntegrityError, RunvaultError
from runvault.stores.dvc import ObjectProblem, ObjectStore, init_dvc_files, inputs, unchanged
from runvault.stores.dvc import batch as batches
from runvault.stores.dvc.pending import Pending
from runvault.stores.dvc.store import NOWHERE

DATA = b"prices" * 1000
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - the name that DVC gives it
SHA256 = hashlib.sha256(DATA).hexdigest()
DVC = Path(sys.executable).with_name("dvc")


def dvc(folder: Path, *args: str) -> str:
    return subprocess.run([str(DVC), *args], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def store(repo: Path) -> ObjectStore:
    init_dvc_files(repo)
    return ObjectStore.find(repo, repo / ".git")


def paths(store: ObjectStore, md5: str = MD5) -> tuple[Path, Path]:
    """Return where an object lies in the cache and in keep."""
    assert store.cache is not None
    return store.cache / md5[:2] / md5[2:], store.keep / md5[:2] / md5[2:]


def spoil(path: Path, data: bytes = b"damaged") -> None:
    """Change a file in place, as a disk does: a hard link shares the damage."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def leftovers(repo: Path) -> list[Path]:
    return list(repo.rglob("*.tmp"))


def test_an_object_lies_read_only_in_cache_and_keep(repo: Path, store: ObjectStore) -> None:
    stored = store.put(DATA)
    assert (stored.md5, stored.sha256, stored.size) == (MD5, SHA256, len(DATA))
    cache, keep = paths(store)
    assert cache == repo / ".dvc/cache/files/md5" / MD5[:2] / MD5[2:]
    assert keep == repo / ".git/runvault/keep/files/md5" / MD5[:2] / MD5[2:]
    assert cache.read_bytes() == DATA
    assert cache.samefile(keep)
    assert cache.stat().st_mode & 0o777 == 0o444
    assert leftovers(repo) == []
    assert store.get(MD5, SHA256) == DATA
    assert store.has(MD5)
    assert store.check(MD5, SHA256, len(DATA)) == []


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    stored = store.put(b"")
    assert store.get(stored.md5, stored.sha256) == b""
    assert store.check(stored.md5, stored.sha256, 0) == []


def test_putting_twice_writes_once(store: ObjectStore) -> None:
    store.put(DATA)
    before = paths(store)[0].stat()
    store.put(DATA)
    after = paths(store)[0].stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_dvc_gc_deleted_comes_back_from_keep(store: ObjectStore) -> None:
    store.put(DATA)
    cache, keep = paths(store)
    cache.unlink()
    assert store.get(MD5, SHA256) == DATA
    assert store.check(MD5, SHA256) == [ObjectProblem("cache", "missing", cache)]
    store.put(DATA)
    assert cache.samefile(keep)
    assert store.check(MD5, SHA256) == []


def test_what_only_the_cache_has_is_read_from_it(store: ObjectStore) -> None:
    store.put(DATA)
    cache, keep = paths(store)
    keep.unlink()
    assert store.get(MD5, SHA256) == DATA
    assert store.check(MD5, SHA256) == [ObjectProblem("keep", "missing", keep)]
    store.put(DATA)
    assert keep.samefile(cache)


@pytest.mark.parametrize("place", ["cache", "keep"])
def test_one_damaged_copy_is_passed_over_reported_and_healed_by_the_next_put(store: ObjectStore, place: str) -> None:
    store.put(DATA)
    cache, keep = paths(store)
    bad, good = (cache, keep) if place == "cache" else (keep, cache)
    bad.unlink()
    spoil_new(bad)
    assert store.get(MD5, SHA256) == DATA
    assert store.check(MD5, SHA256, len(DATA)) == [ObjectProblem(place, "damaged", bad)]
    store.put(DATA)
    assert bad.read_bytes() == good.read_bytes() == DATA
    assert store.check(MD5, SHA256) == []


def spoil_new(path: Path) -> None:
    path.write_bytes(DATA[:-1] + b"X")
    path.chmod(0o444)


def test_damage_in_place_hits_both_names_and_is_never_returned(repo: Path, store: ObjectStore) -> None:
    store.put(DATA)
    cache, keep = paths(store)
    spoil(cache, DATA[:-1] + b"X")
    with pytest.raises(IntegrityError) as caught:
        store.get(MD5, SHA256)
    assert str(cache) in str(caught.value)
    assert {problem.place for problem in store.check(MD5, SHA256)} == {"cache", "keep"}
    store.put(DATA)
    assert cache.read_bytes() == keep.read_bytes() == DATA
    assert leftovers(repo) == []


def test_equal_md5_with_other_sha256_is_refused(store: ObjectStore) -> None:
    store.put(DATA)
    with pytest.raises(IntegrityError):
        store.get(MD5, "0" * 64)
    assert store.get(MD5) == DATA
    assert {problem.kind for problem in store.check(MD5, "0" * 64)} == {"damaged"}
    assert {problem.kind for problem in store.check(MD5, SHA256, 1)} == {"damaged"}


def test_an_object_that_is_nowhere_is_missing(store: ObjectStore) -> None:
    with pytest.raises(ArtifactMissingError) as caught:
        store.get(MD5, SHA256)
    assert caught.value.hint == NOWHERE
    assert not store.has(MD5)
    assert [problem.kind for problem in store.check(MD5)] == ["missing", "missing"]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", MD5.upper(), MD5[:-1], MD5 + "\n", MD5 + ".dir/x"])
def test_a_name_that_is_no_md5_reaches_no_file(store: ObjectStore, name: str) -> None:
    for ask in (store.get, store.has, store.check):
        with pytest.raises(FormatError):
            ask(name)


def test_a_batch_appears_at_its_end(repo: Path, store: ObjectStore) -> None:
    with store.batch():
        store.put(DATA)
        store.put(b"other")
        store.put(DATA)
        assert not store.has(MD5)
    assert store.check(MD5, SHA256) == []
    assert leftovers(repo) == []


def test_another_thread_does_not_join_a_batch(store: ObjectStore) -> None:
    with store.batch(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(store.put, b"other").result().md5
        assert store.has(hashlib.md5(b"other").hexdigest())  # noqa: S324 - DVC's name


def test_a_batch_that_fails_leaves_nothing(repo: Path, store: ObjectStore) -> None:
    def interrupted() -> None:
        with store.batch():
            store.put(DATA)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not store.has(MD5)
    assert leftovers(repo) == []
    store.put(DATA)
    assert store.has(MD5)


def test_a_large_batch_holds_few_files_open(store: ObjectStore) -> None:
    limit = f"""
import resource, sys
from pathlib import Path
from runvault.stores.dvc import ObjectStore
store = ObjectStore(Path(sys.argv[1]), None)
resource.setrlimit(resource.RLIMIT_NOFILE, ({batches.MAX_OPEN + 20}, {batches.MAX_OPEN + 20}))
with store.batch():
    names = [store.put(bytes([i, i])).md5 for i in range(200)]
assert all(store.has(name) for name in names)
"""
    subprocess.run([sys.executable, "-c", limit, str(store.keep)], check=True)


def test_a_large_batch_syncs_each_folder_once(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(batches, "sync_folder", synced.append)
    with store.batch():
        names = [store.put(bytes([i, i])).md5 for i in range(3 * batches.MAX_OPEN)]

    assert all(store.has(name) for name in names)
    folders = {path.parent for name in names for path in paths_of(store, name)}
    assert folders <= set(synced)
    assert len(synced) == len(set(synced))


def test_what_is_put_again_and_again_is_noted_and_looked_at_once(
    store: ObjectStore, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(DATA)
    noted: list[set[str]] = []
    note = store.pending.note
    del hashed[:]
    monkeypatch.setattr(store.pending, "note", lambda md5s: noted.append(set(md5s)) or note(md5s))
    with store.batch():
        for number in range(3):
            store.put_all([DATA, b"own", bytes([number])])

    assert hashed.count(MD5[2:]) == len(paths_of(store, MD5))
    own = [store.put(bytes([number])).md5 for number in range(3)]
    assert noted[:3] == [{MD5, store.put(b"own").md5, own[0]}, {own[1]}, {own[2]}]


FULL = """
import resource, signal, sys
from pathlib import Path
from runvault.stores.dvc.pending import Pending
from runvault.stores.dvc.store import NOWHERE
pending = Pending(Path(sys.argv[1]))
pending.note(["a" * 32])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    pending.note(["b" * 32])
except OSError as error:
    print(error.errno)
"""


def test_a_note_that_a_full_disk_did_not_take_is_an_error_and_no_traceback_at_the_end(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{errno.EFBIG}\n", "")
    with Pending(tmp_path).collecting() as noted:
        assert noted == set()


def test_what_a_full_disk_did_not_take_can_be_put_again_in_the_same_batch(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_OPEN", 2)
    sync = batches.sync_open
    with store.batch():
        store.put(b"one")
        monkeypatch.setattr(batches, "sync_open", no_space)
        with pytest.raises(RunvaultError):
            store.put(DATA)
        monkeypatch.setattr(batches, "sync_open", sync)
        store.put(DATA)

    assert store.get(MD5) == DATA


def no_space(_: object) -> None:
    raise OSError(28, "No space left on device")


def paths_of(store: ObjectStore, md5: str) -> list[Path]:
    return [root / md5[:2] / md5[2:] for root in (store.cache, store.keep) if root is not None]


def test_syncs_of_a_slow_disk_are_waited_for_together(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: int) -> None:
        time.sleep(0.05)

    monkeypatch.setattr(os, "fsync", slow)
    started = time.monotonic()
    with store.batch():
        for i in range(16):
            store.put(bytes([i]))
    assert time.monotonic() - started < 0.05 * 30  # one after the other they are more than 48


def test_files_and_folders_are_synced_before_and_after_they_get_their_names(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, keep = paths(store)
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_sync(handle: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{handle}').resolve()}")
        fsync(handle)

    def note_rename(self: Path, target: Path) -> Path:
        seen.append(f"name {target}")
        return replace(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    store.put(DATA)
    named = seen.index(f"name {cache}")
    assert any(step.startswith(f"sync {cache.parent}/.") for step in seen[:named])
    for folder in (cache.parent, cache.parent.parent, keep.parent, keep.parent.parent):
        assert f"sync {folder}" in seen[named:]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files and folders that are synced from now on."""
    seen: list[Path] = []
    for where in ("sync_file", "sync_folder"):
        inner = getattr(batches, where)
        monkeypatch.setattr(batches, where, lambda path, inner=inner: seen.append(path) or inner(path))
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files that are hashed from now on."""
    seen: list[str] = []
    inner = inputs.chunks_of
    monkeypatch.setattr(inputs, "chunks_of", lambda path: seen.append(path.name) or inner(path))
    return seen


def test_an_object_that_is_there_is_synced_once_under_both_names_and_then_known(
    store: ObjectStore, synced: list[Path], hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "RACY_NS", 0)
    cache, keep = paths(store)
    store.put(DATA)
    del synced[:], hashed[:]
    store.put(DATA)  # somebody else's, as far as anyone can tell
    assert sorted(synced) == sorted([keep, cache.parent, keep.parent])
    assert hashed == [cache.name]
    store.put(DATA)
    assert (len(synced), len(hashed)) == (3, 1)
    cache.unlink()
    os.link(keep, cache)  # a new name, which nobody synced
    store.put(DATA)
    assert (len(synced), len(hashed)) == (6, 2)


def test_an_object_that_changed_a_moment_ago_is_not_known(
    store: ObjectStore, synced: list[Path], hashed: list[str]
) -> None:
    for _ in range(3):
        store.put(DATA)
    assert len(hashed) == 2 * 2
    assert sum(path.is_file() for path in synced) == 2


def test_damage_to_an_object_that_is_known_is_healed(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "RACY_NS", 0)
    for _ in range(2):
        store.put(DATA)
    cache, keep = paths(store)
    times = cache.stat()
    spoil(cache, DATA[:-1] + b"X")
    os.utime(cache, ns=(times.st_atime_ns, times.st_mtime_ns))
    store.put(DATA)
    assert cache.read_bytes() == keep.read_bytes() == DATA


def test_an_input_that_stays_as_it_is_is_hashed_once(
    repo: Path, store: ObjectStore, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "RACY_NS", 0)
    (repo / "prices.csv").write_bytes(DATA)
    first = store.put_file(repo / "prices.csv")
    assert [store.put_file(repo / "prices.csv") for _ in range(3)] == [first] * 3
    assert hashed.count("prices.csv") == 2  # and read once more as it is copied
    (repo / "prices.csv").write_bytes(DATA[::-1])
    assert store.put_file(repo / "prices.csv").md5 != first.md5


def test_a_full_disk_is_said_in_one_line(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunvaultError, match="cannot store objects: No space left on device") as caught:
        store.put(DATA)
    assert caught.value.hint == "free some space and do it again: nothing half is kept"
    monkeypatch.undo()
    assert not store.has(MD5)
    assert leftovers(store.keep.parents[4]) == []


def test_keep_on_another_file_system_is_a_copy(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    store.put(DATA)
    cache, keep = paths(store)
    assert keep.read_bytes() == DATA
    assert not keep.samefile(cache)
    assert keep.stat().st_mode & 0o777 == 0o444
    assert leftovers(store.keep) == []


def test_a_store_knows_whether_keep_takes_space(repo: Path, store: ObjectStore) -> None:
    assert not store.keep_takes_space
    if Path("/dev/shm").exists() and Path("/dev/shm").stat().st_dev != repo.stat().st_dev:
        dvc(repo, "config", "--local", "cache.dir", "/dev/shm/no-such-cache")
        assert ObjectStore.find(repo, repo / ".git").keep_takes_space


def test_reading_imports_neither_dvc_nor_yaml(store: ObjectStore) -> None:
    store.put(DATA)
    code = f"""
import sys
from pathlib import Path
from runvault.stores.dvc import ObjectStore, Stored, parse_pointer, pointer_bytes
store = ObjectStore(Path({str(store.keep)!r}), Path({str(store.keep.parents[4] / ".dvc")!r}))
store.get({MD5!r}, {SHA256!r})
parse_pointer(pointer_bytes("orders.parquet", Stored({MD5!r}, "", 7)), "orders.parquet")
loaded = [name for name in sys.modules if name.partition(".")[0] in ("dvc", "dvc_data", "ruamel", "yaml")]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Where the cache is


def located(repo: Path, work_tree: Path | None = None) -> Path | None:
    return ObjectStore.find(work_tree or repo, repo / ".git").cache


@pytest.mark.parametrize(
    ("level", "value"),
    [
        ("--local", "relative/cache"),
        ("--project", "../beside"),
        ("--global", "/tmp/of-everybody"),
        ("--local", "~/home-cache"),
    ],
)
def test_the_cache_is_where_dvc_says(repo: Path, level: str, value: str) -> None:
    init_dvc_files(repo)
    dvc(repo, "config", level, "cache.dir", value)
    said = Path(dvc(repo, "cache", "dir").strip())
    assert located(repo) == (said if said.is_absolute() else repo / said) / "files" / "md5"


def test_local_configuration_wins_over_the_repositorys(repo: Path, tmp_path: Path) -> None:
    init_dvc_files(repo)
    (repo / ".dvc/config").write_text("[cache]\n    dir = ../first\n")
    (repo / ".dvc/config.local").write_text(f"[cache]\n    dir = {tmp_path / 'second'}\n    shared = group\n")
    store = ObjectStore.find(repo, repo / ".git")
    assert store.cache == tmp_path / "second/files/md5"
    store.put(DATA)
    assert paths(store)[0].parent.stat().st_mode & 0o7777 == 0o2775


def test_a_broken_configuration_of_dvc_is_our_error(repo: Path) -> None:
    init_dvc_files(repo)
    (repo / ".dvc/config").write_text("[cache\n")
    with pytest.raises(ConfigError, match="the DVC configuration cannot be read"):
        located(repo)
    (repo / ".dvc/config").write_text("[cache]\n    dir = s3://bucket/cache\n")
    with pytest.raises(ConfigError, match="no local folder: s3://bucket/cache"):
        located(repo)


def test_without_dvc_keep_is_all_and_the_checkout_stays_as_it_is(repo: Path) -> None:
    store = ObjectStore.find(repo, repo / ".git")
    stored = store.put(DATA)
    assert store.cache is None
    assert store.get(stored.md5, stored.sha256) == DATA
    assert store.check(stored.md5, stored.sha256) == []
    assert git(repo, "status", "--porcelain", "--ignored") == ""


def test_a_linked_worktree_uses_the_cache_of_the_main_one(repo: Path, tmp_path: Path) -> None:
    init_dvc_files(repo)
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "dvc")
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert located(repo, tmp_path / "linked") == repo / ".dvc/cache/files/md5"


def test_the_files_of_dvc_init_are_dvcs_own(repo: Path, tmp_path: Path) -> None:
    written = init_dvc_files(repo)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    dvc(other, "init", "--quiet")
    assert {str(path.relative_to(repo)) for path in written} == set(git(other, "ls-files").split())
    for path in written:
        assert path.read_bytes() == (other / path.relative_to(repo)).read_bytes()
    assert git(repo, "diff", "--cached", "--name-only") == ""
    assert init_dvc_files(repo) == []
    dvc(repo, "status")


def test_a_dvcignore_that_is_there_is_kept(repo: Path) -> None:
    (repo / ".dvcignore").write_text("mine\n")
    assert repo / ".dvcignore" not in init_dvc_files(repo)
    assert (repo / ".dvcignore").read_text() == "mine\n"


# --- Input data


def test_a_file_is_stored_as_dvc_add_does(repo: Path, store: ObjectStore) -> None:
    (repo / "prices.csv").write_bytes(b"a,b\r\n1,2\r\n" * 100_000)
    stored = store.put_file(repo / "prices.csv")
    dvc(repo, "add", "--quiet", "prices.csv")
    assert f"md5: {stored.md5}\n  size: {stored.size}\n" in (repo / "prices.csv.dvc").read_text()
    assert store.check(stored.md5, stored.sha256, stored.size) == []


def test_a_folder_is_stored_as_dvc_add_does(repo: Path, store: ObjectStore) -> None:
    from runvault.stores.dvc import pointer_bytes

    folder = repo / "ticks"
    (folder / "2004").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name in ("b.csv", "a.csv", "2004/ä é.csv", "skip.log"):
        (folder / name).write_text(name)
    (repo / ".dvcignore").write_text("*.log\n")
    stored = store.put_file(folder)
    assert stored.nfiles == 3
    before = sorted(path.name for path in store.keep.rglob("*") if path.is_file())
    dvc(repo, "add", "--quiet", "ticks")
    assert (repo / "ticks.dvc").read_bytes() == pointer_bytes("ticks", stored)
    cached = sorted(path.name for path in (repo / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    assert cached == before
    assert store.get(stored.md5, stored.sha256).startswith(b'[{"md5": ')
    assert store.check(stored.md5, stored.sha256, stored.size) == []


def test_damage_to_a_file_of_a_folder_is_found(repo: Path, store: ObjectStore) -> None:
    (repo / "ticks").mkdir()
    (repo / "ticks/a.csv").write_bytes(DATA)
    stored = store.put_file(repo / "ticks")
    cache, _ = paths(store)
    spoil(cache)
    assert ObjectProblem("cache", "damaged", cache) in store.check(stored.md5, stored.sha256, stored.size)


@pytest.mark.parametrize("listing", [b"{}{", b"[1]", b'[{"md5": 1}]', b'[{"md5": "../../x"}]', b"[" * 100_000])
def test_a_hostile_listing_of_a_folder_is_refused(store: ObjectStore, listing: bytes) -> None:
    stored = store.put(listing)
    for path in paths(store, stored.md5):
        path.rename(path.with_name(path.name + ".dir"))
    with pytest.raises(FormatError):
        store.check(stored.md5 + ".dir", stored.sha256)


def test_a_file_that_changes_while_it_is_read_is_refused(
    repo: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "live.csv").write_text("1\n")
    write = batches.Batch._write

    def grow(self: batches.Batch, *args: object) -> object:
        (repo / "live.csv").write_text("1\n2\n")
        return write(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(batches.Batch, "_write", grow)
    with pytest.raises(IntegrityError, match="changed while it was read"):
        store.put_file(repo / "live.csv")
    assert leftovers(repo) == []


def test_an_input_that_is_not_there_is_named(repo: Path, store: ObjectStore) -> None:
    with pytest.raises(RunvaultError, match=r"No such file or directory.*nothing\.csv"):
        store.put_file(repo / "nothing.csv")
