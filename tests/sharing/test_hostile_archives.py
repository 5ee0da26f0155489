"""S7: what a stranger can put into a remote is refused run by run, or by git as a whole; nothing of it gets out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_trees import Entry, commit_tree, put, write_object, write_tree
from machine import git
from team import Team, name_storage, place, save, tree_of

import runvault as rv
from runvault.cli.main import run as run_program
from runvault.errors import IntegrityError, RunvaultError, SchemaTooNewError
from runvault.model.records import dump_json

SHARD = b"ab"
VICTIM = "ab" + "0" * 62 + "-0"
COMMIT = "1" * 40


class Remote:
    """A remote with one run of Ada's, a good new one, and what the test puts beside them."""

    def __init__(self, team: Team, known: str, good: str) -> None:
        self.team = team
        self.path = team.origin
        self.known = known
        self.good = good
        self.tip = git(self.path, "rev-parse", "runvault").strip()
        self.root = git(self.path, "rev-parse", "runvault^{tree}").strip()

    def blob(self, content: bytes) -> str:
        return write_object(self.path, "blob", content)

    def offer(self, folders: list[bytes], entries: list[Entry]) -> None:
        """Put entries into the remote's archive, in one commit on top of the good run."""
        self.root = put(self.path, self.root, folders, entries)
        self.tip = commit_tree(self.path, self.root, self.tip)
        git(self.path, "update-ref", "refs/heads/runvault", self.tip)

    def folder_of(self, run: str) -> list[bytes]:
        return [b"runs", run[:2].encode(), run.encode()]

    def files_of(self, run: str) -> list[Entry]:
        listed = git(self.path, "ls-tree", f"{self.tip}:runs/{run[:2]}/{run}").splitlines()
        rows = [line.partition("\t") for line in listed]
        return [(meta.split(" ")[0], name.encode(), meta.split(" ")[2]) for meta, _, name in rows]

    def offer_run(self, files: list[Entry], name: str = VICTIM) -> None:
        self.offer([b"runs", name[:2].encode(), name.encode()], files)


def first_remote(team: Team) -> tuple[str, str]:
    """Give the remote a run of Ada's, which she knows, and one of Grace's, which she does not; return both ids."""
    known = save(team.ada, fast=1)
    team.ada.push()
    grace = team.join("Grace")
    good = save(grace, fast=2)
    grace.push()
    return known.id, good.id


_first: list[tuple[Path, str, str]] = []


