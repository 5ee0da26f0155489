"""Objects out of a repository that may be damaged: each is compared with its name, and none hides another.

Through the git programs, one question at a time: libgit2 maps packs and indexes into this process and believes what
they say of themselves, so that a flipped bit in an index can end it (seen with libgit2 1.9 as a segmentation fault).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, NamedTuple, cast

from runvault.stores.git.programs import start_git
from runvault.stores.git.repository import Repository


class Sounded(NamedTuple):
    """An object that is what its name says."""

    name: str
    kind: str
    content: bytes


def sound_objects(repository: Repository, names: Iterable[str]) -> Iterator[Sounded]:
    """Yield those of the objects that are there and whole, in the order asked."""
    waiting = list(dict.fromkeys(names))
    place = 0
    while place < len(waiting):
        args = [f"--git-dir={repository.common_dir}", "--no-replace-objects", "cat-file", "--batch"]
        with suppress(OSError, ValueError), start_git(args, cwd=repository.common_dir, answers=True) as process:
            questions, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
            while place < len(waiting):
                name = waiting[place]
                place += 1  # where git ends over this one, the next process goes on behind it
                questions.write(f"{name}\n".encode())
                questions.flush()
                found = _answer(answers, name)
                if found is not None and named(found.kind, found.content) == name:
                    yield found


def _answer(answers: IO[bytes], name: str) -> Sounded | None:
    """Return git's answer, None for an object that is not there; ValueError where git has ended."""
    head = answers.readline()
    if head.endswith((b" missing\n", b" ambiguous\n")):
        return None
    _, kind, size = head.split(b" ")
    content = answers.read(int(size) + 1)
    if len(content) != int(size) + 1:
        raise ValueError(name)
    return Sounded(name, kind.decode("ascii", "replace"), content[:-1])


def named(kind: str, content: bytes) -> str:
    """Return the name of an object.

    Examples
    --------
    >>> named("blob", b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
