"""Making the archive branch, and refusing the repositories that cannot be written safely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from runvault.errors import RunvaultError
from runvault.stores.git.checkout import checkouts_of, refuse_dirty
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.git.layout import FORMAT, STATIC_FILES
from runvault.stores.git.lock import write_lock
from runvault.stores.git.objects import Tip, open_repository
from runvault.stores.git.repository import NO_OBJECT, Repository
from runvault.stores.git.writing import TIMEOUT_S, Writer

# The first commit of every archive is the same object everywhere: archives made apart share it, and so they merge.
FIRST_COMMIT = "5a2a8e697e3220054b4568528d1e11ccc3616ddf"

_FIRST = Edit(
    files=tuple(STATIC_FILES.items()),
    message=f"runvault archive, format {FORMAT}",
    author=Signature("runvault", "runvault@localhost"),
    time=datetime(1970, 1, 1, tzinfo=UTC),
    signed=False,
)


def init_archive(repository: Repository, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Make the archive branch where there is none.

    Returns
    -------
    bool
        Whether it was made; False where the archive exists already.

    Raises
    ------
    RunvaultError
        The repository cannot be written safely (see `check_writable`), or a branch of this name holds something else.
    BusyError
        Another process held the repository for `timeout_s` seconds.
    """
    check_writable(repository)

    def plan(tip: Tip) -> Edit | None:
        if tip.commit is None:
            return _FIRST
        if not tip.exists("runvault.json"):
            raise RunvaultError(
                f"branch {repository.branch!r} exists and holds no archive",
                "choose another name with --branch or 'git config runvault.branch NAME'",
            )
        return None

    return Writer(repository).create(plan, timeout_s=timeout_s) is not None


@contextmanager
def archive_to_fill(repository: Repository) -> Iterator[None]:
    """Make the archive branch where there is none, and take it back where what should fill it fails.

    An empty archive that stayed would hide the reason: it lists no runs, and looks as if all were well.
    """
    made = repository.tip() is None and init_archive(repository)
    try:
        yield
    except BaseException:
        if made:
            with write_lock(repository.state_dir, TIMEOUT_S):  # as it was made: somebody may have saved into it
                repository.git("update-ref", "-d", repository.ref, FIRST_COMMIT, ok=range(256))
        raise


def follow_remote(repository: Repository) -> bool:
    """Make the archive branch where a remote has it, if exactly one is known to; return whether it was made.

    Raises
    ------
    RunvaultError
        The repository cannot be written safely (see `check_writable`).
    """
    if repository.tip() is not None:
        return False
    check_writable(repository)
    pattern = f"refs/remotes/*/{repository.branch}"
    found = repository.git("for-each-ref", "--format=%(objectname)", pattern).stdout.decode("ascii").split()
    if len(found) != 1 or repository.git("cat-file", "-e", f"{found[0]}:runvault.json", ok=(0, 1, 128)).returncode:
        return False
    durable = ("-c", "core.fsync=committed,reference", "-c", "core.fsyncMethod=fsync")
    repository.git(*durable, "update-ref", "--create-reflog", repository.ref, found[0], NO_OBJECT)
    return True


def check_writable(repository: Repository) -> None:
    """Raise what would make a save fail, before anybody has waited hours for the result to be saved.

    Raises
    ------
    RunvaultError
        Objects or refs are in a form that libgit2 cannot write, the repository cannot be opened, or the archive branch
        itself is checked out with changes.
    """
    _refuse_unsupported(repository)
    open_repository(repository.common_dir)
    for checkout in checkouts_of(repository):
        refuse_dirty(checkout)


def _refuse_unsupported(repository: Repository) -> None:
    where, config = str(repository.common_dir), repository.config
    if repository.object_format != "sha1":
        hint = "make one with 'git init --object-format=sha1'"
        raise RunvaultError(f"the repository at {where!r} uses {repository.object_format} object ids", hint)
    if config.get("extensions.refstorage", "files") != "files":
        hint = "run 'git refs migrate --ref-format=files'"
        raise RunvaultError(f"the repository at {where!r} keeps its refs as a {config['extensions.refstorage']}", hint)
    promised = [key for key in config if key.startswith("remote.") and key.endswith(".promisor")]
    if "extensions.partialclone" in config or any(repository.flag(key) for key in promised):
        hint = "clone it again without --filter"
        raise RunvaultError(f"the repository at {where!r} is a partial clone: objects are missing by design", hint)
