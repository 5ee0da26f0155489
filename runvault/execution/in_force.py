"""What a call decides for the whole process while it runs: the random generators, and vectorbt's defaults.

Calls in several threads share both. They may overlap where that changes no number; where it would, it is an error: a
run must depend on its own seed and settings alone. They do not wait for each other, because a call may itself wait for
threads that make recorded calls.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from runvault.errors import ReplayError

Json: TypeAlias = Any

APART = "make the calls one after the other, or as a sweep, in processes of their own"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and vectorbt's generators, and leave Python's and NumPy's as they were afterwards.

    Raises
    ------
    ReplayError
        Random numbers were drawn while a call in another thread was seeded, too: no seed tells them.
    """
    call = _generators.enter(seed)
    try:
        yield
    except BaseException:
        _generators.leave(call)
        raise
    if not _generators.leave(call):
        raise ReplayError("random numbers were drawn while another recorded call ran in another thread", APART)


@contextmanager
def engine_settings(settings: Mapping[str, Json]) -> Iterator[None]:
    """Make settings that vectorbt's portfolios know (``init_cash``, ``fees``, ``freq``, …) its defaults meanwhile.

    Inside a call with other settings those are no defaults meanwhile.

    Raises
    ------
    ReplayError
        A call in another thread runs with other settings.
    """
    wanted = {name: value for name, value in settings.items() if name in _portfolio_defaults()}
    _defaults.enter(wanted)
    try:
        yield
    finally:
        _defaults.leave()


def is_default(name: str) -> bool:
    """Return whether vectorbt's portfolios know a setting."""
    return name in _portfolio_defaults()


def _portfolio_defaults() -> Any:
    """Return vectorbt's own table, imported where it is not yet: an entry may do that only when it is called."""
    import vectorbt as vbt

    return vbt.settings["portfolio"]


@dataclass(eq=False)
class _Seeded:
    """A call that counts on the generators: its thread, how they were before it, and what others did to it."""

    thread: int
    before: tuple[Any, Any]
    is_shared: bool = False
    is_spoilt: bool = False


class _Generators:
    """The process's random generators, and the calls that count on them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[_Seeded] = []
        self._seeded: tuple[Any, ...] = ()  # as the latest seeding left them
        self._outside: tuple[Any, Any] = ((), ())  # as they were before the first of the calls

    def enter(self, seed: int) -> _Seeded:
        import numpy as np
        from vectorbt.utils.random_ import set_seed_nb

        short = seed % 2**32  # all that NumPy's old generator takes
        with self._lock:
            self._note_draws()
            call = _Seeded(threading.get_ident(), (random.getstate(), np.random.get_state()))
            if not self._calls:
                self._outside = call.before
            random.seed(seed)
            np.random.seed(short)  # the generator that strategies use
            set_seed_nb(short)  # vectorbt's, of this thread
            self._seeded = _fingerprint()
            self._calls.append(call)
            if len({each.thread for each in self._calls}) > 1:
                for each in self._calls:
                    each.is_shared = True
        return call

    def leave(self, call: _Seeded) -> bool:
        """Return whether what was drawn in the call came from its own seed."""
        import numpy as np

        with self._lock:
            self._note_draws()
            self._calls.remove(call)
            if not self._calls or not call.is_shared:
                state = call.before if self._calls else self._outside
                random.setstate(state[0])
                np.random.set_state(state[1])
        return not call.is_spoilt

    def _note_draws(self) -> None:
        """Spoil the calls that share the generators, where somebody drew since these were seeded."""
        shared = [call for call in self._calls if call.is_shared]
        if shared and _fingerprint() != self._seeded:
            for call in shared:
                call.is_spoilt = True


def _fingerprint() -> tuple[Any, ...]:
    import numpy as np

    kind, words, *rest = np.random.get_state()
    return random.getstate(), kind, np.asarray(words).tobytes(), *rest


class _Defaults:
    """vectorbt's defaults, and what each call that runs, of any thread, makes of them; the latest last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[tuple[int, Mapping[str, Json]]] = []
        self._outside: dict[str, Json] = {}

    def enter(self, wanted: Mapping[str, Json]) -> None:
        thread = threading.get_ident()
        with self._lock:
            for other, settings in self._calls:
                if other != thread and settings != wanted:
                    raise ReplayError("a recorded call with other settings runs in another thread", APART)
            self._calls.append((thread, wanted))
            self._apply(wanted)

    def leave(self) -> None:
        thread = threading.get_ident()
        with self._lock:
            places = [place for place, (other, _) in enumerate(self._calls) if other == thread]
            del self._calls[places[-1]]
            self._apply(self._calls[places[-2]][1] if len(places) > 1 else self._calls[-1][1] if self._calls else {})

    def _apply(self, wanted: Mapping[str, Json]) -> None:
        table = _portfolio_defaults()
        for name in wanted:
            self._outside.setdefault(name, table[name])
        table.update({**self._outside, **wanted})
        if not self._calls:
            self._outside.clear()


_generators = _Generators()
_defaults = _Defaults()
