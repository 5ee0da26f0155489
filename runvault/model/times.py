"""Instants as the archive writes them: UTC, six digits, ``Z``, so that text sorts as time does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

LAST_SECOND = 253_402_300_799  # of the year 9999; Git's commits can be later

INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"
_INSTANT = re.compile(INSTANT)


def format_instant(moment: datetime) -> str:
    """Return an aware time as text.

    Examples
    --------
    >>> format_instant(datetime(2024, 5, 1, 12, 30, tzinfo=UTC))
    '2024-05-01T12:30:00.000000Z'
    """
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str) -> datetime:
    """Return the time that `format_instant` wrote; raise ValueError for any other text."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if format_instant(moment) != text:  # strptime takes fewer digits
        raise ValueError("an instant has six digits behind the seconds")
    return moment


def is_instant(text: str) -> bool:
    """Return whether `format_instant` can have written a text; ten times as fast as asking `parse_instant`.

    Examples
    --------
    >>> is_instant("2016-12-31T23:59:59.000000Z"), is_instant("2016-12-31T23:59:60.000000Z")
    (True, False)
    """
    if not _INSTANT.fullmatch(text) or text[11:13] == "24":  # newer versions of Python take it for the next day
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def later_of(text: str, previous: str) -> str:
    """Return `text`, or the first instant behind `previous` where that is not earlier.

    A change made here wins over what it changed, however far ahead the clock of the earlier writer was.

    Examples
    --------
    >>> later_of("2024-05-01T12:00:00.000000Z", "2024-05-01T12:00:00.000000Z")
    '2024-05-01T12:00:00.000001Z'
    """
    if text > previous:
        return text
    try:
        return format_instant(parse_instant(previous) + timedelta(microseconds=1))
    except OverflowError:  # the last instant of all
        return previous
