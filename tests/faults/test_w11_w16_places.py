"""A disk that is really full, programs that lie, locks of others, growth, and every kind of repository."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import ADA, NOON, save
from harness import DRIVER, assert_sound, new_archive, saved_runs
from machine import full_counts, git

from runvault.errors import BusyError, RunvaultError
from runvault.stores.git import writing
from runvault.stores.git.edits import Edit
from runvault.stores.git.init import check_writable, init_archive
from runvault.stores.git.objects import Tip
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.git.writing import Writer

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    size = f"size={full_counts(3, 16)}m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_loses_nothing_and_saving_goes_on(small_disk: Path) -> None:
    git(small_disk, "init", "--quiet")
    repository = new_archive(small_disk)
    acknowledged: set[str] = set()
    ballast = small_disk / "ballast"
    for turn in range(full_counts(2, 20)):
        # A little is left each time, so that the archive itself has not filled the disk before the last turn.
        ballast.write_bytes(b"x" * max(0, shutil.disk_usage(small_disk).free - (384 << 10)))
        failures = 0
        for number in range(10_000):
            name, bulk = f"t{turn}-{number}", number % 3 == 2
            try:
                assert save(repository, name, bulk=bulk)
                acknowledged.add(name)
            except RunvaultError:
                failures += 1
            if failures == 5:
                break
        ballast.unlink()
        assert save(repository, f"after-{turn}")
        acknowledged.add(f"after-{turn}")
        assert acknowledged <= saved_runs(repository)
        assert_sound(repository)
        git(small_disk, "gc", "--quiet", "--prune=now", check=False)  # it may itself need more room than there is


def shim(folder: Path, body: str) -> str:
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\nreal={real}\nfor word in "$@"; do case "$word" in\n{body}\nesac; done\n')
    with (folder / "git").open("a") as script:
        script.write('exec "$real" "$@"\n')
    (folder / "git").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


LIES = {
    "nothing": "fast-import) cat >/dev/null; exit 0;;",
    "another tree": (
        'fast-import) "$real" "$@" || exit 1\n'
        '  for ref in $("$real" for-each-ref --format="%(refname)" refs/runvault/tmp); do\n'
        '    "$real" update-ref "$ref" $("$real" rev-parse refs/heads/runvault); done; exit 0;;'
    ),
    "a part": (
        'fast-import) ref=$(tee "$0.in" | sed -n "s/^commit //p" | head -1); "$real" "$@" < "$0.in" || exit 1\n'
        '  old=$("$real" rev-parse refs/heads/runvault)\n'
        '  lie=$("$real" commit-tree -p $old -m lie $("$real" rev-parse "refs/heads/other^{tree}"))\n'
        '  "$real" update-ref "$ref" $lie; exit 0;;'
    ),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.replace(" ", "-"))
def test_a_git_that_lies_is_found_out(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    repository = new_archive(repo)
    save(Repository.find(new_archive(repo, "other").common_dir.parent, "other"), "somewhere else")
    before = repository.tip()
    monkeypatch.setenv("PATH", shim(tmp_path / "bin", LIES[lie]))
    monkeypatch.setenv("GIT_DIR", str(repository.common_dir))
    with pytest.raises(RunvaultError):
        save(repository, "never", bulk=True)
    monkeypatch.undo()
    assert "never" not in saved_runs(repository)
    if lie != "a part":  # there the branch moved before the lie was read back: an error, and no acknowledgement
        assert repository.tip() == before
    assert save(repository, "next")
    assert_sound(repository)


def test_a_signer_that_does_nothing_is_found_out(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = new_archive(repo)
    before = repository.tip()
    git(repo, "config", "commit.gpgsign", "true")
    monkeypatch.setenv("PATH", shim(tmp_path / "bin", "commit-tree) cat >/dev/null; exit 0;;"))
    with pytest.raises(RunvaultError):
        save(Repository.find(repo), "unsigned")
    assert repository.tip() == before


def test_a_save_needs_no_git_program_but_for_sweeps(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = new_archive(repo)
    log = tmp_path / "log"
    monkeypatch.setenv(
        "PATH", shim(tmp_path / "bin", f'fast-import|diff-tree|log|rev-parse) echo "$word" >> "{log}";;')
    )
    save(repository, "one")
    assert not log.exists()
    save(repository, "many", bulk=True)
    assert set(log.read_text().split()) == {"fast-import"}


HOLD = "import sys, time; file = open(sys.argv[1], 'wb'); print('held', flush=True); time.sleep(60)"


def branch_lock(repository: Repository) -> Path:
    return repository.common_dir / f"{repository.ref}.lock"


def test_a_branch_lock_of_a_live_process_is_waited_for_and_left(repo: Path) -> None:
    repository = new_archive(repo)
    lock = branch_lock(repository)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    begun = time.monotonic()
    with pytest.raises(BusyError, match=f"process {holder.pid} has it open"):
        save(repository, "blocked", timeout_s=0.5)
    assert 0.5 <= time.monotonic() - begun < 5
    assert lock.exists()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    # Its owner is dead and nobody noted it: named with the evidence, never removed.
    with pytest.raises(BusyError, match="no process was seen to have it open") as raised:
        save(repository, "blocked", timeout_s=0.2)
    assert str(lock) in str(raised.value.hint)
    assert lock.exists()
    lock.unlink()
    assert save(repository, "free")


def test_a_branch_lock_that_nobody_holds_is_no_moved_branch(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for it uses up no attempts, does not spin, and ends long before the wait for other writers would."""
    repository = new_archive(repo)
    lock = branch_lock(repository)
    lock.touch()
    os.utime(lock, (0, 0))
    monkeypatch.setattr(writing, "LOCKED_S", 1.0)
    monkeypatch.setattr(writing, "_ATTEMPTS", 3)
    plans: list[str | None] = []

    def plan(tip: Tip) -> Edit:
        plans.append(tip.commit)
        return Edit([("x", b"1")], "save", ADA, NOON)

    begun, objects = time.monotonic(), set((repo / ".git/objects").glob("??/*"))
    with pytest.raises(BusyError) as raised:
        Writer(repository).update(plan)
    assert 1 <= time.monotonic() - begun < 10
    assert len(plans) < 30
    assert set((repo / ".git/objects").glob("??/*")) == objects  # nothing is built again and again meanwhile
    evidence = f"{str(lock)!r} exists since 1970-01-01T00:00:00Z (0 bytes, no process was seen to have it open)"
    assert evidence in str(raised.value)
    assert str(lock) in str(raised.value.hint)
    assert lock.exists()
    lock.unlink()
    assert Writer(repository).update(plan) == repository.tip()


