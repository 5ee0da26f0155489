"""What the typed records share: the type of an instant, and pydantic's findings as one line of ours."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, ValidationError

from runvault.model.paths import join
from runvault.model.times import INSTANT, is_instant, parse_instant


def _check_instant(text: str) -> str:
    if not is_instant(text):
        parse_instant(text)  # knows the reason
    return text


Instant: TypeAlias = Annotated[str, Field(pattern=INSTANT), AfterValidator(_check_instant)]


def first_problem(error: ValidationError) -> str:
    """Return the first problem with the path of its member, without the value: it may be anybody's text."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ""
    for step in problem["loc"]:
        path = join(path, str(step))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
