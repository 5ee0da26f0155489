"""The DVC remotes that an archive names to all who have it, in the ``.dvc/config`` of its branch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runvault.archive.request import Provenance
from runvault.archive.stores import DVC_CONFIG, Stores
from runvault.errors import ConfigError
from runvault.model.canonical import check_text
from runvault.stores.dvc.remotes import SharedRemotes, configured_remotes, shared_remotes
from runvault.stores.git.edits import Edit, Signature
from runvault.stores.git.remotes import remotes_of
from runvault.stores.git.secrets import holds_credential, secret_in_address

if TYPE_CHECKING:
    from runvault.stores.git.objects import Tip


@dataclass(frozen=True)
class NamedRemote:
    """A remote that push and pull may use.

    Parameters
    ----------
    name, url : str
        As it is configured, without the password or token that an address may hold: listings end in logs.
    kind : str
        ``git`` for the branch and the code, ``dvc`` for the objects.
    default : bool
        Whether it is used where none is named.
    """

    name: str
    url: str
    kind: str
    default: bool


def list_remotes(stores: Stores, git_default: str) -> list[NamedRemote]:
    """Return the Git remotes of the repository, and the DVC remotes that the checkout and the archive name.

    None is opened: one that cannot be used is among them as well.
    """
    config = stores.repository.config
    git = ((name, config[f"remote.{name}.url"]) for name in remotes_of(stores.repository))
    content = stores.reader.read_file(stores.require_tip(), DVC_CONFIG) or b""
    dvc = configured_remotes(stores.objects.dvc_folder, content)
    return [
        *(NamedRemote(name, secret_in_address(url)[1], "git", name == git_default) for name, url in git),
        *(NamedRemote(name, secret_in_address(url)[1], "dvc", name == dvc.default) for name, url in dvc.urls.items()),
    ]


def check_remote(name: str, url: str) -> None:
    """Raise ConfigError where a DVC remote cannot have this name or address."""
    for what, text in (("the remote's name", name), ("the remote's address", url)):
        check_text(text, what)
        if not text.strip() or text.startswith("-") or any(mark in text for mark in "\"'\n#"):
            raise ConfigError(f"{what} cannot be {text!a}")
    _refuse_password(name, url)


def _refuse_password(name: str, url: str) -> None:
    """Raise ConfigError where an address holds a password or a token, which all would get who have the archive."""
    secret, without = secret_in_address(url)
    if secret is not None:
        option = {"token": "user TOKEN", "password": "password PASSWORD"}.get(secret, "url URL")
        raise ConfigError(
            f"the address of the remote {name!a} holds a {secret}, and all who have the archive would read it",
            f"name it as {without}; the {secret} goes into your .dvc/config.local: 'dvc remote add --local {name} "
            f"{without}', then 'dvc remote modify --local {name} {option}'",
        )
    if holds_credential(url.encode()):
        raise ConfigError(
            f"the address of the remote {name!a} holds a token, and all who have the archive would read it",
            "name it without; the token goes into your .dvc/config.local",
        )


@dataclass(frozen=True)
class Named:
    """What an archive names now: the address as it is stored, and the one that it took the place of, if any."""

    url: str
    before: str | None


def add_remote(stores: Stores, name: str, url: str, provenance: Provenance) -> Named:
    """Name a DVC remote in the archive; the first one is the default.

    Raises
    ------
    ConfigError
        The name or the address cannot be one, or the address holds a password or a token.
    """
    check_remote(name, url)
    before: str | None = None
    address = url if "://" in url else Path(url).expanduser().absolute().as_posix()

    def change(remotes: SharedRemotes) -> SharedRemotes:
        nonlocal before
        spelt = next((each for each in remotes.urls if each.lower() == name.lower()), name)  # one to DVC
        before = remotes.urls.get(spelt)
        urls = {name if each == spelt else each: url for each, url in remotes.urls.items()} | {name: address}
        return SharedRemotes(urls, name if remotes.default in (None, spelt) else remotes.default)

    _change(stores, change, f"Add remote {name}", provenance)
    return Named(address, before if before != address else None)


def remove_remote(stores: Stores, name: str, provenance: Provenance) -> None:
    """Take a DVC remote out of the archive; what it holds stays there.

    Raises
    ------
    ConfigError
        The archive names no such remote.
    """

    def change(remotes: SharedRemotes) -> SharedRemotes:
        if name not in remotes.urls:
            known = ", ".join(remotes.urls) or "none"
            raise ConfigError(f"the archive names no remote {name!a}", f"it names {known}")
        urls = {each: url for each, url in remotes.urls.items() if each != name}
        default = next(iter(urls), None) if remotes.default == name else remotes.default
        return replace(remotes, urls=urls, default=default)

    _change(stores, change, f"Remove remote {name}", provenance)


def _change(
    stores: Stores, change: Callable[[SharedRemotes], SharedRemotes], subject: str, provenance: Provenance
) -> None:
    def plan(tip: Tip) -> Edit | None:
        content = tip.read(DVC_CONFIG) or b""
        changed = change(shared_remotes(content)).to_bytes()
        if changed == content:
            return None
        author = Signature(provenance.author_name, provenance.author_email)
        return Edit(((DVC_CONFIG, changed),), f"{subject}\n\nKind: remote\n", author, provenance.now)

    stores.update(plan)
