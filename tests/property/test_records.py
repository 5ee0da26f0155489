"""Parsers of records from anybody: a value, or one of our errors."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from runvault.errors import FormatError
from runvault.model.annotations import Annotations
from runvault.model.canonical import config_hash, make_config
from runvault.model.manifest import Manifest
from runvault.model.records import MAX_DEPTH, check_json, dump_json, parse_json, parse_own_form
from runvault.model.run_json import run_members

settings.register_profile("runvault", deadline=None, max_examples=150)
settings.load_profile("runvault")

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
CONFIG = make_config("sma", "vectorbt", {"fast": 10}, {}, {})
HASH = str(config_hash(CONFIG))
MEMBERS = {
    "format": 1,
    "id": f"{HASH}-0",
    "config_hash": HASH,
    "seed": 0,
    "config": CONFIG,
    "window": {"start": None, "end": None, "bars": 0, "interval": None, "symbols": []},
    "created_at": "2024-05-01T12:00:00.000000Z",
    "author": "Ada",
    "metrics": {},
    "metric_definitions": {},
    "moments": {},
    "artifacts": {},
    "results_digest": "0" * 64,
}
NAMES = sorted({*MEMBERS, "code", "environment", "lineage", "portfolio", "recipe", "warnings", "duration_s"})


def attempt(action):
    try:
        return action()
    except FormatError as error:
        refusal = str(error)
    assert refusal.isprintable()
    return None


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused(data):
    attempt(lambda: Manifest.from_bytes(data))
    attempt(lambda: Annotations.from_bytes(data))


@given(st.sampled_from(NAMES), documents)
def test_any_member_is_read_or_refused(name, value):
    members = {**MEMBERS, name: value}
    data = json.dumps(members).encode()  # NaN, lone surrogates and long integers go out as they are
    manifest = attempt(lambda: Manifest.from_bytes(data))
    if manifest is not None:
        assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    attempt(lambda: run_members(members, {}))


@given(st.sampled_from(["tags", "notes", "replays", "alias"]), documents)
def test_any_annotation_is_read_or_refused(name, value):
    record = json.dumps({name: value}).encode()
    annotations = attempt(lambda: Annotations.from_bytes(record))
    if annotations is not None:
        assert Annotations.from_bytes(annotations.to_bytes()) == annotations
    attempt(lambda: run_members(MEMBERS, {name: value}))


@given(st.dictionaries(st.text(max_size=6), documents, max_size=4))
def test_what_may_be_written_can_be_read(record):
    def write():
        check_json(record, "x.json")
        return dump_json(record)

    data = attempt(write)
    if data is not None:
        assert parse_json(data, "x.json") == record
        assert parse_json(json.dumps(record).encode(), "x.json") == record


big = st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**64 - 1, 10**18, 10**19 - 1, -(10**18)])
long = st.sampled_from(["x" * 4096, "x" * 4097, "é" * 2049, '"' * 2100, "12345678901234567890,"])


@given(st.dictionaries(st.text(max_size=6) | long, st.one_of(documents, big, long, st.lists(big | long)), max_size=3))
def test_a_record_in_our_own_form_passes_only_if_the_full_check_passes(record):
    try:
        data = dump_json(record)
    except TypeError:  # beyond 64 bits, or a lone surrogate
        return
    read = parse_own_form(data)
    if read is not None:
        check_json(read, "x.json")
        assert parse_json(data, "x.json") == read


@given(st.integers(MAX_DEPTH - 3, MAX_DEPTH + 2), st.booleans(), st.booleans())
def test_a_record_in_our_own_form_is_as_deep_as_the_full_check_allows(depth, lists, hollow):
    value: object = ([] if lists else {}) if hollow else 1
    for _ in range(depth - 1):
        value = [value] if lists else {"a": value}
    record = {"a": value}
    fits = attempt(lambda: check_json(record, "x.json") or True)
    assert (parse_own_form(dump_json(record)) is not None) == bool(fits)


@given(st.binary(max_size=60), st.integers(0, 400))
def test_what_is_written_in_another_way_is_not_our_own_form(junk, at):
    data = dump_json(MEMBERS)
    other = data[:at] + junk + data[at + len(junk) :]
    read = parse_own_form(other)
    assert read is None or dump_json(read) == other