@pytest.fixture
def remote(tmp_path: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Remote:
    """Return a remote of its own for each test; made once, and copied."""
    if not _first:
        team: Team = request.getfixturevalue("team")
        ids = first_remote(team)
        kept = tmp_path_factory.mktemp("first") / "all"
        shutil.copytree(tmp_path, kept)
        shutil.rmtree(tmp_path)
        _first.append((kept, *ids))
    kept, known, good = _first[0]
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    origin, storage, repo = tmp_path / "origin.git", tmp_path / "storage", tmp_path / "repo"
    git(repo, "remote", "set-url", "origin", str(origin))
    (repo / ".dvc" / "config").write_text(
        f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {storage}\n"
    )
    return Remote(Team(origin, storage, rv.open(repo), tmp_path), known, good)


def copied(remote: Remote, **changes: bytes | None) -> list[Entry]:
    """Return the files of the good run with some of them changed; its address is another one, so it is refused."""
    names = {name.replace("__", "."): content for name, content in changes.items()}
    kept = [entry for entry in remote.files_of(remote.good) if entry[1].decode() not in names]
    return kept + [("100644", name.encode(), remote.blob(c)) for name, c in names.items() if c is not None]


def odd_entry(mode: str, name: bytes, content: bytes = b"x") -> Callable[[Remote], None]:
    """Return what adds an odd entry to the folder of the run that is known here."""

    def offer(remote: Remote) -> None:
        target = COMMIT if mode == "160000" else remote.blob(content)
        if mode == "40000":
            target = write_tree(remote.path, [("100644", b"inner", remote.blob(content))])
        remote.offer(remote.folder_of(remote.known), [(mode, name, target)])

    return offer


def odd_file(name: str, content: bytes) -> Callable[[Remote], None]:
    """Return what changes a file of the run that is known here."""
    return lambda remote: remote.offer(
        remote.folder_of(remote.known), [("100644", name.encode(), remote.blob(content))]
    )


def pointer_to(digit: str, path: str) -> bytes:
    return f"outs:\n- md5: {digit * 32}\n  size: 1\n  hash: md5\n  path: {path}\n".encode()


DEEP = b"[" * 50_000 + b"]" * 50_000
REFUSED_RUNS: dict[str, tuple[Callable[[Remote], None], str]] = {
    "symbolic link": (odd_entry("120000", b"stats.parquet", b"/etc/passwd"), "not a plain file"),
    "link as a pointer": (odd_entry("120000", b"equity.parquet.dvc", b"../../../.git/config"), "not a plain file"),
    "submodule": (odd_entry("160000", b"module"), "not a plain file"),
    "program": (odd_entry("100755", b"manifest.json"), "not a plain file"),
    "folder": (odd_entry("40000", b"more"), "not a plain file"),
    "long name": (odd_entry("100644", b"n" * 4096), "does not know the file"),
    "backslash": (odd_entry("100644", b"..\\\\evil"), "does not know the file"),
    "reserved name": (odd_entry("100644", b"con"), "does not know the file"),
    "trailing dot": (odd_entry("100644", b"manifest.json."), "does not know the file"),
    "trailing space": (odd_entry("100644", b"manifest.json "), "does not know the file"),
    "case twin": (odd_entry("100644", b"MANIFEST.json"), "does not know the file"),
    "control characters": (odd_entry("100644", b"a\x1b[31mb\r"), "does not know the file"),
    "line feed in a name": (odd_entry("100644", b"a\nb"), "does not know the file"),
    "bidi mark": (odd_entry("100644", "a\u202egnp.exe".encode()), "does not know the file"),
    "not UTF-8": (odd_entry("100644", b"\xff\xfe"), ""),
    "leading dash": (odd_entry("100644", b"--upload-pack=x"), "does not know the file"),
    "colon": (odd_entry("100644", b"a:b"), "does not know the file"),
    "empty manifest": (odd_file("manifest.json", b""), ""),
    "no JSON": (odd_file("manifest.json", b"{"), ""),
    "JSON bomb": (odd_file("manifest.json", DEEP), ""),
    "huge manifest": (odd_file("manifest.json", b" " * ((1 << 20) + 1)), "bytes, more than"),
    "duplicate keys": (odd_file("manifest.json", b'{"format": 1, "format": 1}'), ""),
    "lone surrogate": (odd_file("manifest.json", b'{"format": 1, "id": "\\ud800"}'), ""),
    "NaN": (odd_file("manifest.json", b'{"format": NaN}'), ""),
    "newer manifest": (odd_file("manifest.json", b'{"format": 2}'), "newer"),
    "annotations that are none": (odd_file("annotations.json", b"[]"), ""),
    "deep annotations": (odd_file("annotations.json", DEEP), ""),
    "huge annotations": (odd_file("annotations.json", b" " * ((1 << 20) + 1)), "bytes, more than"),
    "tag of another type": (odd_file("annotations.json", b'{"tags": {"a": 1}}'), ""),
    "no Parquet": (odd_file("stats.parquet", b"PAR1PAR1"), ""),
    "huge statistics": (odd_file("stats.parquet", b"\0" * ((4 << 20) + 1)), "bytes, more than"),
    "pointer to the source": (
        odd_file(
            "equity.parquet.dvc",
            pointer_to("0", "../../../strategy.py"),
        ),
        "names another file",
    ),
    "pointer with a wdir": (odd_file("equity.parquet.dvc", b"wdir: ..\nouts:\n- md5: x\n"), "equity.parquet.dvc"),
    "pointer to another object": (
        odd_file("equity.parquet.dvc", pointer_to("0", "equity.parquet")),
        "not to the object that the manifest names",
    ),
    "huge pointer": (odd_file("equity.parquet.dvc", b"#" * 5000), "bytes, more than"),
    "pointer with a tag": (odd_file("equity.parquet.dvc", b"!!python/object/apply:os.system ['x']\n"), ""),
}


@pytest.mark.parametrize("case", REFUSED_RUNS)
def test_a_run_that_may_not_be_here_stays_as_it_was_and_hides_no_other(remote: Remote, case: str) -> None:
    offer, problem = REFUSED_RUNS[case]
    offer(remote)
    ada = remote.team.ada
    before = git(place(ada), "rev-parse", f"runvault:runs/{remote.known[:2]}/{remote.known}")
    pulled = ada.pull()
    [refused] = pulled.refused
    assert refused["run"] == remote.known
    assert problem in refused["problem"]
    assert refused["problem"].isascii()
    assert refused["problem"].isprintable()
    assert git(place(ada), "rev-parse", f"runvault:runs/{remote.known[:2]}/{remote.known}") == before
    assert {run.id for run in ada.list()} == {remote.known, remote.good}
    assert ada.verify().findings == []
    # The next push repairs the remote; a third person then gets all of it.
    ada.push()
    assert git(remote.path, "rev-parse", "runvault^{tree}").strip() == tree_of(ada)


def wrong_address(remote: Remote) -> None:
    remote.offer_run(copied(remote))


def run_as_a_file(remote: Remote) -> None:
    remote.offer([b"runs", SHARD], [("100644", VICTIM.encode(), remote.blob(b"x"))])


def run_as_a_module(remote: Remote) -> None:
    remote.offer([b"runs", SHARD], [("160000", VICTIM.encode(), COMMIT)])


def no_manifest(remote: Remote) -> None:
    remote.offer_run(copied(remote, manifest__json=None))


def crowded(remote: Remote) -> None:
    blob = remote.blob(b"x")
    remote.offer_run([("100644", b"f%d" % number, blob) for number in range(100)])


def test_a_refused_run_withholds_no_artifact_of_another(remote: Remote) -> None:
    """It has copies of the other's pointers, and came later."""
    remote.offer_run(copied(remote))
    pulled = remote.team.ada.pull()
    assert [each["run"] for each in pulled.refused] == [VICTIM]
    assert pulled.artifacts == 5


def test_what_a_refused_run_points_to_is_never_fetched(remote: Remote) -> None:
    """Its commits are here: a later pull that makes up for an earlier one must not take them for missing."""
    content = b"much of it"
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    stored = remote.team.storage / "files" / "md5" / md5[:2] / md5[2:]
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(content)
    pointer = f"outs:\n- md5: {md5}\n  size: {len(content)}\n  hash: md5\n  path: equity.parquet\n".encode()
    remote.offer_run(copied(remote, equity__parquet__dvc=pointer))
    ada = remote.team.ada
    assert [each["run"] for each in ada.pull(artifacts=False, data=False).refused] == [VICTIM]
    assert ada.pull().artifacts == 5  # of the good run, which has the same pointers but one
    assert not ada.stores.objects.has(md5)


@pytest.mark.parametrize("offer", [wrong_address, run_as_a_file, run_as_a_module, no_manifest, crowded])
def test_a_new_run_that_may_not_be_here_is_left_out(remote: Remote, offer: Callable[[Remote], None]) -> None:
    offer(remote)
    pulled = remote.team.ada.pull()
    assert [each["run"] for each in pulled.refused] == [VICTIM]
    assert {run.id for run in remote.team.ada.list()} == {remote.known, remote.good}


def of_newer_format(remote: Remote, run: str, **changes: object) -> Entry:
    """Return the manifest of a run as a newer runvault may have written it: its members mean something else here."""
    manifest = json.loads(git(remote.path, "show", f"{remote.tip}:runs/{run[:2]}/{run}/manifest.json"))
    changed = dump_json({**manifest, "format": 2, "config": {"asked": []}, "metrics": None, **changes})
    return ("100644", b"manifest.json", remote.blob(changed))


def test_a_run_that_is_merely_too_new_is_kept_unread(remote: Remote) -> None:
    """A fresh clone that cannot read it leaves it to those who can: what it pushes has it still."""
    remote.offer(remote.folder_of(remote.good), [of_newer_format(remote, remote.good)])
    before = git(remote.path, "rev-parse", f"runvault:runs/{remote.good[:2]}/{remote.good}")
    mary, ada = remote.team.join("Mary"), remote.team.ada
    save(ada, fast=7)  # so that Ada merges, and Mary moves forward
    for vault in (mary, ada):
        pulled = vault.pull()
        assert pulled.refused == []
        assert remote.known in {run.id for run in vault.list()}
        assert [run for run, _ in vault.damaged()] == [remote.good]
        save(vault, fast=8)
        pushed = vault.push()
        assert (pushed.removed, pushed.refused) == (0, [])
        assert git(remote.path, "rev-parse", f"runvault:runs/{remote.good[:2]}/{remote.good}") == before
    assert ada.pull().unread == []


def test_a_run_that_is_kept_unread_is_named(remote: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    remote.offer(remote.folder_of(remote.good), [of_newer_format(remote, remote.good)])
    [unread] = remote.team.ada.pull().unread
    assert unread["run"] == remote.good
    assert "newer than 1" in unread["problem"]
    capsys.readouterr()
    place_of_mary = remote.team.folder / "Mary"
    assert run_program(["clone", str(remote.team.origin), str(place_of_mary)]) == 0
    assert f"kept unread: {remote.good}: manifest.json has format 2" in capsys.readouterr().err


def test_a_run_that_can_be_read_is_not_hidden_by_a_greater_number(remote: Remote) -> None:
    remote.offer(remote.folder_of(remote.known), [of_newer_format(remote, remote.known)])
    mary = remote.team.join("Mary")
    assert [each["run"] for each in remote.team.ada.pull().refused] == [remote.known]
    assert remote.team.ada.push().removed == 0
    assert mary.pull().unread == []
    assert {run.id for run in mary.list()} == {remote.known, remote.good}


NEWER_AND_HOSTILE: dict[str, Callable[[Remote], Entry]] = {
    "another run's": lambda remote: of_newer_format(remote, remote.good, id=VICTIM),
    "no id": lambda remote: of_newer_format(remote, remote.good, id=None),
    "no artifacts": lambda remote: of_newer_format(remote, remote.good, artifacts=None),
    "artifacts that are none": lambda remote: of_newer_format(remote, remote.good, artifacts={"a": 1}),
    "a path as an artifact": lambda remote: of_newer_format(
        remote, remote.good, artifacts={"../a": {"md5": "0" * 32, "sha256": None, "size": 1, "media_type": ""}}
    ),
    "a file too many": lambda remote: ("100644", b"evil.sh", remote.blob(b"x")),
    "a link": lambda remote: ("120000", b"stats.parquet", remote.blob(b"/etc/passwd")),
    "a pointer elsewhere": lambda remote: (
        "100644",
        b"equity.parquet.dvc",
        remote.blob(pointer_to("0", "../../../strategy.py")),
    ),
    "annotations that are none": lambda remote: ("100644", b"annotations.json", remote.blob(b"[]")),
}


@pytest.mark.parametrize("case", NEWER_AND_HOSTILE)
def test_a_greater_number_lets_nothing_else_in(
    remote: Remote, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remote.offer(remote.folder_of(remote.good), [of_newer_format(remote, remote.good)])
    remote.offer(remote.folder_of(remote.good), [NEWER_AND_HOSTILE[case](remote)])
    ada = remote.team.ada
    pulled = ada.pull()
    assert [each["run"] for each in pulled.refused] == [remote.good]
    assert pulled.unread == []
    assert ada.damaged() == []
    # What a push takes from the remote is named.
    monkeypatch.chdir(place(ada))
    capsys.readouterr()
    assert run_program(["push"]) == 0
    assert f"removed: {remote.good}\n" in capsys.readouterr().err


STRAYS: dict[str, tuple[list[bytes], bytes]] = {
    "at the root": ([], b"evil.sh"),
    "hooks at the root": ([b"hooks"], b"post-checkout"),
    "in runs": ([b"runs"], b"README"),
    "no shard": ([b"runs", b"zz"], b"x"),
    "in the wrong shard": ([b"runs", b"ff"], VICTIM.encode()),
    "a seed too large": ([b"runs", SHARD], (VICTIM[:-1] + "9" * 19).encode()),
    "upper case": ([b"runs", b"AB"], VICTIM.upper().encode()),
    "beside the data": ([b"data"], b"x"),
    "DVC's own": ([b".dvc"], b"config.local"),
    "attributes": ([], b".gitattributes"),
    "modules": ([], b".gitmodules"),
}


@pytest.mark.parametrize("case", STRAYS)
def test_what_belongs_to_no_run_is_left_out(remote: Remote, case: str) -> None:
    folders, name = STRAYS[case]
    content = b'[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n' if name == b".gitmodules" else b"x"
    remote.offer(folders, [("100644", name, remote.blob(content))])
    pulled = remote.team.ada.pull()
    assert len(pulled.refused) == 1
    assert {run.id for run in remote.team.ada.list()} == {remote.known, remote.good}
    listed = git(place(remote.team.ada), "ls-tree", "-r", "--name-only", "runvault").splitlines()
    assert {path.split("/")[0] for path in listed} == {
        ".dvc",
        ".dvcignore",
        ".gitignore",
        "README.md",
        "runs",
        "runvault.json",
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"0" * 32 + b".csv.dvc", b"x"),
        (
            b"0" * 32 + b".csv.dvc",
            pointer_to("1", "0" * 32 + ".csv"),
        ),
        (b"0" * 32 + b".csv", b"x"),
        (b"0" * 32 + b".csv.dvc", b"#" * 5000),
    ],
)
def test_a_pointer_to_data_that_is_none_is_left_out(remote: Remote, name: bytes, content: bytes) -> None:
    remote.offer([b"data", b"00"], [("100644", name, remote.blob(content))])
    [refused] = remote.team.ada.pull().refused
    assert refused["run"] == f"data/00/{name.decode()}"


# A name that git itself refuses: the whole fetch fails, and nothing changes here.
FSCK = [b"..", b".", b".git", b".GIT", b"git~1", ".g\u200cit".encode(), b".git.", b"GIT~1", b"a/b"]


@pytest.mark.parametrize("name", FSCK)
def test_what_git_refuses_is_named_and_changes_nothing(remote: Remote, name: bytes) -> None:
    ada = remote.team.ada
    before = git(place(ada), "for-each-ref")
    odd = write_tree(remote.path, [("100644", name, remote.blob(b"x"))])
    remote.root = put(remote.path, remote.root, [b"runs", SHARD], [("40000", VICTIM.encode(), odd)])
    remote.tip = commit_tree(remote.path, remote.root, remote.tip)
    git(remote.path, "update-ref", "refs/heads/runvault", remote.tip)
    with pytest.raises(RunvaultError, match=odd) as raised:
        ada.pull()
    assert isinstance(raised.value, IntegrityError)
    assert git(place(ada), "for-each-ref") == before


def test_a_newer_archive_is_refused_whole(remote: Remote) -> None:
    remote.offer([], [("100644", b"runvault.json", remote.blob(b'{"format": 2}\n'))])
    with pytest.raises(SchemaTooNewError):
        remote.team.ada.pull()
    assert [run.id for run in remote.team.ada.list()] == [remote.known]


def test_code_refs_that_are_not_what_they_say_are_dropped(remote: Remote) -> None:
    git(remote.path, "update-ref", f"refs/runvault/code/{COMMIT}", remote.tip)
    blob = remote.blob(b"x")
    git(remote.path, "update-ref", f"refs/runvault/code/{blob}", blob)
    remote.team.ada.pull()
    assert git(place(remote.team.ada), "for-each-ref", "refs/runvault/code") == ""


def test_the_command_says_what_it_refused_and_exits_with_1(
    remote: Remote, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_entry("100644", b"a\x1b[31m<b>\xe2\x80\xae")(remote)
    monkeypatch.chdir(place(remote.team.ada))
    capsys.readouterr()
    assert run_program(["pull", "--json"]) == 1
    said = capsys.readouterr()
    assert [each["run"] for each in json.loads(said.out)["refused"]] == [remote.known]
    assert "\x1b" not in said.err
    assert "\u202e" not in said.err


def test_an_object_larger_than_recorded_is_not_taken(remote: Remote) -> None:
    mary = remote.team.join("Mary")
    name_storage(place(mary), remote.team.storage)
    later = save(mary, fast=5)
    mary.push()
    entry = later.artifacts["equity.parquet"]
    path = remote.team.storage / "files" / "md5" / entry["md5"][:2] / entry["md5"][2:]
    path.chmod(0o644)
    with path.open("ab") as file:
        file.truncate(50 << 20)
    pulled = remote.team.ada.pull()
    assert list(pulled.failed or {}) == [entry["md5"]]
    assert "larger than" in (pulled.failed or {})[entry["md5"]]
    assert not remote.team.ada.stores.objects.has(entry["md5"])


def test_nothing_was_written_outside(remote: Remote, tmp_path: Path) -> None:
    for name, (offer, _) in REFUSED_RUNS.items():
        if name in ("symbolic link", "pointer to the source", "backslash"):
            offer(remote)
    before = set(tmp_path.iterdir())
    source = (place(remote.team.ada) / "strategy.py").read_bytes()
    remote.team.ada.pull()
    assert set(tmp_path.iterdir()) == before
    assert (place(remote.team.ada) / "strategy.py").read_bytes() == source
