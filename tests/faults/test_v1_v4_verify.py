"""V1 to V4: whatever is flipped, deleted, swapped or spoofed is found and named, and healed where a copy is."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machine import full_counts, git, unpack
from results import make_result

import runvault as rv
from runvault.integrity.findings import Report
from runvault.stores.dvc import store
from runvault.stores.git.reading import Reader

pytestmark = pytest.mark.faults

NAMES = ("manifest.json", "annotations.json", "stats.parquet")
ARTIFACTS = ("equity.parquet", "orders.parquet", "trades.parquet", "portfolio.pkl")


@dataclass
class Archive:
    """A few runs, what is said of them, and where each kind of file lies."""

    repo: Path
    runs: list[rv.Run]
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def victim(self) -> rv.Run:
        return self.runs[1]

    def said(self) -> dict[str, Any]:
        """Return what reading says, and the class of error where it refuses."""
        answers: dict[str, Any] = {}
        for run in self.runs:
            for name in (*NAMES, *ARTIFACTS):
                answers[f"{run.id} {name}"] = _answer(lambda run=run, name=name: self.open().get(run.id).file(name))
        answers["list"] = _answer(lambda: [run.to_dict() for run in self.open().list()])
        answers["best"] = _answer(lambda: [run.id for run in self.open().best("total_return")])
        return answers

    def open(self) -> rv.Vault:
        return rv.open(self.repo, read_only=True)

    def verify(self, **asked: bool) -> Report:
        return self.open().verify(**asked)

    def loose(self, name: str) -> Path:
        blob = git(self.repo, "rev-parse", name).strip()
        return self.repo / f".git/objects/{blob[:2]}/{blob[2:]}"

    def of_run(self, name: str) -> Path:
        return self.loose(f"runvault:runs/{self.victim.id[:2]}/{self.victim.id}/{name}")

    def copies(self, name: str) -> list[Path]:
        md5 = self.victim.artifacts[name]["md5"]
        roots = (".dvc/cache/files/md5", ".git/runvault/keep/files/md5")
        return [self.repo / root / md5[:2] / md5[2:] for root in roots]


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except rv.RunvaultError as error:
        return type(error)


@pytest.fixture
def archive(repo: Path) -> Archive:
    vault = rv.init(repo)
    (repo / "prices.csv").write_text("date,close\n2020-01-01,100\n")
    runs = [
        vault.save(make_result(0.1 * n), strategy="s", params={"n": n}, data=repo / "prices.csv", tags=[f"t{n}"]).run
        for n in range(1, 4)
    ]
    unpack(repo)
    made = Archive(repo, runs)
    made.expected = made.said()
    assert made.verify().findings == []
    return made


def packed(archive: Archive) -> Path:
    git(archive.repo, "repack", "--quiet", "-a", "-d")
    git(archive.repo, "prune-packed", "--quiet")
    return next((archive.repo / ".git/objects/pack").glob("*.pack"))


def packed_refs(archive: Archive) -> Path:
    git(archive.repo, "pack-refs", "--all")
    return archive.repo / ".git/packed-refs"


# Each kind of file: where one is, and what a finding about it has to name
KINDS: dict[str, tuple[Callable[[Archive], Path], Callable[[Archive, Path], tuple[str, str]]]] = {
    **{
        name: (lambda archive, name=name: archive.of_run(name), lambda archive, _, name=name: (archive.victim.id, name))
        for name in ("manifest.json", "stats.parquet", "orders.parquet.dvc")
    },
    **{
        name: (
            lambda archive, name=name: archive.copies(name)[0],
            lambda archive, _, name=name: (archive.victim.id, name),
        )
        for name in ARTIFACTS
    },
    "commit": (lambda archive: archive.loose("runvault"), lambda archive, path: ("", _in_git(archive, path))),
    "older tree": (
        lambda archive: archive.loose("runvault~1:runs"),
        lambda archive, path: ("", _in_git(archive, path)),
    ),
    "pack": (packed, lambda archive, path: ("", _in_git(archive, path))),
    "idx": (lambda archive: packed(archive).with_suffix(".idx"), lambda archive, path: ("", _in_git(archive, path))),
    "ref": (lambda archive: archive.repo / ".git/refs/heads/runvault", lambda *_: ("", "refs/heads/runvault")),
    "packed-refs": (packed_refs, lambda *_: ("", "refs")),
}


def _in_git(archive: Archive, path: Path) -> str:
    return path.relative_to(archive.repo / ".git").as_posix()


def write_in_place(path: Path, content: bytes) -> None:
    """Change a file under all of its names, as a disk does."""
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_v1_a_flipped_bit_is_found_and_named(archive: Archive, kind: str) -> None:
    where, names = KINDS[kind]
    path = where(archive)
    sound = path.read_bytes()
    run, file = names(archive, path)
    bits = random.Random(kind).sample(range(8 * len(sound)), full_counts(4, 40))
    unnoticed = []
    for bit in bits:
        write_in_place(path, flipped(sound, bit))
        found = _named(archive)
        _assert_nothing_wrong_is_said(archive, bit)
        if not any(each_run == run and file in str(each_file) for each_run, each_file in found):
            assert found == [], f"bit {bit} of {path} is named as {found}"
            unnoticed.append(bit)
        write_in_place(path, sound)
    # A bit of padding at the end of a zlib stream may change nothing.
    assert len(unnoticed) <= 1, f"{len(unnoticed)} of {len(bits)} went unnoticed: {unnoticed}"
    assert archive.verify().findings == []


def test_v1_a_flipped_bit_of_the_catalog_is_found_and_named(archive: Archive) -> None:
    """Half of a small SQLite file is empty: a bit there, which changes no row, is told apart and does not count."""
    archive.open().reindex()
    path = archive.repo / ".git/runvault/catalog.db"
    sound, rows = path.read_bytes(), _rows(path)
    chance, noticed, wanted = random.Random("catalog"), 0, full_counts(6, 40)
    while noticed < wanted:
        bit = chance.randrange(8 * len(sound))
        if not any(sound[bit // 8 - 8 : bit // 8 + 8]):
            continue
        for beside in path.parent.glob("catalog.db-[ws]*"):
            beside.unlink()
        path.write_bytes(flipped(sound, bit))
        found = _named(archive)
        if found:
            assert found == [("", "runvault/catalog.db")]
            noticed += 1
        else:
            assert _rows(path) == rows, f"bit {bit} changed a row and went unnoticed"
        _assert_nothing_wrong_is_said(archive, bit)


def _assert_nothing_wrong_is_said(archive: Archive, bit: int) -> None:
    now = archive.said()
    wrong = {name: now[name] for name, before in archive.expected.items() if now[name] != before}
    assert all(isinstance(answer, type) for answer in wrong.values()), f"bit {bit} gave another value: {wrong}"


def _rows(path: Path) -> list[Any]:
    """Return all rows of a catalog, but what SQLite keeps there for its own plans, which change no answer."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        ours = [name for name in tables if not name.startswith("sqlite_")]
        return [db.execute(f'SELECT * FROM "{name}"').fetchall() for name in ours]  # noqa: S608 - names of tables


