"""Whether the catalog says what the archive says.

As a program, it looks on behalf of a verification, which looks at the runs meanwhile. Its start is part of that:
nothing is imported that reads tables, or the typed records.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runvault.archive.gate import Gate
from runvault.errors import RunvaultError
from runvault.model.records import MAX_FILE_BYTES
from runvault.stores.catalog.compare import catalog_problem, scratch_folder
from runvault.stores.git.reading import Reader
from runvault.stores.git.repository import Repository
from runvault.stores.processes import end_with_caller, started


class Verdict(NamedTuple):
    """How the catalog differs from one that is made now, None where it does not; or why they cannot be compared."""

    problem: str | None
    failure: str | None = None
    hint: str | None = None


@contextmanager
def comparison(repository: Repository, tip: str, *, apart: bool) -> Iterator[Callable[[], Verdict]]:
    """Give what tells the verdict on a repository's catalog.

    Parameters
    ----------
    tip : str
        The commit that the catalog is compared at.
    apart : bool
        Let a process of its own compare, from now on, while other things are looked at; what is given waits for it,
        and raises RunvaultError where it did not do its work.
    """
    path = catalog_path(repository)
    if not apart or not path.exists():
        yield lambda: _verdict(repository, tip)
        return
    with scratch_folder() as folder:  # emptied here, for the process may be ended in the middle
        args = [str(repository.common_dir), repository.ref, repository.object_format, tip, str(folder)]
        with started("compares the catalog", __name__, *args) as child:
            yield lambda: Verdict(*next(child.answers()))


def catalog_path(repository: Repository) -> Path:
    """Return where a repository's catalog is, or would be."""
    return repository.state_dir / "catalog.db"


def _verdict(repository: Repository, tip: str, folder: Path | None = None) -> Verdict:
    source = Gate(Reader(repository, MAX_FILE_BYTES))
    try:
        return Verdict(catalog_problem(catalog_path(repository), source, repository.ref, tip, folder))
    except RunvaultError as error:
        return Verdict(None, error.message, error.hint)


def main(common_dir: str, ref: str, object_format: str, tip: str, folder: str) -> None:
    """Print the verdict on a catalog, having worked in `folder`."""
    git = Path(common_dir)  # nothing is asked of a checkout
    repository = Repository(git, git, git, None, ref, object_format, tip)
    print(json.dumps(_verdict(repository, tip, Path(folder))))


if __name__ == "__main__":
    end_with_caller()
    main(*sys.argv[1:])