def test_a_branch_lock_that_goes_away_is_waited_for(repo: Path) -> None:
    repository = new_archive(repo)
    lock = branch_lock(repository)
    lock.touch()
    release = threading.Timer(0.5, lock.unlink)
    release.start()
    assert save(repository, "after it") == repository.tip()
    release.join()


@pytest.mark.parametrize("content", ["", "new", "half", "old"])
def test_a_branch_lock_that_the_journal_explains_is_removed(repo: Path, content: str) -> None:
    repository = new_archive(repo)
    old, new = str(repository.tip()), "1" * 40
    journal = repository.state_dir / "ref-update.json"
    journal.write_text(json.dumps({"ref": repository.ref, "old": old, "new": new}))
    branch_lock(repository).write_text({"": "", "new": f"{new}\n", "half": new[:17], "old": f"{old}\n"}[content])
    assert save(repository, "unaided", timeout_s=1)
    assert not branch_lock(repository).exists()
    assert not journal.exists()


@pytest.mark.parametrize("case", ["older", "another commit", "held"])
def test_a_branch_lock_that_the_journal_does_not_explain_stays(repo: Path, case: str) -> None:
    repository = new_archive(repo)
    lock, journal = branch_lock(repository), repository.state_dir / "ref-update.json"
    journal.write_text(json.dumps({"ref": repository.ref, "old": repository.tip(), "new": "1" * 40}))
    lock.write_text("2" * 40 + "\n" if case == "another commit" else "")
    if case == "older":
        os.utime(lock, (1, 1))
    with lock.open() if case == "held" else journal.open(), pytest.raises(BusyError):
        save(repository, "blocked", timeout_s=0.2)
    assert lock.exists()


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"ref": 1}', b"\xff"])
def test_a_torn_journal_is_no_obstacle(repo: Path, torn: bytes) -> None:
    repository = new_archive(repo)
    (repository.state_dir / "ref-update.json").write_bytes(torn)
    assert save(repository, "unaided", timeout_s=1)


