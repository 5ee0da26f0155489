"""Time zones as text, with the library that made them: pandas compares zones of different libraries as unequal."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Any

from runvault.engines.vectorbt.refusals import NotRebuildableError
from runvault.errors import FormatError

_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})(?::(\d{2}))?")


def describe_zone(tz: datetime.tzinfo | None) -> dict[str, str]:
    """Return ``{}`` for None, else ``tz`` (IANA name, ``UTC`` or ``+02:00``) and, unless zoneinfo's, ``tz_type``.

    Raises
    ------
    NotRebuildableError
        The zone has no name: one read from a file, the machine's local zone.

    Examples
    --------
    >>> describe_zone(zoneinfo.ZoneInfo("Europe/Berlin"))
    {'tz': 'Europe/Berlin'}
    >>> describe_zone(datetime.timezone(datetime.timedelta(hours=-5)))
    {'tz': '-05:00', 'tz_type': 'datetime'}
    """
    if tz is None:
        return {}
    library = type(tz).__module__.partition(".")[0]
    if isinstance(tz, zoneinfo.ZoneInfo):
        return {"tz": _named(tz.key)}
    if isinstance(tz, datetime.timezone):
        return {"tz": _fixed(tz), "tz_type": "datetime"}
    if library == "pytz":
        return {"tz": getattr(tz, "zone", None) or _fixed(tz), "tz_type": "pytz"}
    if library == "dateutil" and type(tz).__name__ != "tzlocal":
        return {"tz": _dateutil_name(tz), "tz_type": "dateutil"}
    raise NotRebuildableError(f"a time zone without a name ({type(tz).__name__})")


def restore_zone(spec: dict[str, Any]) -> datetime.tzinfo | None:
    """Return the zone that `describe_zone` described; FormatError where this machine does not know it."""
    name = spec.get("tz")
    if name is None:
        return None
    if not isinstance(name, str):
        raise FormatError(f"a time zone is a name, not {type(name).__name__}")
    library = spec.get("tz_type", "zoneinfo")
    if library not in ("zoneinfo", "datetime", "pytz", "dateutil"):
        raise FormatError(f"unknown kind of time zone {library!r}")
    if match := _OFFSET.fullmatch(name):
        return _restore_fixed(match, library)
    if library == "datetime":
        if name != "UTC":
            raise FormatError(f"{name!r} is no fixed offset")
        return datetime.UTC
    return _restore_named(name, library)


def _named(key: str | None) -> str:
    if key is None:
        raise NotRebuildableError("a time zone without a name")
    return key


def _fixed(tz: datetime.tzinfo) -> str:
    """Return ``+02:00``; ``UTC`` for the standard library's own."""
    if tz is datetime.UTC:
        return "UTC"
    offset = tz.utcoffset(None)
    if offset is None or offset.microseconds:
        raise NotRebuildableError(f"a time zone without a name ({type(tz).__name__})")
    seconds = int(offset.total_seconds())
    minutes, rest = divmod(abs(seconds), 60)
    text = f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{rest:02}" if rest else text


def _dateutil_name(tz: Any) -> str:
    if type(tz).__name__ == "tzutc":
        return "UTC"
    if type(tz).__name__ == "tzoffset":
        return _fixed(tz)
    name = str(getattr(tz, "_filename", "")).rpartition("zoneinfo/")[2]
    if name not in zoneinfo.available_timezones():
        raise NotRebuildableError(f"a time zone without a name ({type(tz).__name__})")
    return name


def _restore_fixed(match: re.Match[str], library: str) -> datetime.tzinfo:
    sign, hours, minutes, seconds = match.groups()
    total = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
    offset = datetime.timedelta(seconds=-total if sign == "-" else total)
    zone: datetime.tzinfo
    try:
        zone = datetime.timezone(offset)  # refuses a day and more
        if library == "pytz":
            import pytz

            zone = pytz.FixedOffset(int(offset.total_seconds()) // 60)
        elif library == "dateutil":
            import dateutil.tz

            zone = dateutil.tz.tzoffset(None, offset)
    except ValueError as error:
        raise FormatError(f"{match.group()!r} is no offset of a time zone") from error
    return zone


def _restore_named(name: str, library: str) -> datetime.tzinfo:
    try:
        zone: datetime.tzinfo | None = zoneinfo.ZoneInfo(name)
        # The name is known to be a time zone by now: dateutil would open any path it is given.
        if library == "pytz":
            import pytz

            zone = pytz.timezone(name)
        elif library == "dateutil":
            import dateutil.tz

            zone = dateutil.tz.UTC if name == "UTC" else dateutil.tz.gettz(name)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError and pytz's own are KeyErrors
        raise FormatError(f"time zone {name!r} is not known here", hint="pip install tzdata") from error
    if zone is None:
        raise FormatError(f"time zone {name!r} is not known here", hint="pip install tzdata")
    return zone
