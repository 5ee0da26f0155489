from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from machine import git
from support import archive_in

from runvault.errors import BusyError, ConfigError, ReplayError, RunvaultError
from runvault.stores.git.code import blob_at, blob_of_file, code_present, describe_code
from runvault.stores.git.coderefs import keep_code
from runvault.stores.git.owncode import is_own_code
from runvault.stores.git.repository import Repository
from runvault.stores.git.secrets import holds_credential
from runvault.stores.git.snapshots import Snapshot, quoted, take_snapshot

# In parts, so that no scanner takes this file for what it is about.
TOKEN = "gh" + "p_" + "a1B2" * 10
PRIVATE_KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNzaA==\n"


def head_of(repo: Path) -> str:
    return git(repo, "rev-parse", "HEAD").strip()


def commit_all(repo: Path, message: str = "more") -> str:
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", message)
    return head_of(repo)


def snapshot(repo: Path, *include: str, every_untracked: bool = False) -> Snapshot:
    return take_snapshot(Repository.find(repo), include, every_untracked=every_untracked)


def listed(repo: Path, commit: str) -> dict[str, str]:
    """Return the mode of each path in a commit."""
    lines = git(repo, "ls-tree", "-r", "-z", commit).split("\0")[:-1]
    return {line.split("\t", 1)[1]: line.split(" ", 1)[0] for line in lines}


def content(repo: Path, commit: str, path: str) -> str:
    return git(repo, "show", f"{commit}:{path}")


def own_code(repo: Path) -> list[str]:
    return (Repository.find(repo).state_dir / "own-code").read_text().split("\n")[:-1]


def test_a_clean_tree_is_its_head(repo: Path) -> None:
    head = head_of(repo)
    assert snapshot(repo) == Snapshot(head, head, "main", dirty=False, left_out=())
    assert git(repo, "rev-parse", f"refs/runvault/code/{head}").strip() == head
    assert own_code(repo) == [head]
    snapshot(repo)
    assert own_code(repo) == [head]


def test_changes_go_in_staged_or_not(repo: Path) -> None:
    for name in ("staged.py", "gone.py", "gone_staged.py", "reverted.py", "tool.py"):
        (repo / name).write_text("1\n")
    head = commit_all(repo)
    (repo / "strategy.py").write_text("FAST = 20\n")
    (repo / "staged.py").write_text("2\n")
    (repo / "reverted.py").write_text("2\n")
    (repo / "new.py").write_text("new\n")
    git(repo, "add", "staged.py", "new.py", "reverted.py")
    git(repo, "rm", "--quiet", "gone_staged.py")
    (repo / "new.py").write_text("newer\n")
    (repo / "reverted.py").write_text("1\n")
    (repo / "gone.py").unlink()
    (repo / "tool.py").chmod(0o755)
    (repo / "link").symlink_to("strategy.py")
    (repo / "meant.py").write_text("meant\n")
    git(repo, "add", "link")
    git(repo, "add", "--intent-to-add", "meant.py")
    made = snapshot(repo)
    assert (made.base, made.branch, made.dirty, made.left_out) == (head, "main", True, ())
    assert git(repo, "rev-parse", f"{made.commit}^").strip() == head
    assert listed(repo, made.commit) == {
        "link": "120000",
        "meant.py": "100644",
        "new.py": "100644",
        "reverted.py": "100644",
        "staged.py": "100644",
        "strategy.py": "100644",
        "tool.py": "100755",
    }
    contents = {path: content(repo, made.commit, path) for path in listed(repo, made.commit)}
    assert contents == {
        "link": "strategy.py",
        "meant.py": "meant\n",
        "new.py": "newer\n",
        "reverted.py": "1\n",
        "staged.py": "2\n",
        "strategy.py": "FAST = 20\n",
        "tool.py": "1\n",
    }


