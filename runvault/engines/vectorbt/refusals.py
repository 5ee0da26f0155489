"""Why a portfolio cannot be rebuilt: raised and caught inside this room, never seen by callers."""

from __future__ import annotations


class NotRebuildableError(Exception):
    """A part of a portfolio has no form as a table or as JSON; the message is the reason a person reads."""
