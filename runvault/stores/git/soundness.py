"""Every file of Git's own, looked at as a whole: objects by their names, packs and indexes by their checksums.

The git programs stop at the first object that they cannot read, and repeat themselves about every one that it was
needed for; what names damage has to go on. They are asked as well, for what only a walk through history tells.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runvault.errors import RunvaultError
from runvault.model.records import MAX_FILE_BYTES
from runvault.stores.git.damage import Damage, path_of
from runvault.stores.git.programs import git_failure, start_git
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.git.sounding import named, sound_objects
from runvault.stores.git.summed import HASH_SIZE, ends_in_own_sum

_SUMMED = ("pack/*.pack", "pack/*.idx", "pack/*.rev", "pack/*.bitmap", "pack/multi-pack-index", "info/commit-graph")

_LOOSE = re.compile(r"[0-9a-f]{38}")
_MISSING = re.compile(r"missing (?:blob|tree|commit|tag) ([0-9a-f]{40})")
_FAULT = re.compile(r"error in (?:blob|tree|commit|tag) ([0-9a-f]{40}): (.*)")
_OBJECT = re.compile(r"[0-9a-f]{40}")
_CHUNK = 1 << 20
_ENTRY = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)


def file_damage(repository: Repository) -> Iterator[Damage]:
    """Yield the files below ``objects`` whose content does not match their name or checksum."""
    objects = repository.common_dir / "objects"
    for folder in sorted(objects.glob("[0-9a-f][0-9a-f]")):
        for path in sorted(folder.iterdir()):
            if _LOOSE.fullmatch(path.name) and (problem := _loose_problem(path)):
                yield Damage(path_of(folder.name + path.name), problem, folder.name + path.name)
    for pattern in _SUMMED:
        for path in sorted(objects.glob(pattern)):
            with suppress(FileNotFoundError):  # git packs anew beside us
                if not ends_in_own_sum(path):
                    yield Damage(f"objects/{path.relative_to(objects).as_posix()}", "does not match its checksum")
                elif path.suffix == ".pack" and (problem := _pair_problem(path)):
                    yield Damage(f"objects/{path.relative_to(objects).as_posix()}", problem)


def _loose_problem(path: Path) -> str | None:
    inflater, digest = zlib.decompressobj(), hashlib.sha1(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while not inflater.eof and (some := inflater.unconsumed_tail or file.read(_CHUNK)):
                digest.update(inflater.decompress(some, _CHUNK))  # a few kilobytes may inflate to anything
            digest.update(inflater.flush())
            more = file.read(1)
    except FileNotFoundError:
        return None
    except zlib.error:
        return "the object is damaged: it cannot be inflated"
    if not inflater.eof or inflater.unused_data or more:
        return "the object is damaged: it is cut short, or something follows it"
    if digest.hexdigest() != path.parent.name + path.name:
        return "the object is damaged: it does not match its name"
    return None


def _pair_problem(pack: Path) -> str | None:
    """Return what is wrong between a pack and its index: each may be sound, and they need not belong together."""
    index = pack.with_suffix(".idx")
    if not index.exists():
        begun = pack.with_suffix(".keep").exists()  # it is being written, or its writer died: nothing refers to it
        return None if begun or not pack.exists() else "has no index"
    mine, theirs = _end_of(index, 2 * HASH_SIZE)[:HASH_SIZE], _end_of(pack, HASH_SIZE)
    return None if mine == theirs else "is not the pack that its index is of"


def _end_of(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def is_own_pack(pack: Path) -> bool:
    """Tell whether a pack is whole, and the one that it is called after, or without an index that says otherwise."""
    if not pack.exists() or not ends_in_own_sum(pack):
        return False
    return not pack.with_suffix(".idx").exists() or pack.stem == f"pack-{_end_of(pack, HASH_SIZE).hex()}"


def history_damage(repository: Repository, tips: Iterable[str]) -> list[Damage]:
    """Return what ``git fsck`` finds behind `tips`: objects that are missing, or not as Git would have them."""
    with history_walk(repository, tips) as found:
        return found()


@contextmanager
def history_walk(repository: Repository, tips: Iterable[str]) -> Iterator[Callable[[], list[Damage]]]:
    """Let ``git fsck`` walk while other things are looked at; what is given waits for it, as `history_damage` does."""
    tips = list(tips)
    args = ["fsck", "--full", "--no-dangling", "--no-progress", "--no-reflogs", *tips]
    place = [f"--git-dir={repository.common_dir}", "--no-replace-objects"]
    with start_git([*place, *args], cwd=repository.common_dir, answers=True) as process:

        def found() -> list[Damage]:
            out, err = process.communicate()
            if process.returncode < 0:
                raise git_failure(args, process.returncode, err)
            said = out.decode("utf-8", "replace") + err.decode("utf-8", "replace")
            return list(_told_damage(repository, tips, said, failed=bool(process.returncode)))

        yield found


def _told_damage(repository: Repository, tips: list[str], said: str, *, failed: bool) -> Iterator[Damage]:
    missing = dict.fromkeys(_MISSING.findall(said))
    yield from (Damage(path_of(name), "the object is missing", name) for name in missing)
    faults = dict(_FAULT.findall(said))
    ours = _reachable(repository, tips) if faults else set()  # the user's own history may have been odd for ever
    yield from (Damage(path_of(name), f"git fsck: {problem}", name) for name, problem in faults.items() if name in ours)
    if failed and not missing and not faults:
        yield from _unnamed(said)


def _unnamed(said: str) -> Iterator[Damage]:
    """Yield what else git complained about: the first line alone, for the others follow from it."""
    lines = [line.removeprefix("error: ").removeprefix("fatal: ") for line in said.splitlines() if line.strip()]
    for line in lines[:1]:
        found = _OBJECT.search(line)
        yield Damage(path_of(found[0]) if found else "objects", f"git fsck: {line}", found[0] if found else None)


def _reachable(repository: Repository, tips: Iterable[str]) -> set[str]:
    told = repository.git("rev-list", "--objects", *tips, ok=range(256)).stdout.decode("utf-8", "replace")
    return {line[:40] for line in told.splitlines()}


class SoundReader:
    """Reads as much as there is: what is damaged is left out, and hides nothing else.

    Parameters
    ----------
    repository : Repository
        Where to read.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._reader = Reader(repository, MAX_FILE_BYTES)

    def files(self, tip: str) -> tuple[list[tuple[str, str]], list[Damage]]:
        """Return path and blob of every file at `tip`, and the folders that could not be read."""
        try:
            return [(path, blob) for path, blob in self._reader.changed_files(None, tip) if blob], []
        except RunvaultError:
            return self._walk(tip)

    def _walk(self, tip: str) -> tuple[list[tuple[str, str]], list[Damage]]:
        commit = next(sound_objects(self._repository, [tip]), None)
        if commit is None or commit.kind != "commit":
            return [], [Damage(path_of(tip), f"commit {tip} is missing or damaged", tip)]
        files: list[tuple[str, str]] = []
        damaged: list[Damage] = []
        folders = [("", commit.content[5:45].decode("ascii", "replace"))]
        while folders:
            found = sound_objects(self._repository, {name for _, name in folders})
            trees = {each.name: each.content for each in found if each.kind == "tree"}
            deeper: list[tuple[str, str]] = []
            for path, name in folders:
                if name not in trees:
                    damaged.append(Damage(path or "/", "its Git object is missing or damaged", name))
                    continue
                for mode, entry, raw in _ENTRY.findall(trees[name]):
                    place = f"{path}/{entry.decode('utf-8', 'surrogateescape')}".lstrip("/")
                    (deeper if mode == b"40000" else files).append((place, raw.hex()))
            folders = deeper
        return sorted(files), damaged

    def read_blobs(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield ``(blob, content)`` of each blob that is there and matches its name, once, in the order asked."""
        waiting = dict.fromkeys(blobs)
        try:
            for name, content in self._reader.read_blobs(list(waiting)):
                del waiting[name]
                if named("blob", content) == name:
                    yield name, content
        except RunvaultError:
            for found in sound_objects(self._repository, waiting):  # those before were told
                if found.kind == "blob":
                    yield found.name, found.content