def test_a_busy_archive_names_who_holds_it(repo: Path) -> None:
    repository = new_archive(repo)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import driver, pathlib, time\n"
        "from runvault.stores.git.repository import Repository\n"
        "from runvault.stores.git.writing import Writer\n"
        "def plan(tip): print('held', flush=True); time.sleep(60)\n"
        "Writer(Repository.find(pathlib.Path(sys.argv[2]))).update(plan)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(DRIVER.parent), str(repo)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    expected = rf"written by process {holder.pid} on {socket.gethostname()} since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    with pytest.raises(BusyError, match=expected):
        save(repository, "blocked", timeout_s=0.3)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert save(repository, "free", timeout_s=1)  # the kernel took the lock back


def forge(repository: Repository, count: int) -> None:
    """Fill an archive with runs of the usual shape."""

    class Runs:
        def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
            for number in range(count):
                name = f"{number * 2654435761 % 2**32:08x}" * 8
                for file in ("manifest.json", "stats.parquet", "annotations.json"):
                    yield f"runs/{name[:2]}/{name}-0/{file}", f"{number} {file}\n".encode()

    Writer(repository).update(lambda _: Edit(Runs(), "sweep", ADA, NOON, bulk=True))


def test_a_save_writes_the_same_objects_on_any_archive(repo: Path) -> None:
    """Counts, which no machine changes: the trees on the path and the edit's own blobs, nothing that grows."""
    repository = new_archive(repo)
    made = []
    for runs in (1, full_counts(3_000, 100_000)):
        forge(repository, runs)
        before = set((repo / ".git/objects/pack").glob("*.idx"))
        save(repository, f"counted-{runs}-00")
        [index] = set((repo / ".git/objects/pack").glob("*.idx")) - before
        made.append(git(repo, "show-index", stdin=index).count("\n"))
    assert made == [10, 10]  # 5 files, 4 trees, 1 commit


def test_a_save_takes_as_long_on_a_large_archive(repo: Path, tmp_path: Path) -> None:
    medians = []
    large = tmp_path / "large"
    git(tmp_path, "init", "--quiet", str(large))
    repositories = [new_archive(repo), new_archive(large)]
    forge(repositories[1], full_counts(2_000, 10_000))
    took: list[list[float]] = [[], []]
    for number in range(full_counts(15, 200)):  # by turns, so that what else the machine does meets both
        for repository, times in zip(repositories, took, strict=True):
            begun = time.monotonic()
            save(repository, f"timed-{number}")
            times.append(time.monotonic() - begun)
    medians = [statistics.median(times) for times in took]
    assert medians[1] < 2.5 * medians[0]  # 1.1 on a quiet machine; a temporary index would be at 10


def test_saving_twice_is_one_commit_and_other_content_a_second(repo: Path) -> None:
    repository = new_archive(repo)
    commits = [save(repository, "twice"), save(repository, "twice")]
    assert commits == [repository.tip(), None]
    other = Writer(repository).update(
        lambda _: Edit([("runs/ce/twice/manifest.json", b"other\n")], "save: twice", ADA, NOON)
    )
    log = git(repo, "log", "--format=%H", "--full-history", "runvault", "--", "runs/ce/twice").split()
    assert log == [other, commits[0]]


