"""The search through a history that `git bisect` makes, without its state and its checkouts: git chooses, we decide."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isqrt

from runvault.stores.git.repository import Repository

_PRN_MODULO = 32768


def is_before(repository: Repository, good: str, bad: str) -> bool:
    """Return whether commit `good` is an ancestor of commit `bad`, or the same."""
    return repository.git("merge-base", "--is-ancestor", good, bad, ok=(0, 1)).returncode == 0


def candidates(repository: Repository, good: Sequence[str], bad: str) -> list[str]:
    """Return the commits behind `bad` that are behind none of `good`, those that halve the range best first.

    `bad` itself is one of them; alone, it is the first bad commit.
    """
    args = ["rev-list", "--bisect-all", bad, *(f"^{commit}" for commit in good)]
    lines = repository.git(*args).stdout.decode("utf-8", "replace").splitlines()
    return [line.split(" ")[0] for line in lines]


def choose(ordered: Sequence[str], bad: str, skipped: Collection[str]) -> str | None:
    """Return the commit to test next, None where none is left but `bad` and those skipped.

    Where the best commit was skipped, its neighbours are likely to fail for the same reason: as git does
    (``skip_away`` in its bisect.c), go on at a place further away, chosen by a number that looks random and is not.
    """
    left = [commit for commit in ordered if commit not in skipped and commit != bad]
    if not left or ordered[0] not in skipped:
        return left[0] if left else None
    number = (len(left) * 1103515245 + 12345) % 2**32 // 65536 % _PRN_MODULO
    place = len(left) * number // _PRN_MODULO * isqrt(number) // isqrt(_PRN_MODULO)
    return left[min(place, len(left) - 1)]
