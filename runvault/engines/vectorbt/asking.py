"""Asking a portfolio for its statistics: whatever `stats()` warns of or raises becomes a note in the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from runvault.model.hearing import heard

NO_FREQUENCY = "the index has no frequency"
NO_FIXED_BARS = "stats() raises"
_WANTED = re.compile(r"Metric '(?P<name>.+)' requires (?:year )?frequency to be set")
_TOLD_OTHERWISE = re.compile(r"Object has multiple columns\. Aggregating|Metric '.+' raised an exception")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@contextmanager
def noting(notes: list[str]) -> Iterator[None]:
    """Append to `notes` what vectorbt warns of; the deprecations of libraries below it are nobody's news."""
    with heard() as told:
        yield
    messages = [_ADDRESS.sub("", str(each)) for each in told if type(each) is UserWarning]
    notes.extend(note for note in _condensed(messages) if note not in notes)


def with_countable_bars(pf: Any) -> tuple[Any, str | None]:
    """Return a portfolio that can be asked, and why where it is not the one that was given.

    vectorbt raises at every turn for an index whose frequency has no fixed length (business days, quarter ends). The
    portfolio is then asked without its times: durations are counted in bars, what is annualised is undefined.
    """
    try:
        pf.wrapper.freq  # noqa: B018 - a property that raises
    except ValueError as error:
        import pandas as pd

        # Text, since among integers pandas would turn the counts of `stats()` into floats.
        bars = pd.Index(["bar"] * len(pf.wrapper.index))
        reason = f"{NO_FIXED_BARS} '{error}': durations are counted in bars and annualised ratios are undefined"
        hint = "pass freq= to the portfolio, such as freq='1D'"
        return pf.replace(wrapper=pf.wrapper.replace(index=bars, freq=None)), f"{reason}; {hint}"
    return pf, None


def ask(pf: Any, notes: list[str], **how: Any) -> Any:
    """Return ``pf.stats(**how)``, metric by metric where it raises as a whole."""
    with noting(notes):
        try:
            return pf.stats(**how)
        except Exception as error:  # a metric can be anybody's code and raise anything
            reason = f"stats() raised {type(error).__name__}: {_ADDRESS.sub('', str(error))}"
        parts, failed = _piecewise(pf, how)
    notes.append(f"{reason}; undefined: {', '.join(failed)}" if failed else reason)
    return _joined(parts, pf)


def _piecewise(pf: Any, how: dict[str, Any]) -> tuple[list[Any], list[str]]:
    parts, failed = [], []
    for name in how.pop("metrics", pf.metrics):
        try:
            parts.append(pf.stats(metrics=[name], **how))
        except Exception:  # as above
            failed.append(name)
    return [part for part in parts if part is not None], failed


def _joined(parts: list[Any], pf: Any) -> Any:
    import pandas as pd

    if parts and isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts, axis=1)
    values = {label: value for part in parts for label, value in zip(part.index, part.array, strict=True)}
    return pd.Series(values, name=parts[0].name if parts else pf.wrapper.get_name(), dtype=None if values else object)


def _condensed(messages: Iterable[str]) -> Iterator[str]:
    undefined: list[str] = []
    for message in messages:
        if match := _WANTED.fullmatch(message):
            undefined.append(match["name"])
        elif not _TOLD_OTHERWISE.match(message):
            yield message
    if undefined:
        names = ", ".join(dict.fromkeys(undefined))
        yield f"{NO_FREQUENCY}: {names} are undefined; pass freq= to the portfolio, such as freq='1D'"
