"""Damaged files of Git's own, made whole again from what is sound: here, and in the Git remotes that are configured.

Nothing is changed for which there is no source. What replaces a file is on disk before the damaged one goes, and a
damaged pack is moved to ``runvault/damaged`` in the Git folder, not deleted.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pygit2.enums import ObjectType

from runvault.errors import RunvaultError
from runvault.stores.disk import install, sync_file, sync_folder
from runvault.stores.git.coderefs import CODE_REFS
from runvault.stores.git.damage import Damage, path_of
from runvault.stores.git.mending import mended
from runvault.stores.git.packs import write_pack
from runvault.stores.git.programs import DURABLE, PLACES_ALONE, run_git
from runvault.stores.git.refs import HEADER, OWN, PACKED, lacking_here, last_logged
from runvault.stores.git.repository import Repository
from runvault.stores.git.sounding import Sounded, sound_objects
from runvault.stores.git.soundness import is_own_pack

ROUNDS = 40  # an object that came back may name others that are missing, too
DERIVED = (".rev", ".bitmap", "multi-pack-index", "commit-graph")  # what git makes again from the rest, and can lack
_BATCH_BYTES = 64 * 2**20
_FETCH = (*PLACES_ALONE, "-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true")
_KINDS = {kind.name.lower(): kind for kind in (ObjectType.BLOB, ObjectType.TREE, ObjectType.COMMIT, ObjectType.TAG)}


def repair_git(repository: Repository, look: Callable[[], Sequence[Damage]]) -> list[str]:
    """Repair what can be repaired, and return the files that were, relative to the Git folder.

    Parameters
    ----------
    look : callable
        Says what is damaged now.
    """
    damaged = look()
    if not damaged:
        return []
    repaired = _repair_refs(repository, damaged)
    with _second_copy(repository) as copy:
        for _ in range(ROUNDS):
            done = _repair_files(repository, copy, look())
            repaired += done
            if not done:
                break
    return list(dict.fromkeys(repaired))


def _repair_refs(repository: Repository, damaged: Sequence[Damage]) -> list[str]:
    repaired = []
    unread = {damage.path for damage in damaged if damage.object is None}
    for path in dict.fromkeys(damage.path for damage in damaged):
        if path.startswith(OWN) and path in unread and _set_or_forget(repository, path):
            repaired.append(path)
        if path.startswith("refs/heads/") and _set_as_logged(repository, path):
            repaired.append(path)
        if path == PACKED and _mend_packed(repository):
            repaired.append(path)
    return repaired


def _set_or_forget(repository: Repository, ref: str) -> bool:
    """Set a ref of code to the commit in its name; another one, which nobody can read, is what pushes and pulls noted.

    Those look again at more where there is none.
    """
    path, named = repository.common_dir / ref, ref.removeprefix(f"{CODE_REFS}/")
    if named == ref:
        path.unlink()
        sync_folder(path.parent)
        return True
    if not _is_commit(repository, named):
        return False
    install(path, f"{named}\n".encode())
    return True


def _set_as_logged(repository: Repository, ref: str) -> bool:
    """Set a branch to what its log ends with, unless it is at a commit now: that one may be another program's."""
    logged = last_logged(repository, ref)
    path = repository.common_dir / ref
    now = path.read_bytes().strip().decode("ascii", "replace") if path.is_file() else _packed_value(repository, ref)
    if logged is None or not _is_commit(repository, logged[1]):
        return False
    if now is not None and now != logged[1] and _is_commit(repository, now):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    install(path, f"{logged[1]}\n".encode())
    return True


def _is_commit(repository: Repository, name: str) -> bool:
    return any(found.kind == "commit" for found in sound_objects(repository, [name]))


def _packed_value(repository: Repository, ref: str) -> str | None:
    with suppress(FileNotFoundError):
        for line in (repository.common_dir / PACKED).read_bytes().splitlines():
            if line.endswith(f" {ref}".encode()):
                return line.split(b" ")[0].decode("ascii", "replace")
    return None