def test_equal_code_on_an_equal_head_is_one_commit(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repo), "clone")
    clone = tmp_path / "clone"
    git(clone, "config", "user.name", "Somebody Else")
    git(clone, "config", "commit.gpgSign", "true")
    git(clone, "config", "i18n.commitEncoding", "latin1")
    for place in (repo, clone):
        (place / "strategy.py").write_text("FAST = 20\n")
    git(clone, "add", "strategy.py")
    first, again, other = snapshot(repo), snapshot(repo), snapshot(clone)
    assert first == again == other
    assert own_code(repo) == [first.commit]
    raw = git(repo, "cat-file", "commit", first.commit).splitlines()
    seconds = git(repo, "log", "-1", "--format=%ct").strip()
    assert raw[2:] == [
        f"author runvault <runvault@localhost> {seconds} +0000",
        f"committer runvault <runvault@localhost> {seconds} +0000",
        "",
        "runvault: the working tree of a run",
    ]


def test_untracked_files_go_in_when_they_are_asked_for(repo: Path) -> None:
    (repo / ".gitignore").write_text("data.csv\n")
    commit_all(repo)
    (repo / "lib").mkdir()
    (repo / "lib" / "fees.py").write_text("FEES = 0\n")
    (repo / "lib" / "other.py").write_text("OTHER = 0\n")
    (repo / "notes.txt").write_text("private\n")
    (repo / "data.csv").write_text("1,2\n")
    assert snapshot(repo).commit == head_of(repo)
    assert not snapshot(repo).dirty
    assert snapshot(repo).left_out == ("lib/fees.py", "lib/other.py", "notes.txt")
    made = snapshot(repo, "./lib/fees.py", "strategy.py", "data.csv", "nothing.py")
    assert made.dirty
    assert set(listed(repo, made.commit)) == {".gitignore", "strategy.py", "lib/fees.py"}
    assert made.left_out == ("data.csv", "lib/other.py", "notes.txt")
    folder = snapshot(repo, "lib")
    assert set(listed(repo, folder.commit)) == {".gitignore", "strategy.py", "lib/fees.py", "lib/other.py"}
    everything = snapshot(repo, every_untracked=True)
    assert set(listed(repo, everything.commit)) == {
        ".gitignore",
        "strategy.py",
        "lib/fees.py",
        "lib/other.py",
        "notes.txt",
    }
    assert everything.left_out == ()


@pytest.mark.parametrize("path", ["../up.py", "/etc/passwd", "a/../../b", "a\0b"])
def test_paths_out_of_the_repository_are_refused(repo: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="not a path from the root"):
        snapshot(repo, path)


CREDENTIALS = {
    ".env": "A=1\n",
    ".env.local": "A=1\n",
    "conf/server.pem": "x\n",
    "conf/server.KEY": "x\n",
    "keys/id_ed25519": "x\n",
    "keys/id_deploy": "x\n",
    "config.py": f"TOKEN = '{TOKEN}'\n",
    "deploy.txt": PRIVATE_KEY,
}
HARMLESS = {"keys/id_ed25519.pub": "ssh-ed25519 AAAA\n", "id_map.py": "1\n", "keys.py": "TOKEN = 'read it'\n"}


