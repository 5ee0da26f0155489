"""Records that no honest runvault writes: any JSON, real records with one thing changed, and a list made by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from forge import forge_run
from hypothesis import strategies as st

from runvault.errors import RunvaultError
from runvault.model.canonical import config_hash
from runvault.model.records import dump_json

Json: TypeAlias = Any

# What a terminal, a page, Markdown, a spreadsheet, a path, SQL or git might take for its own.
TEXTS = (
    "",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\x9b2J",
    "a\u202eb\u2066c",
    "\ud800",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "@everyone | [x](https://evil.example) `code`",
    "=cmd()|'/c calc'!A1",
    "../../../etc/passwd",
    "--upload-pack=touch pwned",
    "'; DROP TABLE runs; --",
    "%s%n{0}{x!r}",
    "\n\r\t\0",
    "e\u0301" * 200,
    "a" * 5_000,
    "2024-05-01T12:00:00.000000Z",
    "9999-99-99T99:99:99.999999Z",
    "0" * 64,
)
NUMBERS = (0, -1, 1 << 63, -(1 << 63) - 1, 1 << 200, 1e308, -1e308, 5e-324, -0.0, 2**53 + 1, float("inf"), float("nan"))
CONTAINERS: tuple[Json, ...] = (None, True, False, [], {}, [[]], {"": {}}, [None] * 50, {"a": [1, {"b": [2]}]})
ODD = (*TEXTS, *NUMBERS, *CONTAINERS)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(ODD)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def paths_in(value: Json, path: tuple[Json, ...] = ()) -> Iterator[tuple[Json, ...]]:
    """Yield the way to everything inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


def replaced(document: Json, path: tuple[Json, ...], value: Json) -> Json:
    """Return a document with another value at a path."""
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def fitting(manifest: dict[str, Json]) -> dict[str, Json]:
    """Return a manifest with the address of its config, so that it is believed; as it is where it has none."""
    try:
        digest = str(config_hash(manifest["config"]))
        return {**manifest, "config_hash": digest, "id": f"{digest}-{manifest['seed']}"}
    except (RunvaultError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return manifest


def dumped(document: Json) -> bytes:
    """Return JSON as anybody might write it: in our own form where it has one, else with what JSON has no word for."""
    try:
        return dump_json(document)
    except (TypeError, ValueError):
        return json.dumps(document).encode("utf-8", "surrogatepass")


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Json]:
    """A real manifest with one to three things in it replaced, most of them under the address that they then have."""
    manifest: dict[str, Json] = {**forge_run(draw(st.integers(0, 50))).manifest, "artifacts": {}}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths_in(manifest))))
        manifest = replaced(manifest, path, draw(documents))
    return fitting(manifest) if draw(st.integers(0, 3)) else manifest


def annotations() -> st.SearchStrategy[dict[str, Json]]:
    """Real annotations with one thing replaced."""
    return st.builds(replaced, st.just(ANNOTATIONS), st.sampled_from(list(paths_in(ANNOTATIONS))), documents)


AT, BY = "2024-05-01T12:00:00.000000Z", "Ada <ada@example.org>"
ANNOTATIONS: dict[str, Json] = {
    "tags": {"golden": {"at": AT, "by": BY, "removed": False}},
    "notes": [{"at": AT, "by": BY, "text": "a note", "removed": False}],
    "replays": [{"at": AT, "by": BY, "verdict": "exact", "code": {}, "environment": {"packages": {"vectorbt": "1"}}}],
    "alias": {"at": AT, "by": BY, "name": "best"},
}


def by_hand() -> list[bytes]:
    """Return manifests made to hurt: bombs, broken bytes, and each odd value in each place that is shown somewhere."""
    base = {**forge_run(1).manifest, "artifacts": {}}
    text = dump_json(base)
    found: list[bytes] = [
        b"",
        b"\0" * 100,
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf" + text,
        text[: len(text) // 2],
        text + text,
        text.replace(b'"seed": 1', b'"seed": 1, "seed": 2'),
        text.replace(b'"seed": 1', b'"seed": 1.0'),
        text.replace(b'"format": 1', b'"format": 1e0'),
        text.replace(b'"format": 1', b'"format": 99999999999999999999'),
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        dump_json(replaced(base, ("recipe",), _deep(60))),
        dump_json(replaced(base, ("recipe",), _deep(200))),
        b'{"format": 1, "a": ' + b"9" * 900_000 + b"}",
        b'{"format": 1, "a": 1e' + b"9" * 900_000 + b"}",
        dump_json(replaced(base, ("warnings",), ["x"] * 200_000)),
        dump_json(replaced(base, ("metrics",), {f"m{n}": n for n in range(30_000)})),
        dump_json(replaced(base, ("config", "params"), {f"p{n}": n for n in range(20_000)})),
        b" " * 1_048_576 + text,
        b'"text"',
        b"null",
        b"1",
    ]
    places: tuple[tuple[str, ...], ...] = (
        ("config", "strategy"), ("config", "engine"), ("config", "params"), ("config", "data", "prices"),
        ("window", "symbols"), ("window", "start"), ("created_at",), ("author",), ("metrics", "sharpe_ratio"),
        ("metric_definitions",), ("code", "commit"), ("code", "branch"), ("environment", "packages"), ("moments",),
        ("portfolio",), ("lineage",), ("warnings",), ("recipe",), ("artifacts",),
    )  # fmt: skip
    for number, path in enumerate(places):
        for odd in ODD[number % 3 :: 3]:  # a third of the values in each place, all of them in some
            found.append(dumped(fitting(replaced(base, path, odd))))
            if isinstance(odd, str) and path in (("config", "params"), ("metric_definitions",)):
                found.append(dumped(fitting(replaced(base, path, {odd: odd}))))
    return found


def _deep(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = {"a": value}
    return value