def _mend_packed(repository: Repository) -> bool:
    """Give packed refs lines that git reads, in the order that it writes them; nothing where a line cannot be told."""
    path = repository.common_dir / PACKED
    before = path.read_bytes()
    content = mended(repository, before)
    if content is None:
        return False
    groups: list[bytes] = []
    for line in content.splitlines(keepends=True):
        if line.startswith(b"#"):
            continue
        if line.startswith(b"^") and groups:
            groups[-1] += line
        else:
            groups.append(line)
    ordered: list[bytes] = sorted(groups, key=_ref_in)
    made = HEADER + b"".join(ordered)
    if made == before:
        return False
    install(path, made)
    return True


def _ref_in(line: bytes) -> bytes:
    return line.split(b"\n")[0].partition(b" ")[2]


class _Copy:
    """A bare repository beside this one, with what the Git remotes have; fetched when it is first asked for."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self._fetched = False

    def as_repository(self) -> Repository:
        """Return it, made where it is not there yet."""
        if not (self.folder / "objects").is_dir():
            run_git(["init", "--quiet", "--bare", str(self.folder)], cwd=self.folder.parent)
        return Repository.find(self.folder, self.repository.branch)

    def fetch(self) -> None:
        """Fetch the branches and the code of every remote that answers."""
        if self._fetched:
            return
        self._fetched = True
        target = self.as_repository()
        for number, remote in enumerate(_remotes(self.repository)):
            kept = [f"+refs/{kind}/*:refs/from/{number}/{kind}/*" for kind in ("heads", "runvault", "tags")]
            with suppress(RunvaultError):  # a remote that cannot be reached is no source
                url = self.repository.git("remote", "get-url", "--", remote).stdout.decode().rstrip("\n")
                place = self.repository.work_tree or self.repository.common_dir
                args = [f"--git-dir={target.common_dir}", *_FETCH, "fetch", "--quiet", "--no-tags", "--no-auto-gc"]
                run_git([*args, "--end-of-options", url, *kept], cwd=place)

    def read(self, names: Collection[str]) -> Iterator[Sounded]:
        """Yield those of the objects that it has."""
        self.fetch()
        return sound_objects(self.as_repository(), names)

    def lacks(self, names: Sequence[str]) -> list[str]:
        """Return those of the objects that it does not have."""
        self.fetch()
        return lacking_here(self.as_repository(), names)


def _remotes(repository: Repository) -> list[str]:
    return [
        key[len("remote.") : -len(".url")]
        for key in repository.config
        if key.startswith("remote.") and key.endswith(".url")
    ]


@contextmanager
def _second_copy(repository: Repository) -> Iterator[_Copy]:
    folder = Path(tempfile.mkdtemp(prefix="repair-", dir=repository.state_dir))  # on the same file system
    try:
        yield _Copy(repository, folder / "copy.git")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _repair_files(repository: Repository, copy: _Copy, damaged: Sequence[Damage]) -> list[str]:
    refs = {damage.path: damage.object for damage in damaged if damage.path.startswith("refs/") and damage.object}
    repaired = _bring_histories(repository, copy, refs)
    if repaired:
        return repaired
    alone = [damage.object for damage in damaged if damage.object is not None]
    if alone:
        repaired += _replace_objects(repository, copy, dict.fromkeys(alone))
    for path in dict.fromkeys(damage.path for damage in damaged if damage.object is None):
        file = repository.common_dir / path
        if path.endswith(DERIVED) and file.exists():
            file.unlink()
            repaired.append(path)
        elif path.endswith(".idx") and _index_again(copy, file):
            repaired.append(path)
        elif path.endswith(".pack") and is_own_pack(file) and _index_again(copy, file.with_suffix(".idx")):
            repaired.append(path.replace(".pack", ".idx"))
    for path in dict.fromkeys(damage.path for damage in damaged if damage.path.endswith(".pack")):
        if path.replace(".pack", ".idx") not in repaired and _pack_again(
            repository, copy, repository.common_dir / path
        ):
            repaired.append(path)
    return repaired


def _bring_histories(repository: Repository, copy: _Copy, refs: Mapping[str, str]) -> list[str]:
    """Put back what refs name and is not here, and all of its history that is not: a pack may be gone as a whole."""
    there = {*refs.values()}.difference(copy.lacks([*refs.values()])) if refs else set()
    if not there:
        return []
    source = copy.as_repository()
    asked = "".join(f"{name}\n" for name in there).encode("ascii")
    told = source.git("rev-list", "--objects", "--no-object-names", "--stdin", stdin=asked).stdout.decode("ascii")
    lacking = "".join(f"{name}\n" for name in lacking_here(repository, told.splitlines())).encode("ascii")
    folder = repository.common_dir / "objects/pack"
    source.git(*DURABLE, "pack-objects", "--quiet", str(folder / "pack"), stdin=lacking)
    sync_folder(folder)
    return [ref for ref, name in refs.items() if name in there]


def _replace_objects(repository: Repository, copy: _Copy, names: Iterable[str]) -> list[str]:
    """Put objects back that are missing or damaged, each as a file of its own in the place of the damaged one."""
    wanted = list(names)
    # A pack may hold what the file of its own no longer does
    here = [name for name in wanted if (repository.common_dir / path_of(name)).exists()]
    found = {each.name: each for each in sound_objects(repository, here)}
    found |= {each.name: each for each in copy.read([name for name in wanted if name not in found])}
    for name, each in found.items():
        path = repository.common_dir / path_of(name)
        path.parent.mkdir(exist_ok=True)
        install(path, zlib.compress(f"{each.kind} {len(each.content)}".encode() + b"\0" + each.content))
        path.chmod(0o444)
    if found:
        sync_folder(repository.common_dir / "objects")
    return [path_of(name) for name in found]


def _index_again(copy: _Copy, index: Path) -> bool:
    """Make the index of a sound pack anew.

    In the repository beside: here git would compare each object with the one that it finds by the damaged index, and
    end where it cannot read that one.
    """
    pack, made = index.with_suffix(".pack"), index.with_name(f"{index.stem}.idx-new")
    try:
        copy.as_repository().git(*DURABLE, "index-pack", "-o", str(made), str(pack))
        sync_file(made)
        made.replace(index)
    except RunvaultError:
        return False
    finally:
        made.unlink(missing_ok=True)
    sync_folder(index.parent)
    return True


def _pack_again(repository: Repository, copy: _Copy, pack: Path) -> bool:
    """Replace a damaged pack by one with all of its objects, or leave it where one of them is nowhere."""
    names = _names_in(repository, pack)
    if not names:
        return False
    lacking = copy.lacks(names)
    target = copy.as_repository()
    batch: list[tuple[ObjectType, bytes]] = []
    saved = size = 0
    for each in sound_objects(repository, lacking):
        batch.append((_KINDS[each.kind], each.content))
        saved, size = saved + 1, size + len(each.content)
        if size > _BATCH_BYTES:
            write_pack(target, batch)
            batch, size = [], 0
    if batch:
        write_pack(target, batch)
    if saved < len(lacking):
        return False
    prefix = target.common_dir / "objects/pack/made"
    listed = "".join(f"{name}\n" for name in names).encode()
    try:
        made = target.git(*DURABLE, "pack-objects", "--quiet", str(prefix), stdin=listed).stdout.decode().strip()
    except RunvaultError:
        return False
    _exchange(repository, pack, prefix.with_name(f"made-{made}"), made)
    return True


def _exchange(repository: Repository, pack: Path, made: Path, name: str) -> None:
    folder = pack.parent
    for suffix in (".pack", ".idx"):  # the index last: a pack without one is not looked at
        source = made.with_name(made.name + suffix)
        sync_file(source)
        if pack.stem == f"pack-{name}":
            _put_aside(repository, folder / f"pack-{name}{suffix}")
        source.replace(folder / f"pack-{name}{suffix}")
    sync_folder(folder)
    for path in folder.glob(f"{pack.stem}.*") if pack.stem != f"pack-{name}" else ():
        _put_aside(repository, path)
    for derived in (folder / "multi-pack-index", *folder.glob("multi-pack-index-*")):
        derived.unlink(missing_ok=True)  # names the pack that is gone
    sync_folder(folder)


def _put_aside(repository: Repository, path: Path) -> None:
    aside = repository.state_dir / "damaged"
    aside.mkdir(exist_ok=True)
    path.replace(aside / path.name)


def _names_in(repository: Repository, pack: Path) -> list[str]:
    """Return the objects that a pack should hold, by its index."""
    index = pack.with_suffix(".idx")
    try:
        listed = repository.git("show-index", stdin=index.read_bytes()).stdout.decode("ascii")
    except (OSError, RunvaultError):
        return []
    return [line.split(" ")[1] for line in listed.splitlines()]