@pytest.mark.parametrize(
    "name", ["with space", "new\nline", "ünï-金庫", "-dash", "quote'\"s", "#hash%20", "sha1\nsha1"]
)
def test_any_path(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.mkdir()
    git(place, "init", "--quiet")
    repository = new_archive(place)
    assert repository.work_tree == place.resolve()
    for bulk in (False, True):
        assert save(repository, f"run-{bulk}", bulk=bulk) == repository.tip()
    assert Reader(repository).read_file(str(repository.tip()), "runvault.json")
    assert saved_runs(repository) == {"run-False", "run-True"}
    assert_sound(repository)


def saves_in(repository: Repository) -> None:
    check_writable(repository)
    for bulk in (False, True):
        assert save(repository, f"run-{bulk}", bulk=bulk) == repository.tip()
    assert len(list(Reader(repository).introduced(None, str(repository.tip())))) == 2


def test_a_bare_repository(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    repository = Repository.find(tmp_path / "bare.git")
    init_archive(repository)
    saves_in(repository)
    assert repository.work_tree is None
    git(tmp_path / "bare.git", "fsck", "--strict")


def test_a_shallow_clone_and_one_with_alternates(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", repo.as_uri(), "shallow")
    saves_in(new_archive(tmp_path / "shallow"))
    git(tmp_path, "clone", "--quiet", "--shared", str(repo), "shared")
    saves_in(new_archive(tmp_path / "shared"))


def test_a_linked_work_tree_and_a_separate_git_dir(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    saves_in(new_archive(tmp_path / "linked"))
    assert saved_runs(Repository.find(repo)) == {"run-False", "run-True"}
    git(tmp_path, "init", "--quiet", "--separate-git-dir", str(tmp_path / "elsewhere"), "separate")
    saves_in(new_archive(tmp_path / "separate"))


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    saves_in(new_archive(tmp_path))
    assert git(tmp_path, "status", "--porcelain") == ""


def test_the_main_work_tree_on_the_archive_branch_moves_along(repo: Path) -> None:
    repository = new_archive(repo)
    git(repo, "checkout", "--quiet", "runvault")
    saves_in(repository)
    assert git(repo, "status", "--porcelain") == ""
    (repo / "runs" / "ee").mkdir(parents=True)
    (repo / "runs" / "ee" / "blocked").mkdir()
    (repo / "runs" / "ee" / "blocked" / "manifest.json").write_text("mine\n")
    before = repository.tip()
    with pytest.raises(RunvaultError, match="cannot be brought along"):
        Writer(repository).update(lambda _: Edit([("runs/ee/blocked/manifest.json", b"x")], "save", ADA, NOON))
    assert repository.tip() == before
    assert (repo / "runs" / "ee" / "blocked" / "manifest.json").read_text() == "mine\n"


def test_a_branch_that_is_being_rebased_is_an_error_at_opening(repo: Path, tmp_path: Path) -> None:
    repository = new_archive(repo)
    save(repository, "one")
    place = tmp_path / "place"
    git(repo, "worktree", "add", "--quiet", str(place), "runvault")
    git(
        place, "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "--quiet", "--interactive", "HEAD~1", check=False
    )
    with pytest.raises(RunvaultError, match="is being rebased"):
        check_writable(repository)


def test_a_plan_that_takes_long_is_not_disturbed_by_a_moving_branch(repo: Path) -> None:
    """A program that knows nothing of our lock moves the branch while we plan: the plan is asked again."""
    repository = new_archive(repo)
    seen: list[str | None] = []

    def plan(tip: Tip) -> Edit | None:
        seen.append(tip.commit)
        if len(seen) < 4:
            tree = git(repo, "rev-parse", "runvault^{tree}").strip()
            commit = git(repo, "commit-tree", "-p", "runvault", "-m", f"other {len(seen)}", tree).strip()
            git(repo, "update-ref", "refs/heads/runvault", commit)
        return Edit([("x", b"1")], "save", ADA, NOON)

    assert Writer(repository).update(plan) == repository.tip()
    assert len(set(seen)) == 4
    assert git(repo, "rev-list", "--count", "runvault") == "5\n"
