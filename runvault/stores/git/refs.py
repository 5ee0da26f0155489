"""Whether the files of refs are as git writes them: a flipped bit can make a ref vanish, or be another one.

Nothing checks such a file but its own form, and the log beside it: git notes every move of a branch there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from runvault.stores.git.damage import Damage
from runvault.stores.git.repository import Repository

PACKED = "packed-refs"
OWN = "refs/runvault/"
HEADER = b"# pack-refs with: peeled fully-peeled sorted \n"

PACKED_LINE = re.compile(rb"([0-9a-f]{40}) (refs/[^\x00-\x20\x7f~^:?*\[\\]+)\n")
PEELED_LINE = re.compile(rb"\^[0-9a-f]{40}\n")

_LOOSE = re.compile(rb"[0-9a-f]{40}\n")
_LOGGED = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\n]*\n")
_TAIL = 64 * 1024  # bytes of a log that hold its last entries: a subject is one line of at most 200 characters


def ref_damage(repository: Repository) -> list[Damage]:
    """Return what is wrong with the files of the archive branch, of the archive's own refs and of packed refs.

    Repositories that keep their refs in another form than files are not looked at.
    """
    if repository.config.get("extensions.refstorage", "files") != "files":
        return []
    files = [*_loose(repository), *_packed(repository)]
    problem = unread_refs(repository)
    if problem is not None:  # git tells of no ref then, and each would look like one that is gone
        return files if any(damage.path == PACKED for damage in files) else [*files, Damage(PACKED, problem)]
    return [*files, *_unlogged(repository), *_dangling(repository)]


def unread_refs(repository: Repository) -> str | None:
    """Return what git says where it cannot read packed refs; None where it can."""
    done = repository.git("for-each-ref", "--count=1", "--format=", ok=range(256))
    said = done.stderr.decode("utf-8", "replace").strip()
    return f"git cannot read it: {said.splitlines()[0]!a}" if done.returncode and PACKED in said else None


def _loose(repository: Repository) -> Iterator[Damage]:
    files = [path for path in (repository.common_dir / OWN).rglob("*") if path.suffix != ".lock"]
    for ref in (repository.ref, *sorted(path.relative_to(repository.common_dir).as_posix() for path in files)):
        content = _read(repository.common_dir / ref)
        if content is not None and not content.startswith(b"ref: ") and not _LOOSE.fullmatch(content):
            yield Damage(ref, "holds no commit id as git writes it")


def _packed(repository: Repository) -> Iterator[Damage]:
    content = _read(repository.common_dir / PACKED)
    if content is None:
        return
    lines = content.splitlines(keepends=True)
    if lines and lines[0].startswith(b"#") and lines[0] != HEADER:
        yield Damage(PACKED, "its first line is not as git writes it")
    names: list[bytes] = []
    for number, line in enumerate(lines, 1):
        found = PACKED_LINE.fullmatch(line)
        if found is None and not PEELED_LINE.fullmatch(line) and not (number == 1 and line.startswith(b"#")):
            yield Damage(PACKED, f"line {number} names no ref as git writes it")
        if found is not None:
            names.append(found[2])
    if names != sorted(set(names)):
        yield Damage(PACKED, "its refs are not in order")


def _unlogged(repository: Repository) -> Iterator[Damage]:
    """Compare branches with the last entries of their logs."""
    if repository.config.get("core.logallrefupdates", "true").lower() in ("false", "no", "off", "0"):
        return  # what moves a branch then may leave its log as it was
    known = branches(repository)
    logs = repository.common_dir / "logs"
    for ref in sorted({repository.ref, *_logged_branches(logs)}):
        logged = last_logged(repository, ref)
        if logged is None or (repository.ref != ref and ref in known):
            continue
        if ref not in known:
            yield Damage(ref, f"its log goes on to {logged[1]}, and there is no such branch")
        elif known[ref] not in logged:  # a writer that was killed may have noted a move that it did not make
            yield Damage(ref, f"is at {known[ref]}, and its log ends with {logged[1]}")


def _dangling(repository: Repository) -> Iterator[Damage]:
    """Yield refs that name no object that is here; the archive branch's own is told from its log as well."""
    told = repository.git("for-each-ref", "--format=%(objectname) %(refname)", ok=(0, 1, 128)).stdout
    listed = [line.partition(" ") for line in told.decode("utf-8", "surrogateescape").splitlines()]
    gone = set(lacking_here(repository, {name for name, _, _ in listed}))
    for name, _, ref in listed:
        if name in gone:
            yield Damage(ref, "names an object that is not here", name)


def lacking_here(repository: Repository, names: Iterable[str]) -> list[str]:
    """Return those of the objects that the repository does not have."""
    asked = "".join(f"{name}\n" for name in names).encode("ascii")
    told = repository.git("cat-file", "--batch-check", stdin=asked, ok=(0, 1, 128)).stdout.decode("ascii")
    return [line.split(" ")[0] for line in told.splitlines() if line.endswith(" missing")]


def logged_refs(repository: Repository) -> dict[str, str]:
    """Return what the logs of all refs end with, but of those that have a file of their own."""
    logs = repository.common_dir / "logs"
    refs = [path.relative_to(logs).as_posix() for path in (logs / "refs").rglob("*") if path.is_file()]
    last = {ref: last_logged(repository, ref) for ref in refs if not (repository.common_dir / ref).is_file()}
    return {ref: moved[1] for ref, moved in last.items() if moved is not None}


def _logged_branches(logs: Path) -> Iterator[str]:
    yield from (path.relative_to(logs).as_posix() for path in (logs / "refs/heads").rglob("*") if path.is_file())


def branches(repository: Repository) -> dict[str, str]:
    """Return the commit of each branch that git can read."""
    asked = ["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/"]
    told = repository.git(*asked, ok=(0, 1, 128)).stdout.decode("utf-8", "surrogateescape")
    return {ref: commit for commit, _, ref in (line.partition(" ") for line in told.splitlines())}


def last_logged(repository: Repository, ref: str) -> tuple[str, str] | None:
    """Return the last move of a ref that its log tells of, from and to; None where there is no log, or an empty one."""
    content = _read(repository.common_dir / "logs" / ref)
    entries = _LOGGED.findall(content[-_TAIL:]) if content else []
    return (entries[-1][0].decode(), entries[-1][1].decode()) if entries else None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
