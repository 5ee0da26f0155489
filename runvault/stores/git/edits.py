"""What a writer is given: who, what, when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True)
class Signature:
    """Who makes a commit.

    Parameters
    ----------
    name, email : str
        As git writes them.
    fallback : bool
        Git has no identity here and this one stands in; worth a notice to the user.
    """

    name: str
    email: str
    fallback: bool = False


@dataclass(frozen=True)
class Known:
    """A file or a folder that the repository has as an object already: a merge takes whole runs by their trees.

    Parameters
    ----------
    object_id : str
        The blob's or the tree's.
    folder : bool
        Whether it is a tree.
    """

    object_id: str
    folder: bool = False


Content: TypeAlias = bytes | Known | None


@dataclass(frozen=True)
class Edit:
    """One commit to be.

    Parameters
    ----------
    files : iterable of (path, content)
        Paths from the root of the archive, with ``/``. None as the content removes the file or folder; folders that
        become empty go too. Iterated again when the branch has moved in between, so never a bare generator. An edit
        in bulk knows bytes and None alone.
    message : str
        The whole commit message.
    author : Signature
        Author and committer.
    time : datetime
        With a time zone. Never earlier than the parent commit's: the writer sees to that.
    bulk : bool
        Thousands of files: their objects are made by ``git fast-import`` as one pack.
    signed : bool
        Sign where the user's configuration asks for it.
    merged : str or None
        A commit that becomes the second parent.
    """

    files: Iterable[tuple[str, Content]]
    message: str
    author: Signature
    time: datetime
    bulk: bool = False
    signed: bool = True
    merged: str | None = None


@dataclass(frozen=True)
class FastForward:
    """Moving the branch to a commit that is there already and has the tip behind it."""

    commit: str
    author: Signature
