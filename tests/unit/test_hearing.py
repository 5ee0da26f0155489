"""What libraries warn of, when several threads are warned."""

from __future__ import annotations

import threading
import warnings

from runvault.model.hearing import heard, unheard


def test_two_threads_hear_their_own_warnings_and_leave_what_was() -> None:
    """The first to come leaves first, which `warnings.catch_warnings` cannot bear."""
    before = (list(warnings.filters), warnings.showwarning)
    begun, left = threading.Event(), threading.Event()
    theirs: list[str] = []

    def other() -> None:
        with heard() as told:
            begun.set()  # too late for the first, where threads take turns
            left.wait(5)
            warnings.warn("theirs", stacklevel=1)
        theirs.extend(map(str, told))

    thread = threading.Thread(target=other)
    with heard() as told:
        thread.start()
        begun.wait(0.2)
        warnings.warn("ours", stacklevel=1)
    left.set()
    thread.join()

    assert ([str(each) for each in told], theirs) == (["ours"], ["theirs"])
    assert (list(warnings.filters), warnings.showwarning) == before


def test_what_another_thread_is_warned_of_goes_where_it_went() -> None:
    with heard() as outside:
        warnings.showwarning = lambda message, *_, **__: outside.append(message)
        with heard() as told:
            thread = threading.Thread(target=lambda: warnings.warn("theirs", stacklevel=1))
            thread.start()
            thread.join()
    assert (told, [str(each) for each in outside]) == ([], ["theirs"])


def test_others_categories_are_told() -> None:
    with heard() as told, unheard(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("odd", UserWarning, stacklevel=1)
    assert [str(each) for each in told] == ["odd"]
