"""Ages such as ``30d``, which need to know what time it is."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from runvault.errors import ConfigError
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
        return text
    try:
        return format_instant(now - timedelta(**{_UNITS[age[2]]: int(age[1])}))
    except OverflowError as error:
        raise ConfigError(f"{text} ago is before the year 1") from error