def _named(archive: Archive) -> list[tuple[str, str | None]]:
    return [(finding.run, finding.file) for finding in archive.verify().findings]


# V3: each case damages one part; where another copy is configured repair heals it, and nowhere else is anything done


def remove(path: Path) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    path.unlink()


def replace(path: Path, content: bytes) -> None:
    """Put another file in its place, as a tool that restores a wrong backup does: other names keep the old one."""
    path.unlink()
    path.write_bytes(content)


def spoil(path: Path) -> None:
    content = path.read_bytes()
    replace(path, flipped(content, 8 * (len(content) // 2)))


def rot(path: Path) -> None:
    """Flip a bit of the file under all its names."""
    content = path.read_bytes()
    write_in_place(path, flipped(content, 8 * (len(content) // 2)))


Damaging = Callable[[Archive], object]


def _both(archive: Archive, name: str, how: Callable[[Path], None]) -> None:
    for path in archive.copies(name):
        how(path)


CASES: dict[str, Damaging] = {}
for _name in ARTIFACTS:
    CASES |= {
        f"{_name} is gone": lambda archive, name=_name: _both(archive, name, remove),
        f"{_name} rots under both names": lambda archive, name=_name: rot(archive.copies(name)[0]),
        f"{_name} is spoiled in the cache": lambda archive, name=_name: spoil(archive.copies(name)[0]),
        f"{_name} is spoiled in keep": lambda archive, name=_name: spoil(archive.copies(name)[1]),
        f"{_name} is empty": lambda archive, name=_name: replace(archive.copies(name)[0], b""),
        f"{_name} is another": lambda archive, name=_name: replace(
            archive.copies(name)[0],
            archive.copies("equity.parquet" if name != "equity.parquet" else "orders.parquet")[0].read_bytes(),
        ),
    }
for _name in (*NAMES, "orders.parquet.dvc"):
    CASES |= {
        f"the blob of {_name} is gone": lambda archive, name=_name: remove(archive.of_run(name)),
        f"the blob of {_name} rots": lambda archive, name=_name: rot(archive.of_run(name)),
    }
CASES |= {
    "the blob of a manifest is that of another run": lambda archive: replace(
        archive.of_run("manifest.json"), archive.loose(_manifest(archive, 2)).read_bytes()
    ),
    "the run's tree is gone": lambda archive: remove(
        archive.loose(f"runvault:runs/{archive.victim.id[:2]}/{archive.victim.id}")
    ),
    "the root tree rots": lambda archive: rot(archive.loose("runvault^{tree}")),
    "the tip's commit is gone": lambda archive: remove(archive.loose("runvault")),
    "an older commit rots": lambda archive: rot(archive.loose("runvault~1")),
    "an older tree is gone": lambda archive: remove(archive.loose("runvault~1:runs")),
    "a pack rots": lambda archive: rot(packed(archive)),
    "a pack is cut short": lambda archive: replace(pack := packed(archive), pack.read_bytes()[:-30]),
    "the pack of everything is gone, with its index": lambda archive: _lose_pack(archive),
    "an input is gone": lambda archive: [remove(path) for path in _input(archive)],
    "an input rots": lambda archive: rot(_input(archive)[0]),
}
# What is healed from here, without any remote
AT_HOME: dict[str, Damaging] = {
    **{
        name: case for name, case in CASES.items() if "is spoiled" in name or "is empty" in name or "is another" in name
    },
    "an index of a pack rots": lambda archive: rot(packed(archive).with_suffix(".idx")),
    "an index of a pack is gone": lambda archive: remove(packed(archive).with_suffix(".idx")),
    "an index of a pack is empty": lambda archive: replace(packed(archive).with_suffix(".idx"), b""),
    "an index names a wrong place of a blob": lambda archive: _misplace(archive),
    "an index is of another pack": lambda archive: _swap_sum(archive),
    "the ref is gone": lambda archive: remove(archive.repo / ".git/refs/heads/runvault"),
    "the ref is cut short": lambda archive: replace(
        archive.repo / ".git/refs/heads/runvault", git(archive.repo, "rev-parse", "runvault").encode()[:20]
    ),
    "the ref names nothing": lambda archive: replace(archive.repo / ".git/refs/heads/runvault", b"1" * 40 + b"\n"),
    "a ref of code is cut short": lambda archive: _cut_ref(archive, f"code/{git(archive.repo, 'rev-parse', 'main')}"),
    "what a remote had is cut short": lambda archive: _cut_ref(archive, "remotes/origin/runvault"),
    "packed refs are out of order": lambda archive: _shuffle(packed_refs(archive)),
    "packed refs have a line without its space": lambda archive: _spoil_refs(
        archive, b" refs/heads/r", b"`refs/heads/r"
    ),
    "packed refs have an id that is none": lambda archive: _spoil_refs(
        archive, _tip(archive), b"x" + _tip(archive)[1:]
    ),
    "packed refs have a name that is none": lambda archive: _spoil_refs(archive, b"heads/runv", b"heads/ru~v"),
    "packed refs lack the end of a line": lambda archive: _spoil_refs(
        archive, b"heads/runvault\n", b"heads/runvault\x0b"
    ),
    "packed refs lack the end of their first line": lambda archive: _spoil_refs(archive, b"sorted \n", b"sorted *"),
    "packed refs lack the sign of a tag": lambda archive: _spoil_refs(archive, b"\n^", b"\n~"),
    "packed refs end early": lambda archive: replace(
        path := packed_refs(archive), path.read_bytes().removesuffix(b"vault\n")
    ),
    "the catalog is cut short": lambda archive: replace(
        catalog := archive.repo / ".git/runvault/catalog.db", catalog.read_bytes()[:5000]
    ),
    "the catalog says another tip": lambda archive: _lie(archive),
}
assert len({**CASES, **AT_HOME}) >= 40


def _cut_ref(archive: Archive, name: str) -> None:
    ref = f"refs/runvault/{name.strip()}"
    git(archive.repo, "update-ref", ref, "main")
    replace(archive.repo / ".git" / ref, (archive.repo / ".git" / ref).read_bytes()[:20])


def _lose_pack(archive: Archive) -> None:
    """Remove all Git objects, and leave refs that are packed: nothing says then which commit was the tip's parent."""
    packed_refs(archive)
    for path in packed(archive).parent.iterdir():
        remove(path)


def _manifest(archive: Archive, number: int) -> str:
    run = archive.runs[number].id
    return f"runvault:runs/{run[:2]}/{run}/manifest.json"


def _input(archive: Archive) -> list[Path]:
    md5 = archive.victim.data["prices"]["md5"]
    return [
        archive.repo / root / md5[:2] / md5[2:] for root in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5")
    ]


def _shuffle(path: Path) -> None:
    first, *rest = path.read_bytes().splitlines(keepends=True)
    replace(path, first + b"".join(reversed(rest)))


def _tip(archive: Archive) -> bytes:
    return git(archive.repo, "rev-parse", "runvault").strip().encode()


def _spoil_refs(archive: Archive, old: bytes, new: bytes) -> None:
    """Damage packed refs so that git cannot read them; a tag stands behind the archive branch, and one has no log."""
    git(archive.repo, "tag", "-a", "-m", "first", "v1", "runvault~1")
    path = packed_refs(archive)
    content = path.read_bytes()
    assert content.count(old) >= 1
    replace(path, content.replace(old, new, 1))


def _misplace(archive: Archive) -> None:
    """Flip a bit of every place in an index: git finds each object and can read none."""
    index = packed(archive).with_suffix(".idx")
    content = bytearray(index.read_bytes())
    count = int.from_bytes(content[1028:1032], "big")
    for place in range(1032 + 24 * count, 1032 + 28 * count, 4):
        content[place + 3] ^= 1
    replace(index, bytes(content))


def _swap_sum(archive: Archive) -> None:
    index = packed(archive).with_suffix(".idx")
    content = index.read_bytes()
    body = content[:-40] + bytes(20)
    replace(index, body + hashlib.sha1(body, usedforsecurity=False).digest())


def _lie(archive: Archive) -> None:
    """Change a number by which runs are sorted."""
    archive.open().reindex()
    with contextlib.closing(sqlite3.connect(archive.repo / ".git/runvault/catalog.db", isolation_level=None)) as db:
        db.execute('UPDATE runs SET "metrics.sharpe_ratio" = 9')


def with_remotes(archive: Archive) -> None:
    """Give the archive a Git remote and a DVC remote that have all of it, put there by the plain programs."""
    place = archive.repo.parent
    git(place, "clone", "--quiet", "--mirror", "--no-hardlinks", str(archive.repo), str(place / "other.git"))
    git(archive.repo, "remote", "add", "origin", str(place / "other.git"))
    shutil.copytree(archive.repo / ".dvc/cache", place / "store")
    (archive.repo / ".dvc/config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    )


def state(repo: Path) -> dict[str, bytes]:
    """Return every file below the repository but SQLite's own and the locks, which reading may touch."""
    ours = ("catalog.db-", "write.")
    return {
        path.relative_to(repo).as_posix(): path.read_bytes()
        for path in repo.rglob("*")
        if path.is_file() and not path.name.startswith(ours)
    }


@pytest.mark.parametrize("case", {**CASES, **AT_HOME})
def test_v3_damage_is_found_healed_and_gone(archive: Archive, case: str) -> None:
    with_remotes(archive)
    {**CASES, **AT_HOME}[case](archive)
    before = state(archive.repo)
    found = archive.verify().findings
    assert state(archive.repo) == before, "verify changed something"
    gone = "gone" in case and (case.split()[0] in ARTIFACTS or "input" in case)
    assert bool(found) != gone, found  # what the remote has is counted and no finding

    repaired = archive.verify(repair=True)
    assert (repaired.findings, bool(repaired.repaired)) == ([], True)
    assert archive.verify().findings == []
    assert archive.said() == archive.expected
    git(archive.repo, "fsck", "--strict", "--full")


@pytest.mark.parametrize("case", sorted(CASES.keys() - AT_HOME.keys()))
def test_v3_without_a_source_repair_changes_nothing(archive: Archive, case: str) -> None:
    CASES[case](archive)
    before, found = state(archive.repo), archive.verify().findings
    assert found

    left = archive.verify(repair=True)
    assert (left.findings, left.repaired) == (found, [])
    assert state(archive.repo) == before


def test_v3_a_line_of_packed_refs_that_nothing_tells_stays_and_is_named(archive: Archive) -> None:
    git(archive.repo, "tag", "v1", "runvault~1")
    path = packed_refs(archive)
    replace(path, path.read_bytes().replace(b"refs/tags/v1", b"refs/tags/\x7f\x7f"))
    before = state(archive.repo)
    for found in (archive.verify(), archive.verify(repair=True)):
        assert [(each.run, each.file) for each in found.findings] == [("", "packed-refs")]
        assert "names no ref" in found.findings[0].problem
        assert "by hand" in str(found.findings[0].hint)
    assert state(archive.repo) == before


@pytest.mark.parametrize("case", AT_HOME)
def test_v3_what_a_copy_at_home_heals_needs_no_remote(archive: Archive, case: str) -> None:
    AT_HOME[case](archive)
    assert archive.verify().findings
    assert archive.verify(repair=True).findings == []
    assert archive.verify().findings == []
    assert archive.said() == archive.expected


def test_v3_a_damaged_remote_heals_nothing(archive: Archive) -> None:
    with_remotes(archive)
    _both(archive, "orders.parquet", spoil)
    md5 = archive.victim.artifacts["orders.parquet"]["md5"]
    store = archive.repo.parent / f"store/files/md5/{md5[:2]}/{md5[2:]}"
    spoil(store)
    rotten = store.read_bytes()

    found = archive.verify(repair=True).findings
    assert [(finding.run, finding.file) for finding in found] == [(archive.victim.id, "orders.parquet")]
    assert store.read_bytes() == rotten


def test_v3_one_damaged_run_hides_no_other(archive: Archive) -> None:
    remove(archive.loose(f"runvault:runs/{archive.victim.id[:2]}/{archive.victim.id}"))
    remove(archive.loose(_manifest(archive, 0)))
    spoil(archive.repo / f".git/runvault/keep/files/md5/{_split(archive.runs[2].artifacts['orders.parquet']['md5'])}")

    assert {(finding.run, finding.file) for finding in archive.verify().findings} >= {
        (archive.victim.id, None),
        (archive.runs[0].id, "manifest.json"),
        (archive.runs[2].id, "orders.parquet"),
    }


def _split(md5: str) -> str:
    return f"{md5[:2]}/{md5[2:]}"


# V4


def test_v4_a_reader_that_lies_is_never_believed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of five reads come with a flipped bit, each time another: of Git's objects, and of those of DVC."""
    chance = random.Random(4)

    def lie(content: bytes) -> bytes:
        return flipped(content, chance.randrange(8 * len(content))) if content and chance.random() < 0.8 else content

    blobs, chunks, read = Reader.read_blobs, store.chunks_of, store._read
    monkeypatch.setattr(Reader, "read_blobs", lambda self, ids: ((name, lie(x)) for name, x in blobs(self, ids)))
    monkeypatch.setattr(store, "chunks_of", lambda path: map(lie, chunks(path)))
    monkeypatch.setattr(store, "_read", lambda path: None if (data := read(path)) is None else lie(data))
    for _ in range(full_counts(5, 50)):
        assert archive.verify().findings
        assert archive.verify(artifacts=True).findings


# D2 and D3: DVC itself notices no damage in its cache, and drops what it does not know


def test_d2_what_dvc_takes_for_sound_is_healed_from_the_remote(archive: Archive) -> None:
    with_remotes(archive)
    for bit in range(full_counts(3, 100)):
        for path in archive.copies("portfolio.pkl"):
            content = path.read_bytes()
        write_in_place(path, flipped(content, bit % (8 * len(content))))
        assert [finding.file for finding in archive.verify().findings] == ["portfolio.pkl"]
        assert archive.verify(repair=True).findings == []
    assert archive.said() == archive.expected


@pytest.mark.parametrize("flags", [["-w"], ["-a"], ["-A"], ["-w", "-c"]])
def test_d3_dvc_gc_takes_nothing_that_is_archived(archive: Archive, flags: list[str]) -> None:
    with_remotes(archive)
    dvc = Path(sys.executable).with_name("dvc")
    done = subprocess.run([dvc, "gc", "--force", *flags], cwd=archive.repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    swept = not archive.copies("orders.parquet")[0].exists()
    assert swept or "-w" not in flags, "dvc gc -w is expected to drop what only the archive names"

    report = archive.verify()
    assert report.findings == []
    assert (report.checked["kept"] > 0) == swept
    assert archive.said() == archive.expected
    assert archive.verify(repair=True).findings == []
    assert archive.copies("orders.parquet")[0].exists()
    assert archive.verify().checked["kept"] == 0