@pytest.mark.parametrize("how", ["untracked", "included", "staged"])
def test_credentials_never_go_in(repo: Path, how: str) -> None:
    for path, text in {**CREDENTIALS, **HARMLESS}.items():
        (repo / path).parent.mkdir(exist_ok=True)
        (repo / path).write_text(text)
    if how == "staged":
        git(repo, "add", "--all")
    made = snapshot(repo, *(CREDENTIALS if how == "included" else ()), every_untracked=how == "untracked")
    expected = {"strategy.py"} | (set() if how == "included" else set(HARMLESS))
    assert set(listed(repo, made.commit)) == expected
    assert set(made.left_out) - set(HARMLESS) == set(CREDENTIALS)
    stored = git(repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    if how != "staged":  # there the user's own `git add` stored them
        assert not any(TOKEN in git(repo, "cat-file", "-p", name) for name in stored)


def test_of_a_tracked_credential_what_head_has_stays(repo: Path) -> None:
    (repo / ".env.example").write_text("KEY=\n")
    (repo / "config.py").write_text("TOKEN = ''\n")
    head = commit_all(repo)
    (repo / ".env.example").write_text("KEY=hunter2\n")
    (repo / "config.py").write_text(f"TOKEN = '{TOKEN}'\n")
    only = snapshot(repo)
    assert (only.commit, only.dirty, only.left_out) == (head, True, (".env.example", "config.py"))
    (repo / "strategy.py").write_text("FAST = 20\n")
    made = snapshot(repo)
    assert made.left_out == (".env.example", "config.py")
    assert content(repo, made.commit, ".env.example") == "KEY=\n"
    assert content(repo, made.commit, "config.py") == "TOKEN = ''\n"
    assert content(repo, made.commit, "strategy.py") == "FAST = 20\n"


SECRETS = [
    PRIVATE_KEY,
    "-----BEGIN " + "PRIVATE KEY-----",
    "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----",
    "key = 'AK" + "IA" + "Q3EGRDOMLX4T2B7K'",
    TOKEN,
    "github_" + "pat_" + "a1B2_" * 12,
    "gl" + "pat-" + "a1B2c3D4e5" * 2,
    "xo" + "xb-1234567890-abc",
    "AI" + "za" + "a1B2c" * 7,
    "sk_" + "live_" + "a1B2" * 6,
    "sk-" + "ant-" + "a1B2" * 12,
    "hf" + "_" + "a" * 34,
    "ey" + "J" + "a1B2" * 5 + ".ey" + "J" + "a1B2" * 5 + "." + "a1B2" * 8,
]
NO_SECRETS = [
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "ta" + "sk-" + "a1B2" * 12,
    "TOKEN = os.environ['TOKEN']",
    "AKIA, ghp_, sk-learn, hf_hub, eyJ",
    hashlib.sha256(b"x").hexdigest(),
    "",
]


def test_tokens_and_keys_are_seen() -> None:
    filler = b"price = close * 1.5\n" * 1000
    assert [text for text in SECRETS if not holds_credential(filler + text.encode() + b"\n")] == []
    assert [text for text in NO_SECRETS if holds_credential(filler + text.encode() + b"\n")] == []


def test_looking_for_tokens_takes_no_time() -> None:
    start = time.process_time()
    assert not holds_credential(b"sk-learn hf_ mean eyJ " * 400_000)
    assert time.process_time() - start < 5


def test_snapshots_taken_at_once_agree(repo: Path) -> None:
    (repo / "strategy.py").write_text("FAST = 20\n")
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: snapshot(repo), range(16)))
    assert len(made) == 1
    assert git(repo, "for-each-ref", "--format=%(objectname)", "refs/runvault").split() == [made.pop().commit]


def test_a_changed_file_that_is_hidden_from_git_is_named(repo: Path) -> None:
    for name in ("local.py", "skipped.py", "same.py", "absent.py"):
        (repo / name).write_text("1\n")
    head = commit_all(repo)
    git(repo, "update-index", "--assume-unchanged", "local.py", "same.py")
    git(repo, "update-index", "--skip-worktree", "skipped.py", "absent.py")
    (repo / "absent.py").unlink()
    assert snapshot(repo) == Snapshot(head, head, "main", dirty=False, left_out=())
    for name in ("local.py", "skipped.py"):
        (repo / name).write_text("2\n")
    assert snapshot(repo) == Snapshot(head, head, "main", dirty=True, left_out=("local.py", "skipped.py"))


def test_a_torn_line_of_the_list_spoils_no_other(repo: Path) -> None:
    repository = Repository.find(repo)
    repository.state_dir.mkdir()
    (repository.state_dir / "own-code").write_text("0123abc")
    made = snapshot(repo)
    assert own_code(repo) == ["0123abc", made.commit]
    assert is_own_code(repository, made.commit)


def test_a_packed_ref_is_there_too(repo: Path) -> None:
    first = snapshot(repo)
    git(repo, "pack-refs", "--all")
    assert snapshot(repo) == first


