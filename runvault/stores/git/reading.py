"""Reading the archive through the git programs: one process a question, no library to load for a listing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, cast

from runvault.errors import ConfigError, FormatError, RunvaultError
from runvault.model.source import FileChange, Introduced
from runvault.stores.git.advance import Advance, Read, UnusualError, read_advance
from runvault.stores.git.log import FORMAT, LogEntry, parse_log
from runvault.stores.git.programs import git_failure, start_git
from runvault.stores.git.repository import Repository

MANIFESTS = ":(glob)runs/*/*/manifest.json"

# What a user may have configured for `git log`, and what would change what it prints.
_PLAIN = ("-c", "log.showSignature=false", "-c", "log.follow=false", "-c", "diff.relative=false")

# Git, too, holds a file whole up to half a gigabyte unless told otherwise.
_STREAMING = ("-c", "core.bigFileThreshold=8m")

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# Ids on their way to `cat-file`: enough to keep it busy, too few to fill the pipe while its answers fill the other one.
_AHEAD = 256

# What is asked for next where a few files changed: records of runs, and the archive's switch. The process that tells
# the way reads them, too.
_RECORDS = ("/manifest.json", "/annotations.json", "runvault.json")
_FEW = 250
_SKIPPED_AT_ONCE = 1 << 20


class Reader:
    """Reads commits, trees and blobs of one repository; an `ArchiveSource`.

    Parameters
    ----------
    repository : Repository
        Where to read.
    limit_bytes : int, optional
        How large a file may be, before anything of it is held. Of a larger one come as many zeros as show that it is
        too large for anybody, and where a file is asked for by its path, an error.
    """

    def __init__(self, repository: Repository, limit_bytes: int | None = None) -> None:
        self._repository = repository
        self._limit = limit_bytes
        self._way: tuple[str, str, Advance | None] | None = None
        self._records: dict[str, bytes] = {}  # that came on this way

    def changed_files(self, old: str | None, new: str) -> Iterator[FileChange]:
        """Yield every file that differs between the trees of two commits, all files of `new` where `old` is None."""
        if old is None:
            with self._stream("ls-tree", "-r", "-z", "--full-tree", new) as entries:
                for entry in entries:
                    meta, _, path = entry.partition("\t")
                    yield path, meta[-40:]
            return
        way = self._advance(old, new)
        if way is not None:
            yield from way.changed_files()
            return
        with self._stream(
            "diff-tree", "-r", "-z", "--raw", "-O/dev/null", "--no-renames", "--no-abbrev", old, new
        ) as fields:
            for meta in fields:
                blob, status = meta.split(" ")[3:5]
                yield next(fields), None if status == "D" else blob

    def introduced(self, old: str | None, new: str, path: str = MANIFESTS) -> Iterator[Introduced]:
        """Yield what the commits in ``old..new`` brought to `path`, the manifests of runs unless told: oldest first.

        A merge brings a content where it differs from each of its parents (``-c``): what equals one came with that one.
        """
        way = self._advance(old, new) if old is not None and path == MANIFESTS else None
        if way is not None:
            yield from way.introduced()
            return
        args = ["--topo-order", "--reverse", "--full-history", "--no-renames", "--no-abbrev", "--root", "-c", "--raw"]
        span = [new] if old is None else [new, f"^{old}"]
        with self._stream(
            *_PLAIN, "log", "-z", "-O/dev/null", *args, "--format=%x01%H %ct", "--end-of-options", *span, "--", path
        ) as fields:
            commit, seconds = "", 0
            for text in fields:
                # `git log -z` puts its separators where it likes around the header; the mark \1 is what counts.
                head = text.lstrip("\n")
                if head.startswith("\x01"):
                    mark, _, head = head[1:].partition("\n")
                    commit, seconds = mark.split(" ")[0], int(mark.split(" ")[1])
                if head.startswith(":"):
                    blob = _new_blob(head)
                    changed = next(fields)
                    if blob is not None:
                        yield Introduced(commit, changed, blob, seconds)

    def read_blobs(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield ``(blob, content)`` for each id, in the order asked; an id that is not there is left out."""
        blobs, records = list(blobs), self._records
        if records and records.keys() >= set(blobs):
            yield from ((blob, records[blob]) for blob in blobs)
            return
        for name, kind, content in self._batch(blobs):
            if kind == "blob":
                yield name, content

    def read_commits(self, commits: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield ``(commit, content)`` of the commit objects that are there, in the order asked."""
        yield from ((name, content) for name, kind, content in self._batch(commits) if kind == "commit")

    def _advance(self, old: str, new: str) -> Advance | None:
        """Return the way from `old` to `new` where it is short and straight, asked of git once."""
        if self._way is None or self._way[:2] != (old, new):
            self._way = (old, new, self._read_advance(old, new))
        return self._way[2]

    def _read_advance(self, old: str, new: str) -> Advance | None:
        self._records = {}
        try:
            with self._conversation() as read:
                way = read_advance(read, old, new)
                if way.size <= _FEW:
                    records = [blob for path, blob in way.changed_files() if blob and path.endswith(_RECORDS)]
                    self._records = {name: data for name, (kind, data) in read(records).items() if kind == "blob"}
                return way
        except (UnusualError, RunvaultError):
            return None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Return whether `old` is `new` or reachable from it; False for a commit that is not there."""
        if self._advance(old, new) is not None:
            return True
        done = self._repository.git("merge-base", "--is-ancestor", "--end-of-options", old, new, ok=(0, 1, 128))
        return done.returncode == 0

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Return the file at `path` in a commit, None where there is none."""
        return self.read_files(commit, [path]).get(path)

    def read_files(self, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
        """Return those of the files at `paths` that a commit has, with one process."""
        asked = {f"{commit}:{path}": path for path in paths}
        return {
            asked[name]: self._within(asked[name], content)
            for name, kind, content in self._batch(asked)
            if kind == "blob"
        }

    def list_files(self, commit: str, folder: str) -> list[str]:
        """Return the paths of all files below a folder of a commit; none where there is no such folder."""
        listed = self._repository.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", f"{folder}/")
        return listed.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def read_run(self, commit: str, run_path: str) -> dict[str, bytes]:
        """Return the files in the folder of one run by name; an empty dict where there is no such run."""
        listed = self._repository.git("ls-tree", "-z", f"{commit}:{run_path}", ok=(0, 128)).stdout.decode(
            "utf-8", "surrogateescape"
        )
        entries = [entry.split("\t", 1) for entry in listed.split("\0")[:-1]]
        names = {name: meta.split(" ")[2] for meta, name in entries if meta.split(" ")[1] == "blob"}
        contents = dict(self.read_blobs(names.values()))
        return {name: self._within(name, contents[blob]) for name, blob in names.items() if blob in contents}

    def _within(self, path: str, content: bytes) -> bytes:
        if self._limit is not None and len(content) > self._limit:
            raise FormatError(f"{path!a} has more than {self._limit:,} bytes")
        return content

    def last_commit_with(self, tip: str, path: str) -> str:
        """Return `tip` where it has `path`, else the newest commit before it that had; `tip` where none had."""
        if self.blob_of(tip, path) is not None:
            return tip
        for merges in ((), ("-m",)):  # a merge alone may have left it out; mostly it only follows one of its sides
            args = ["-1", "--full-history", *merges, "--diff-filter=D", "--no-renames", "--format=%P", tip, "--", path]
            gone = self._repository.git(*_PLAIN, "log", *args).stdout.decode("ascii").split()
            had = [parent for parent in gone if self.blob_of(parent, path) is not None]
            if had:
                return had[0]
        return tip

    def blob_of(self, commit: str, path: str) -> str | None:
        """Return the id of what is at `path` in a commit, None where there is nothing."""
        return self._resolve(f"{commit}:{path}")

    def is_same(self, one: str, other: str, path: str) -> bool:
        """Return whether two commits have the same at `path`, or both nothing; False for a commit that is not there."""
        args = ["diff-tree", "--quiet", "-r", "-O/dev/null", "--no-renames", "--end-of-options", one, other]
        return self._repository.git(*_PLAIN, *args, "--", f":(literal){path}", ok=(0, 1, 128)).returncode == 0

    def resolve_commit(self, text: str) -> str | None:
        """Return the commit that `text` names, None where it names none or several."""
        return self._resolve(f"{text}^{{commit}}")

    def require_commit(self, text: str) -> str:
        """Return the commit that `text`, which somebody said, names; ConfigError where it names none or several."""
        commit = self.resolve_commit(text)
        if commit is None:
            hint = "name a branch, a remote branch or a commit; what is elsewhere has to be fetched first: 'git fetch'"
            raise ConfigError(f"there is no commit {text!a} in this clone", hint)
        return commit

    def _resolve(self, text: str) -> str | None:
        args = ["rev-parse", "--verify", "--quiet", "--end-of-options", text]
        done = self._repository.git(*args, ok=(0, 1, 128)) if "\0" not in text else None
        found = done.stdout.decode("ascii").strip() if done and not done.returncode else ""
        return found if _OBJECT.fullmatch(found) else None  # `^main` names what is left out, with a caret

    def log(self, tip: str, limit: int | None = None, path: str | None = None) -> Iterator[LogEntry]:
        """Yield the commits behind `tip`, newest first; with `path`, those that changed something there."""
        args = ["-z", "--topo-order", "--full-history", f"--format={FORMAT}"]
        if limit is not None:
            args.append(f"--max-count={limit}")
        places = [f":(literal){path}"] if path is not None else []
        with self._stream(*_PLAIN, "log", *args, "--end-of-options", tip, "--", *places) as fields:
            yield from parse_log(fields)

    def diff_stat(self, old: str, new: str) -> str | None:
        """Return ``git diff --stat`` between two commits of the user's code, None where one of them is not here."""
        if not (_COMMIT.fullmatch(old) and _COMMIT.fullmatch(new)):
            return None
        from git import Git, GitCommandError  # a tenth of a second: only where the code of two runs differs

        args = ["--stat=100", "--no-color", "--no-ext-diff", "--no-textconv", "-O/dev/null"]
        try:
            with (program := Git(self._repository.common_dir)).custom_environment(LC_ALL="C"):
                return str(program.diff(*args, "--end-of-options", old, new, "--"))
        except GitCommandError:
            return None

    def _batch(self, names: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
        """Yield ``(name, type, content)`` of the objects that are there."""
        waiting = iter(names)
        with self._process(*_STREAMING, "cat-file", "--batch") as process:
            questions, answers = _pipes(process)
            asked = _ask(questions, waiting)
            while asked:
                following = _ask(questions, waiting)
                yield from _answered(answers, asked, self._limit)
                asked = following
            questions.close()

    @contextmanager
    def _conversation(self) -> Iterator[Read]:
        """Give what reads objects by id: the library where this process has it loaded to save, else one program."""
        if "pygit2" in sys.modules:
            from runvault.stores.git.objects import object_reader

            yield object_reader(self._repository.common_dir, self._limit)
            return
        with self._process(*_STREAMING, "cat-file", "--batch") as process:
            questions, answers = _pipes(process)

            def read(names: Iterable[str]) -> dict[str, tuple[str, bytes]]:
                waiting, found = iter(names), dict[str, tuple[str, bytes]]()
                while asked := _ask(questions, waiting):
                    answered = _answered(answers, asked, self._limit)
                    found.update((name, (kind, content)) for name, kind, content in answered)
                return found

            yield read
            questions.close()

    @contextmanager
    def _stream(self, *args: str) -> Iterator[Iterator[str]]:
        """Run git and give the NUL-ended fields of its output as they come."""
        with self._process(*args) as process:
            questions, answers = _pipes(process)
            questions.close()
            yield _fields(answers)

    @contextmanager
    def _process(self, *args: str) -> Iterator[subprocess.Popen[bytes]]:
        repository = self._repository
        place = [f"--git-dir={repository.common_dir}", "--no-replace-objects"]
        with start_git([*place, *args], cwd=repository.common_dir, answers=True) as process:
            try:
                yield process
            except (ValueError, OSError) as error:
                # An answer cut short: git says why on its way out.
                raise git_failure(args, process.wait(), _said(process)) from error
            said = _said(process)
            if process.wait():
                raise git_failure(args, process.returncode, said)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    return cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)


def _said(process: subprocess.Popen[bytes]) -> bytes:
    return cast(IO[bytes], process.stderr).read()


def _ask(questions: IO[bytes], names: Iterator[str]) -> list[str]:
    """Send the next names; a name with a newline would be two questions, and no object has one."""
    asked = [name for name in islice(names, _AHEAD) if "\n" not in name]
    questions.write("".join(f"{name}\n" for name in asked).encode("utf-8", "surrogateescape"))
    questions.flush()
    return asked


def _answered(answers: IO[bytes], asked: Iterable[str], limit: int | None) -> Iterator[tuple[str, str, bytes]]:
    """Yield ``(name, type, content)`` of those asked for that are there; zeros for a file beyond `limit`."""
    for name in asked:
        head = answers.readline()
        if not head.endswith((b" missing\n", b" ambiguous\n")):
            _, kind, size = head.split(b" ")
            if limit is not None and kind == b"blob" and int(size) > limit:
                _skip(answers, int(size) + 1)
                yield name, "blob", bytes(limit + 1)
            else:
                yield name, kind.decode("ascii", "replace"), answers.read(int(size) + 1)[:-1]


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0 and (some := stream.read(min(size, _SKIPPED_AT_ONCE))):
        size -= len(some)


def _fields(stream: IO[bytes]) -> Iterator[str]:
    """Yield NUL-ended fields as text, reading a block at a time."""
    rest = b""
    while block := stream.read1(1 << 16):  # type: ignore[attr-defined]
        whole, end, rest = (rest + block).rpartition(b"\0")
        if end:
            yield from whole.decode("utf-8", "surrogateescape").split("\0")
    if rest:
        yield rest.decode("utf-8", "surrogateescape")


def _new_blob(raw: str) -> str | None:
    """Return the id that a raw diff line gives a file, None where the file is gone.

    A line has one colon a parent, as many old modes and ids, then the new ones and a letter a parent.

    Examples
    --------
    >>> _new_blob(":000000 100644 0000 1a2b A"), _new_blob("::100644 100644 100644 1a 2b 3c MM")
    ('1a2b', '3c')
    >>> _new_blob(":100644 000000 1a2b 0000 D") is None
    True
    """
    parents = len(raw) - len(raw.lstrip(":"))
    words = raw.lstrip(":").split(" ")
    blob = words[2 * parents + 1]
    return blob if blob.strip("0") else None
