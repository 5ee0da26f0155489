"""Ages such as ``30d``, which need to know what time it is."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from runvault.errors import ConfigError
from runvault.model.query import normalise_time
from runvault.model.times import format_instant

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def absolute(text: str, now: datetime) -> str:
    """Return an age as the point in time it means; any other text as it is.

    Raises
    ------
    ConfigError
        The age reaches back before the year 1.

    Examples
    --------
    >>> from datetime import timezone
    >>> absolute("30d", datetime(2026, 11, 20, 12, tzinfo=timezone.utc))
    '2026-10-21T12:00:00.000000Z'
    """
    age = _AGE.fullmatch(text)
    if age is None:
        return _checked(text)
    try:
        return format_instant(now - timedelta(**{_UNITS[age[2]]: int(age[1])}))
    except OverflowError as error:
        raise ConfigError(f"{text} ago is before the year 1") from error


def _checked(text: str) -> str:
    """Return a date or time as it is; the archive reads it, and this says what else could have been said."""
    try:
        normalise_time(text)
    except ConfigError as error:
        hint = "say a date (2026-11-20), a time (2026-11-20T09:30) or an age (30d, 12h, 5m)"
        raise ConfigError(error.message, hint) from error
    return text