KILLED_GIT = """#!/bin/sh
case " $* " in
*" update-ref "*) for last; do :; done; mkdir -p "{refs}"; printf "$last" > "{refs}/$last.lock"; kill -9 $$ ;;
esac
exec {git} "$@"
"""


def test_a_killed_git_blocks_no_later_snapshot(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = repo / ".git" / "refs" / "runvault" / "code"
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(KILLED_GIT.format(refs=refs, git=shutil.which("git")))
    shim.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
        with pytest.raises(RunvaultError, match="update-ref"):
            take_snapshot(Repository.find(repo))
    assert [path.suffix for path in refs.iterdir()] == [".lock"]

    made = take_snapshot(Repository.find(repo))

    assert [path.name for path in refs.iterdir()] == [made.commit]
    assert not (Repository.find(repo).state_dir / "ref-update.json").exists()


@pytest.mark.parametrize("content", ["", "half", "whole"])
def test_the_lock_of_a_writer_that_was_killed_is_removed(repo: Path, content: str) -> None:
    repository = Repository.find(repo)
    head = git(repo, "rev-parse", "HEAD").strip()
    ref = f"refs/runvault/code/{head}"
    repository.state_dir.mkdir(parents=True)
    (repository.state_dir / "ref-update.json").write_text(json.dumps({"ref": ref, "old": None, "new": head}))
    lock = repo / ".git" / f"{ref}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text({"": "", "half": head[:9], "whole": f"{head}\n"}[content])

    assert take_snapshot(repository).commit == head

    assert not lock.exists()
    assert git(repo, "rev-parse", ref).strip() == head


def test_the_lock_of_another_program_on_a_code_ref_is_waited_for_and_left(repo: Path) -> None:
    repository = Repository.find(repo)
    head = git(repo, "rev-parse", "HEAD").strip()
    lock = repo / ".git" / "refs" / "runvault" / "code" / f"{head}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()

    with pytest.raises(BusyError, match="no process was seen to have it open") as raised:
        keep_code(repository, head, timeout_s=0.2)

    assert str(lock) in str(raised.value.hint)
    assert lock.exists()
    release = threading.Timer(0.3, lock.unlink)
    release.start()
    keep_code(repository, head)
    release.join()
    assert git(repo, "for-each-ref", "refs/runvault/code").count("\n") == 1


def test_before_the_first_commit_a_snapshot_has_no_parent(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "strategy.py").write_text("1\n")
    (tmp_path / "rest.py").write_text("1\n")
    git(tmp_path, "add", "strategy.py")
    made = snapshot(tmp_path)
    assert (made.base, made.branch, made.dirty, made.left_out) == ("", "main", True, ("rest.py",))
    assert git(tmp_path, "rev-list", "--parents", made.commit).split() == [made.commit]
    assert set(listed(tmp_path, made.commit)) == {"strategy.py"}


def test_a_bare_repository_has_no_code(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare")
    with pytest.raises(ReplayError, match="there is no code"):
        snapshot(tmp_path)


def test_what_is_stored_is_the_very_bytes(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.crlf text eol=crlf\n*.id ident\n*.shout filter=shout\n")
    (repo / "old.crlf").write_bytes(b"a\r\nb\r\n")
    git(repo, "config", "filter.shout.clean", "tr a-z A-Z")
    git(repo, "config", "filter.shout.required", "true")
    (repo / "old.shout").write_text("loud\n")
    head = commit_all(repo)
    os.utime(repo / "old.crlf", (1, 1))
    os.utime(repo / "old.shout", (1, 1))
    assert snapshot(repo).commit == head
    (repo / "new.crlf").write_bytes(b"a\r\n")
    (repo / "new.id").write_bytes(b"$Id: mine $\n")
    (repo / "old.shout").write_text("louder\n")
    made = snapshot(repo, every_untracked=True)
    blobs = {path: git(repo, "rev-parse", f"{made.commit}:{path}").strip() for path in listed(repo, made.commit)}
    for path in ("new.crlf", "new.id", "old.shout"):
        assert blobs[path] == git(repo, "hash-object", "--no-filters", path).strip()
    assert blobs["old.crlf"] == git(repo, "rev-parse", "HEAD:old.crlf").strip()


def test_plain_text_of_an_encrypted_file_stays_out(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.secret filter=git-crypt\n")
    git(repo, "config", "filter.git-crypt.clean", "tr a-z n-za-m")
    (repo / "a.secret").write_text("hello\n")
    commit_all(repo)
    (repo / "a.secret").write_text("hello again\n")
    (repo / "b.secret").write_text("hello too\n")
    made = snapshot(repo, every_untracked=True)
    assert made.left_out == ("a.secret", "b.secret")
    assert content(repo, made.commit, "a.secret") == "uryyb\n"


ODD = [
    "a b.py",
    "-x.py",
    'q"uote.py',
    "new\nline.py",
    "tab\t.py",
    "ü/金.py",
    "back\\slash.py",
    "cr\r",
    ":(glob)x",
    "\udcff.py",
]


def test_any_name_goes_in(repo: Path) -> None:
    for name in ODD:
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_text(f"{name!r}\n")
    made = snapshot(repo, *ODD)
    raw = git(repo, "-c", "core.quotePath=true", "ls-tree", "-r", "--name-only", made.commit).splitlines()
    assert len(raw) == len(ODD) + 1
    blobs = blob_at(Repository.find(repo), made.commit, ODD)
    assert set(blobs) == set(ODD)
    assert blobs == {name: blob_of_file(repo / name) for name in ODD}


def test_a_submodule_stays_at_the_commit_of_the_index(repo: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    git(tmp_path, "clone", "--quiet", str(repo), str(inner))
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    commit_all(repo)
    before = git(repo, "rev-parse", "HEAD:sub")
    (repo / "sub" / "strategy.py").write_text("FAST = 99\n")
    assert not snapshot(repo).dirty
    git(repo / "sub", "commit", "--quiet", "--all", "--message", "inner")
    (repo / "strategy.py").write_text("FAST = 20\n")
    made = snapshot(repo)
    assert git(repo, "rev-parse", f"{made.commit}:sub") == before
    assert listed(repo, made.commit)["sub"] == "160000"


def test_a_file_that_became_a_folder(repo: Path) -> None:
    (repo / "strategy.py").unlink()
    (repo / "strategy.py").mkdir()
    (repo / "strategy.py" / "core.py").write_text("1\n")
    made = snapshot(repo, every_untracked=True)
    assert set(listed(repo, made.commit)) == {"strategy.py/core.py"}


def test_a_nested_repository_is_left_out(repo: Path) -> None:
    git(repo, "init", "--quiet", "nested")
    (repo / "nested" / "x.py").write_text("1\n")
    git(repo / "nested", "add", "x.py")
    git(repo / "nested", "commit", "--quiet", "--message", "x")
    assert snapshot(repo, every_untracked=True).left_out == ("nested/",)


def test_own_code_is_what_a_local_branch_holds_or_was_run_here(repo: Path, tmp_path: Path) -> None:
    repository = archive_in(repo)
    first = head_of(repo)
    (repo / "strategy.py").write_text("FAST = 20\n")
    made = snapshot(repo)
    assert is_own_code(repository, first)
    assert is_own_code(repository, made.commit)
    assert not is_own_code(repository, str(repository.tip()))
    assert not is_own_code(repository, "0" * 40)
    assert not is_own_code(repository, "HEAD")
    git(tmp_path, "clone", "--quiet", str(repo), "clone")
    clone = tmp_path / "clone"
    (clone / "strategy.py").write_text("theirs\n")
    theirs = commit_all(clone, "theirs")
    git(repo, "fetch", "--quiet", str(clone), "main:refs/remotes/theirs/main")
    assert code_present(repository, theirs)
    assert not is_own_code(repository, theirs)
    git(repo, "branch", "taken", theirs)
    assert is_own_code(repository, theirs)
    git(repo, "branch", "--quiet", "-D", "taken")
    git(repo, "checkout", "--quiet", "--force", "--detach", theirs)
    assert is_own_code(repository, theirs)


def test_the_blobs_of_a_snapshot_are_those_of_the_files(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.crlf text eol=crlf\n")
    (repo / "same.crlf").write_bytes(b"a\r\n")
    (repo / "changed.crlf").write_bytes(b"a\r\n")
    commit_all(repo)
    os.utime(repo / "same.crlf", (1, 1))
    (repo / "changed.crlf").write_bytes(b"b\r\n")
    (repo / "new.py").write_text("new\n")
    (repo / "link").symlink_to("nowhere")
    paths = ["same.crlf", "changed.crlf", "new.py", "link", "strategy.py", "missing.py"]
    repository = Repository.find(repo)
    made = snapshot(repo, *paths)
    found = blob_at(repository, made.commit, [*paths, "../x", "./new.py"])
    assert set(found) == set(paths) - {"missing.py"}
    assert found.pop("same.crlf") == git(repo, "rev-parse", "HEAD:same.crlf").strip()  # unchanged: the text with LF
    assert found == {path: blob_of_file(repo / path) for path in found}
    assert [blob_of_file(repo / path) for path in ("missing.py", ".")] == [None, None]
    assert blob_at(repository, "0" * 40, paths) == {}


def test_files_go_in_as_they_were_read(repo: Path) -> None:
    (repo / "gone.py").write_text("tracked\n")
    (repo / ".gitignore").write_text("ignored.py\n")
    commit_all(repo)
    (repo / "strategy.py").write_text("later\n")
    (repo / "new.py").write_text("later\n")
    (repo / "key.py").write_text("later\n")
    (repo / "gone.py").unlink()
    read = {path: f"{path} then\n".encode() for path in ("strategy.py", "new.py", "gone.py", "ignored.py", "never.py")}
    read["key.py"] = b"-----BEGIN PRIVATE KEY-----\n"

    made = take_snapshot(Repository.find(repo), ["new.py", "key.py"], contents=read)

    assert set(listed(repo, made.commit)) >= {"strategy.py", "new.py", "gone.py"}
    assert not set(listed(repo, made.commit)) & {"ignored.py", "never.py", "key.py"}
    assert {content(repo, made.commit, path) for path in ("strategy.py", "new.py", "gone.py")} == {
        "strategy.py then\n",
        "new.py then\n",
        "gone.py then\n",
    }
    assert made.credentials == ("key.py",)


def test_code_is_described_without_its_control_characters(repo: Path) -> None:
    (repo / "strategy.py").write_text("FAST = 20\nSLOW = 30\n")
    (repo / "e\x1b[2J.py").write_text("1\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "subject \x1b[31m\u202eevil", "--author", "Eve \x1b[1m <e@x>")
    text = describe_code(Repository.find(repo), head_of(repo))
    assert not {"\x1b", "\u202e"} & set(text)
    assert "Eve \\x1b[1m <e@x>" in text
    assert "subject \\x1b[31m\\u202eevil" in text
    assert "2 files changed, 3 insertions(+), 1 deletion(-)" in text
    root = git(repo, "rev-list", "--max-parents=0", "HEAD").strip()
    assert "1 file changed, 1 insertion(+)" in describe_code(Repository.find(repo), root)
    with pytest.raises(ReplayError, match="there is no code"):
        describe_code(Repository.find(repo), "0" * 40)


def test_a_sha256_repository_works(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    (tmp_path / "a.py").write_text("1\n")
    (tmp_path / "b.py").write_text("1\n")
    commit_all(tmp_path)
    (tmp_path / "a.py").write_text("2\n")
    (tmp_path / "b.py").unlink()
    made = snapshot(tmp_path)
    assert set(listed(tmp_path, made.commit)) == {"a.py"}
    repository = Repository.find(tmp_path)
    assert blob_at(repository, made.commit, ["a.py", "b.py"]) == {"a.py": blob_of_file(tmp_path / "a.py", "sha256")}


def test_quoted_names_everything_on_one_line() -> None:
    assert quoted('a"\n\\') == '"a\\042\\012\\134"'
