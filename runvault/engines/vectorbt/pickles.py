"""The only place that reads a pickle: a user's own file, on the user's word. Loading a pickle runs code from it."""

from __future__ import annotations

from typing import Any

from runvault.errors import FormatError

_HINT = "save a file that pf.save() or runvault wrote with these versions of vectorbt and pandas"


def load_pickle(data: bytes) -> Any:
    """Return the `vectorbt.Portfolio` in a pickle that its user vouches for.

    Parameters
    ----------
    data : bytes
        The content of a file that `Portfolio.save` wrote. Whoever made it can make it run anything: no archived file
        is ever given to this function without the user's explicit word.

    Raises
    ------
    FormatError
        The bytes are no pickle, are cut short, need what is not installed, or hold something else than a portfolio.
    """
    from vectorbt import Portfolio

    try:
        loaded = _loads(data)
    except Exception as error:  # a pickle can raise anything while it is read
        raise FormatError(f"this pickle cannot be read: {_reason(error)}", hint=_HINT) from error
    if not isinstance(loaded, Portfolio):
        raise FormatError(f"this pickle holds a {type(loaded).__name__}, not a vectorbt.Portfolio", hint=_HINT)
    return loaded


def dump_pickle(pf: Any) -> bytes:
    """Return a portfolio as the bytes that `Portfolio.save` writes; read back, they make an equal one.

    Raises
    ------
    FormatError
        The portfolio holds what cannot be pickled.
    """
    try:
        return bytes(pf.dumps())
    except Exception as error:  # parts of a portfolio can be anybody's objects
        raise FormatError(f"this portfolio cannot be pickled: {_reason(error)}") from error


def _loads(data: bytes) -> Any:
    """Unpickle as vectorbt does, but for any object: what is no portfolio is to be named, not to fail halfway."""
    import dill  # type: ignore[import-untyped]  # noqa: TID251 - this is the one place
    from vectorbt import Portfolio

    outer = dill.loads(data)  # noqa: S301 - the user's own file, on the user's word
    return Portfolio.loads(data) if _is_dump(outer) else outer


def _is_dump(outer: Any) -> bool:
    """Tell whether this is the pair of dumps that vectorbt writes for all its configured objects."""
    return isinstance(outer, tuple) and len(outer) == 2 and all(isinstance(part, bytes) for part in outer)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:200].rstrip(",")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
