"""What a save installs is on disk, names included, before the branch moves, and the branch before the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import needs_strace, new_archive, serving
from machine import git

from runvault.stores.git.repository import Repository

pytestmark = [pytest.mark.faults, needs_strace]

CALLS = "openat,creat,write,pwrite64,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,rmdir,fsync,fdatasync"
# Advice that nothing depends on: who holds the lock, how many objects wait to be packed, refs that live for one save.
ADVISORY = re.compile(r"/runvault/(write\.(lock|holder\.json)|new-packs)$|/refs/runvault(/|$)|\.keep$|\.idx\.lock$")

STARTED = re.compile(r"^(\d+) +(\w+)\((.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
DESCRIPTOR = re.compile(r"^\d+<(.*?)>")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Audit:
    """Follows a trace: which files and names are not yet on disk, and what was promised too early."""

    root: str
    branch: str
    unsynced_files: set[str] = field(default_factory=set)
    unsynced_names: set[str] = field(default_factory=set)
    early: list[str] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)
    synced: list[str] = field(default_factory=list)
    moved: bool = False
    answered: bool = False

    def call(self, name: str, arguments: str) -> None:
        if not re.search(r"= \d+(<|$)", arguments):
            return  # it failed
        match name:
            case "write" | "pwrite64":
                self._wrote(arguments)
            case "fsync" | "fdatasync":
                self._synced(DESCRIPTOR.findall(arguments)[0])
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                self._installed(*QUOTED.findall(arguments)[:2])
                if name.startswith("rename"):
                    self.unsynced_names.discard(QUOTED.findall(arguments)[0])
            case "rmdir":
                self.unsynced_names.discard(QUOTED.findall(arguments)[0])
            case "mkdir" | "mkdirat":
                self._named(QUOTED.findall(arguments)[0])
            case "openat" | "creat" if "O_CREAT" in arguments:
                self._named(QUOTED.findall(arguments)[0])

    def _wrote(self, arguments: str) -> None:
        path = DESCRIPTOR.findall(arguments)[0]
        if arguments.startswith("1<") and '"ack' in arguments:
            self.answered = True
            self._require("acknowledged", self.unsynced_files | self.unsynced_names)
        if path.startswith(self.root):
            self.unsynced_files.add(path)

    def _synced(self, path: str) -> None:
        self.synced.append(path)
        self.unsynced_files.discard(path)
        self.unsynced_names = {name for name in self.unsynced_names if str(Path(name).parent) != path}

    def _named(self, path: str) -> None:
        # A temporary name need not survive: what counts is the name that a file is given in the end.
        if path.startswith(self.root) and not re.search(r"tmp|\.lock$", Path(path).name):
            self.unsynced_names.add(path)

    def _installed(self, old: str, new: str) -> None:
        if not new.startswith(self.root):
            return
        self.installed.append(new)
        self._require(f"installed {new}", {old} & self.unsynced_files)
        if new.endswith(f"/refs/heads/{self.branch}"):
            self.moved = True
            objects = f"{self.root}/objects"
            self._require("moved the branch", {p for p in self.unsynced_files if p.startswith(objects)})
            self._require("moved the branch", {p for p in self.unsynced_names if p.startswith(objects)})
        self.unsynced_names.add(new)

    def _require(self, what: str, unsynced: set[str]) -> None:
        self.early += [f"{what} before {path} was on disk" for path in sorted(unsynced) if not ADVISORY.search(path)]


def replay(audit: Audit, trace: Path) -> None:
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        if match := RESUMED.match(line):
            pid, name, rest = match.groups()
            audit.call(name, begun.pop(pid + name, "") + rest)
        elif match := STARTED.match(line):
            pid, name, rest = match.groups()
            if rest.endswith("<unfinished ...>"):
                begun[pid + name] = rest.removesuffix("<unfinished ...>")
            else:
                audit.call(name, rest)


def audited(repository: Repository, trace: Path, *, bulk: bool, threads: bool) -> Audit:
    """Save a run under strace, and follow what it did."""
    with serving(repository, threads=threads) as server:
        options = ("-y", "-s", "256", "-o", str(trace), "-e", f"trace={CALLS}")
        assert server.save("audited", *options, bulk=bulk).acknowledged
    audit = Audit(str(repository.common_dir), repository.branch)
    replay(audit, trace)
    return audit


@pytest.mark.parametrize("threads", [False, True], ids=["one thread", "threads"])
@pytest.mark.parametrize("branch", ["runvault", "team/alpha"])
@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_everything_is_on_disk_before_it_is_promised(
    repo: Path, tmp_path: Path, bulk: bool, branch: str, threads: bool
) -> None:
    audit = audited(new_archive(repo, branch), tmp_path / "trace", bulk=bulk, threads=threads)
    assert (audit.moved, audit.answered) == (True, True)
    assert len(audit.installed) >= (5 if bulk else 4)  # packs and their indexes, the journal, the branch
    assert audit.early == []


@pytest.mark.parametrize("threads", [False, True], ids=["one thread", "threads"])
def test_the_objects_of_a_save_are_two_files_in_one_folder(repo: Path, tmp_path: Path, threads: bool) -> None:
    repository = new_archive(repo)
    trace, objects = tmp_path / "trace", repository.common_dir / "objects"
    audit = audited(repository, trace, bulk=False, threads=threads)
    named = [Path(path) for path in audit.installed if Path(path).is_relative_to(objects)]
    synced = [Path(path) for path in audit.synced if Path(path).is_relative_to(objects)]
    assert [path.suffix for path in named] == [".pack", ".idx"]
    assert [path.name.split("-")[0] for path in synced[:2]] == ["tmp_runvault", "tmp_runvault"]
    assert synced[2:] == [objects / "pack"]
    listed = git(repo, "show-index", stdin=named[1])
    assert listed.count("\n") == 10  # 5 files, 4 trees and a commit

    steps = [line.split("(")[0].split()[-1] for line in trace.read_text().splitlines() if str(objects / "pack") in line]
    first_name = steps.index("rename")
    assert (steps[:first_name].count("fsync"), steps[first_name:].count("fsync")) == (2, 1)


def test_the_audit_sees_what_plain_git_leaves_out(tmp_path: Path) -> None:
    audit = Audit("/r", "runvault")
    trace = tmp_path / "trace"
    trace.write_text(
        '1 write(3</r/objects/tmp_a>, "x", 1) = 1\n'
        '1 link("/r/objects/tmp_a", "/r/objects/ab/cd") = 0\n'
        '1 mkdir("/r/objects/ef", 0777) = 0\n'
        '1 rename("/r/refs/heads/runvault.lock", "/r/refs/heads/runvault") = 0\n'
        '1 write(1<pipe:[1]>, "ack 1", 5) = 5\n'
    )
    replay(audit, trace)
    assert [text.split(" before ")[0] for text in audit.early] == [
        "installed /r/objects/ab/cd",
        "moved the branch",
        "moved the branch",
        "moved the branch",
        "acknowledged",
        "acknowledged",
        "acknowledged",
        "acknowledged",
    ]
