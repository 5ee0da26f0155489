"""What a reviewer should look at twice: numbers that stand on something else than those they are ranked with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from runvault.model.metrics import DECIDING, Number
from runvault.sharing.states import Ranked

Json: TypeAlias = Any

SUSPICIOUS_SHARPE = 5.0
ALWAYS_RIGHT = 10  # closed trades from which on winning all of them is no luck
HEADLINES = ("total_return", "sharpe_ratio", "max_drawdown", "win_rate")


@dataclass(frozen=True)
class Caution:
    """One thing to look at, and the ids of all runs that it is about.

    `kind` is ``data``, ``definitions``, ``dirty``, ``code``, ``undefined``, ``suspicious``, ``alias`` or ``recorded``
    (what the run itself says of its numbers).
    """

    kind: str
    text: str
    runs: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"kind": self.kind, "text": self.text, "runs": list(self.runs)}


@dataclass
class Usual:
    """What the runs of the base have in common with each other: a new run that differs is told."""

    data: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    definitions: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    aliases: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Mapping[str, Ranked]) -> Usual:
        """Return what is usual among runs."""
        usual = cls()
        for run, each in runs.items():
            usual.data[each.strategy].add(each.data)
            usual.definitions[each.definitions] += 1
            if each.alias is not None:
                usual.aliases[each.alias] = run
        return usual


def cautions(runs: Mapping[str, tuple[Ranked, Mapping[str, Json]]], usual: Usual, here: Iterable[str]) -> list[Caution]:
    """Return what is to be said of runs, each thing once with all the runs that it is about.

    Parameters
    ----------
    runs : mapping of id to what is kept of a run and its manifest
        The new runs and revisions.
    usual : Usual
        What the base has.
    here : iterable of str
        The commits of code that this clone has.
    """
    known, settled = set(here), _decided(usual.definitions)
    told: dict[tuple[str, str], list[str]] = {}
    for run, (each, manifest) in runs.items():
        found = [
            *_about_data(each, manifest, usual),
            *_about_definitions(each, settled),
            *_about_code(manifest.get("code") or {}, known),
            *_about_numbers(manifest["metrics"]),
            *_about_alias(run, each, usual),
            *(("recorded", str(text)) for text in manifest["warnings"]),
        ]
        for kind, text in dict.fromkeys(found):
            told.setdefault((kind, text), []).append(run)
    return [Caution(kind, text, tuple(runs)) for (kind, text), runs in told.items()]


def _about_data(run: Ranked, manifest: Mapping[str, Json], usual: Usual) -> Iterator[tuple[str, str]]:
    there = usual.data.get(run.strategy)
    if not there or run.data in there:
        return
    inputs = [orjson.loads(data) for data in there]
    for name, entry in manifest["config"]["data"].items():
        others = [each[name] for each in inputs if name in each]
        if entry not in others:
            yield "data", _other_data(name, entry, others, run.strategy)


def _other_data(name: str, entry: Json, others: list[Json], strategy: str) -> str:
    base = f"than the base's runs of {strategy}"
    if not isinstance(entry, Mapping):
        return f"{name} is other data {base}"
    same = [each for each in others if isinstance(each, Mapping) and content(each) == content(entry)]
    if not same:
        return f"{name} is other data {base}: {described(entry)}"
    return f"{name} is the same data as the base has, but another part of it {base}: {described(entry)}"


def content(entry: Mapping[str, Json]) -> Json:
    """Return the hash that an input is named by."""
    return entry.get("md5") or entry.get("sha256")


def described(entry: Mapping[str, Json]) -> str:
    """Return an input in a few words: its hash, its symbols, its window."""
    symbols = entry.get("symbols")
    parts = [str(content(entry) or "no hash")[:12]]
    parts += [", ".join(map(str, symbols))] if isinstance(symbols, list) and symbols else []
    if entry.get("start") or entry.get("end"):
        parts.append(f"{entry.get('start')} to {entry.get('end')}")
    return ", ".join(parts)


def _decided(definitions: Iterable[bytes]) -> list[dict[str, Json]]:
    known: list[dict[str, Json]] = []
    for text in definitions:
        decided = _deciding(text)
        if decided not in known:
            known.append(decided)
    return known


def _deciding(definitions: bytes) -> dict[str, Json]:
    members = orjson.loads(definitions)
    return {name: members.get(name) for name in DECIDING}


def _about_definitions(run: Ranked, known: list[dict[str, Json]]) -> Iterator[tuple[str, str]]:
    own = _deciding(run.definitions)
    if not known or own in known:
        return
    for name, value in own.items():
        others = [each[name] for each in known]
        if value not in others:
            told = " or ".join(dict.fromkeys(map(str, others)))
            yield "definitions", f"{name} is {value}, in the base's runs it is {told}"


def _about_code(code: Mapping[str, Json], here: set[str]) -> Iterator[tuple[str, str]]:
    commit, base = code.get("commit"), code.get("base")
    if commit is None:
        yield "code", "no commit of code is recorded: nobody can say what was run"
    elif commit not in here:
        yield "code", f"the code, commit {commit[:12]}, is not in this clone"
    if base and base != commit:  # of clean code the snapshot is HEAD itself
        yield "dirty", f"the code is a snapshot of uncommitted changes on top of {base[:12]}"
    elif code.get("dirty"):
        yield "dirty", "the code had uncommitted changes that were not recorded"


def _about_numbers(metrics: Mapping[str, Number]) -> Iterator[tuple[str, str]]:
    missing = [name for name in HEADLINES if name in metrics and metrics[name] is None]
    trades, closed = metrics.get("total_trades"), metrics.get("total_closed_trades", metrics.get("total_trades"))
    if trades == 0:
        yield "suspicious", "no trades"
    elif missing:
        yield "undefined", f"undefined: {', '.join(missing)}"
    sharpe = metrics.get("sharpe_ratio")
    if sharpe is not None and sharpe > SUSPICIOUS_SHARPE:
        yield "suspicious", f"a Sharpe ratio above {SUSPICIOUS_SHARPE:g}"
    if trades and metrics.get("max_drawdown") == 0:
        yield "suspicious", "trades, and never a drawdown"
    if closed is not None and closed >= ALWAYS_RIGHT and metrics.get("win_rate") == 1:
        yield "suspicious", f"{ALWAYS_RIGHT} or more trades, and each of them won"


def _about_alias(run: str, each: Ranked, usual: Usual) -> Iterator[tuple[str, str]]:
    holder = usual.aliases.get(each.alias) if each.alias is not None else None
    if holder is not None and holder != run:
        yield "alias", f"takes the name {each.alias} from run {holder[:8]}{holder[64:]}"
