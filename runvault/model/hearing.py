"""What libraries warn of, heard or left unheard by one thread and not taken from another.

`warnings.catch_warnings` exchanges what belongs to the whole process: of two threads inside, the first to leave gives
back what the second needs, and the second leaves for good what the first had. So threads take turns.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_turn = threading.RLock()


@contextmanager
def heard() -> Iterator[list[Warning]]:
    """Collect all that this thread is warned of; what others are warned of goes where it went.

    Examples
    --------
    >>> with heard() as told:
    ...     warnings.warn("no frequency")
    >>> told
    [UserWarning('no frequency')]
    """
    told: list[Warning] = []
    with _turn, warnings.catch_warnings():
        warnings.simplefilter("always")
        mine, elsewhere = threading.get_ident(), warnings.showwarning

        def show(message: Any, category: Any, *where: Any, **how: Any) -> None:
            if threading.get_ident() == mine:
                told.append(message)
            else:
                elsewhere(message, category, *where, **how)

        warnings.showwarning = show
        yield told


@contextmanager
def unheard(category: type[Warning] = Warning) -> Iterator[None]:
    """Leave warnings of a category untold. Nothing inside may wait for another thread."""
    with _turn, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield
