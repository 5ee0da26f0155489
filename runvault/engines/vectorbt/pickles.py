"""The only place that reads a pickle: a user's own file, on the user's word. Loading a pickle runs code from it.

It writes them, too. vectorbt pickles with dill, which is written in Python and ten times as slow as the pickler of the
standard library. That one does where a portfolio is made of libraries' objects alone; any other is left to vectorbt.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - this is the one place
import sys
from typing import Any

from runvault.errors import FormatError

_HINT = "save a file that pf.save() or runvault wrote with these versions of vectorbt and pandas"
_RECIPE = "1"  # the major version of vectorbt whose `dumps` `_dumps` follows

# Whoever loads a portfolio can import these. What is defined elsewhere (in a notebook, beside a script) pickle writes
# as a name that they may not have, where dill may write the thing itself.
_LIBRARIES = sys.stdlib_module_names | {"dateutil", "numpy", "pandas", "pyarrow", "pytz", "vectorbt"}


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
    """Return a portfolio as bytes that `Portfolio.load` reads like those that `Portfolio.save` writes.

    Raises
    ------
    FormatError
        The portfolio holds what cannot be pickled.
    """
    import vectorbt

    if vectorbt.__version__.partition(".")[0] == _RECIPE:
        try:
            return _dumps(pf)
        except Exception:  # noqa: S110 - what pickle cannot write dill may, and says why where it cannot
            pass
    try:
        return bytes(pf.dumps())
    except Exception as error:  # parts of a portfolio can be anybody's objects
        raise FormatError(f"this portfolio cannot be pickled: {_reason(error)}") from error


def _dumps(configured: Any) -> bytes:
    """Return what `dumps` of vectorbt returns, step by step, written by the standard library's pickler.

    Each part that has a `dumps` of its own becomes bytes in the bytes of the whole, as its `loads` expects.
    """
    from vectorbt.utils.config import Config, Configured, DumpTuple, Pickleable, PickleableDict

    method = type(configured).dumps
    if method is Configured.dumps:
        written = PickleableDict({name: getattr(configured, name) for name in configured.writeable_attrs})
        return _pickled((_dumps(configured.config), _dumps(written)))
    if method is Config.dumps:
        names = (
            "copy_kwargs",
            "reset_dct_copy_kwargs",
            "frozen_keys",
            "readonly",
            "nested",
            "convert_dicts",
            "as_attrs",
        )
        own, reset = _dumps(PickleableDict(configured)), _dumps(PickleableDict(configured.reset_dct_))
        return _pickled({"dct": own, "reset_dct": reset, **{name: getattr(configured, f"{name}_") for name in names}})
    if method is PickleableDict.dumps:
        parts = configured.items()
        return _pickled({k: DumpTuple(type(v), _dumps(v)) if isinstance(v, Pickleable) else v for k, v in parts})
    raise pickle.PicklingError(f"{type(configured).__name__} has a way of its own")


def _pickled(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, pickle.DEFAULT_PROTOCOL).dump(value)
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """The standard library's, for objects of libraries."""

    def reducer_override(self, obj: Any) -> Any:
        """Refuse what is defined elsewhere."""
        module = getattr(obj, "__module__", None) or type(obj).__module__
        if str(module).partition(".")[0] not in _LIBRARIES:
            raise pickle.PicklingError(f"{module} may not be there to load it")
        return NotImplemented


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
