"""Signed commits where the user's configuration asks for them."""

from __future__ import annotations

from runvault.stores.git.repository import Repository


def signs_commits(repository: Repository) -> bool:
    """Return whether ``commit.gpgsign`` is set."""
    return repository.flag("commit.gpgsign")


def sign_commit(repository: Repository, content: bytes) -> bytes:
    """Return a commit object signed as git would sign it: OpenPGP, X.509 or SSH, with the user's own program.

    Git makes the signed commit, so every setting it knows is honoured; its content is then written like any other
    object, because git does not sync the folder of a loose object.
    """
    head, message = content.split(b"\n\n", 1)
    fields = [line.split(b" ", 1) for line in head.split(b"\n")]
    who: dict[str, str] = {}
    for role, value in fields:
        if role in (b"author", b"committer"):
            name, rest = value.decode().split(" <", 1)
            email, when = rest.split("> ", 1)
            upper = role.decode().upper()
            who |= {f"GIT_{upper}_NAME": name, f"GIT_{upper}_EMAIL": email, f"GIT_{upper}_DATE": when}
    tree = next(value.decode() for role, value in fields if role == b"tree")
    parents = [word for role, value in fields if role == b"parent" for word in ("-p", value.decode())]
    done = repository.git("commit-tree", "-S", *parents, tree, stdin=message, extra=who)
    return repository.git("cat-file", "commit", done.stdout.decode("ascii").strip()).stdout
