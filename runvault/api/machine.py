"""What the machine says of a run: the time, the author, the code that is checked out, Python and its packages."""

from __future__ import annotations

import functools
import platform
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.archive.request import Provenance

if TYPE_CHECKING:
    from runvault.archive.stores import Stores
    from runvault.stores.git.repository import Repository

Json: TypeAlias = Any

# Distributions whose version can change the numbers of a backtest, by the module that shows they are in use.
NUMERIC_PACKAGES = {
    "bottleneck": "bottleneck",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "polars",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "statsmodels": "statsmodels",
    "ta": "ta",
    "talib": "ta-lib",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "xgboost": "xgboost",
}


_SECOND = timedelta(seconds=1)
_MOMENT = timedelta(microseconds=1)
_told: list[datetime] = []  # the time that was told last


def now() -> datetime:
    """Return the time, in UTC; behind the one before where the clock went back by less than a second.

    Commits count in seconds, so that the archive itself does not notice. By more it may have been set right.
    """
    moment = datetime.now(UTC)
    if _told and moment <= _told[0] < moment + _SECOND:
        moment = _told[0] + _MOMENT
    _told[:] = [moment]
    return moment


def provenance(stores: Stores) -> Provenance:
    """Return who writes, when and in which environment; for what is saved others add the code that made it."""
    identity = stores.repository.identity()
    return Provenance(now(), identity.name, identity.email, environment())


def provenance_here(stores: Stores) -> Provenance:
    """Return `provenance` with the code as it is checked out, for a result that the caller has."""
    return replace(provenance(stores), code=code_state(stores.code))


def installed(stores: Stores) -> Provenance:
    """Return `provenance` with the numeric packages that a process started now would find, imported here or not.

    What a replay in a process of its own is made in; it does not depend on what this process has done before.
    """
    found = provenance(stores)
    return replace(found, environment={**_interpreter(), "packages": dict(_installed())})


@functools.cache
def _installed() -> dict[str, str]:
    import importlib.metadata

    versions = {}
    for package in sorted({*NUMERIC_PACKAGES.values(), "runvault", "vectorbt"}):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def environment() -> dict[str, Json]:
    """Return Python, platform, and the versions of the numeric packages this process has imported."""
    loaded = frozenset(name for name in NUMERIC_PACKAGES if name in sys.modules)
    return {**_interpreter(), "packages": dict(_versions(loaded))}


@functools.cache
def _interpreter() -> dict[str, str]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


@functools.cache
def _versions(modules: frozenset[str]) -> dict[str, str]:
    """Return the versions of the distributions behind `modules`; looked up once for each set of imports."""
    import importlib.metadata  # 12 ms, which no listing should wait for

    versions = {}
    for module in sorted(modules):
        try:
            versions[NUMERIC_PACKAGES[module]] = importlib.metadata.version(NUMERIC_PACKAGES[module])
        except importlib.metadata.PackageNotFoundError:
            versions[NUMERIC_PACKAGES[module]] = str(getattr(sys.modules[module], "__version__", "unknown"))
    return versions


def code_state(repository: Repository) -> dict[str, Json]:
    """Return the manifest's `code`: HEAD, its branch, and whether the working tree differs from it.

    Asked of git once per process and HEAD: a status of a large repository takes longer than a save.
    """
    return dict(_code_state(repository, repository.head()))


@functools.lru_cache(maxsize=64)
def _code_state(repository: Repository, head: str | None) -> dict[str, Json]:
    from runvault.stores.git.code import code_of

    return {**code_of(repository, head)}
