"""What changes an address and what does not."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from runvault.errors import ConfigError
from runvault.model.canonical import canonical_bytes, config_hash, hash_of_parsed, normalise, plain_bytes
from runvault.model.changes import diff_values
from runvault.model.records import dump_json

settings.register_profile("runvault", deadline=None, max_examples=150)
settings.load_profile("runvault")

text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
numbers = st.one_of(integers, st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))
configs = st.dictionaries(text, values, max_size=5)


def respelled(value: object) -> object:
    """Return the same value in other words: keys in another order, tuples for lists, floats for integers and back."""
    if isinstance(value, dict):
        return {key: respelled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return tuple(respelled(item) for item in value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def as_json(value: object) -> object:
    """Return a form in which two values are equal exactly if they are the same JSON value."""
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, as_json(item)) for key, item in value.items())))
    if isinstance(value, (list, tuple)):
        return ("array", tuple(as_json(item) for item in value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return ("number", repr(float(value) + 0.0))
    return (type(value).__name__, repr(value))


@given(configs)
def test_another_spelling_is_the_same_address(config):
    assert config_hash(config) == config_hash(respelled(config))


@given(configs, configs)
def test_another_value_is_another_address(a, b):
    assert (config_hash(a) == config_hash(b)) == (as_json(a) == as_json(b))


@given(configs, text, scalars, scalars)
def test_changing_one_value_changes_the_address(config, key, old, new):
    a, b = {**config, key: old}, {**config, key: new}
    assert (config_hash(a) == config_hash(b)) == (as_json(old) == as_json(new))
    assert bool(diff_values(a, b)) == (as_json(old) != as_json(new))


@given(configs)
def test_an_address_can_be_computed_again_from_what_was_written(config):
    normal = normalise(config)
    assert normalise(normal) == normal
    assert config_hash(json.loads(json.dumps(normal))) == config_hash(config)
    assert json.loads(canonical_bytes(config), parse_int=float) == normal  # JSON numbers are doubles to RFC 8785


floats_near_an_edge = [
    0.0,
    -0.0,
    1e-5,
    1e-6,
    9.99e-7,
    1e-7,
    1e15,
    1e16,
    1e20,
    1e21,
    1.5e300,
    5e-324,
    0.1,
    100.5,
    2.0**53,
]
integers_near_an_edge = [2**53 - 1, 2**53, -(2**53), 10**15, 10**16, 2**63 - 1]
texts_near_an_edge = ["1e-7", ",12e", "a\x7f", "a\nb", "é", "\ue000", "😀", "x" * 4097]
near_an_edge = st.sampled_from([*floats_near_an_edge, *integers_near_an_edge, *texts_near_an_edge])
read = st.recursive(
    st.one_of(scalars, near_an_edge, st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
)


@given(st.dictionaries(text | st.text(max_size=2), read, max_size=4))
def test_the_short_way_to_an_address_is_the_long_way(config):
    parsed = json.loads(dump_json(config))
    try:
        expected = config_hash(parsed)
    except ConfigError:
        assert plain_bytes(parsed) is None
        return
    assert hash_of_parsed(parsed) == expected
    if plain_bytes(parsed) is not None:
        assert plain_bytes(parsed) == canonical_bytes(parsed)
        assert normalise(parsed) == parsed


def test_the_short_way_is_taken_for_a_config_as_people_have_it():
    data = {"prices": {"sha256": "cb8d85fe0b74b36fca938be5cdb78c3ef504e0ff3de03fc7f4b0cbdaf535aab7", "interval": "1D"}}
    config = {"strategy": "sma", "params": {"fast": 10, "stop": 0.025, "kind": None}, "settings": {}, "data": data}
    assert plain_bytes(config) == canonical_bytes(config)


def test_nesting_beyond_the_limit_is_no_short_way():
    config: dict[str, object] = {}
    for _ in range(40):
        config = {"a": config}
    assert plain_bytes(config) is None


@given(st.integers(-(10**18), 9 * 10**18))
def test_times_agree_across_libraries(nanoseconds):
    stamp = pd.Timestamp(nanoseconds, unit="ns")
    written = normalise(stamp)
    assert normalise(np.datetime64(nanoseconds, "ns")) == written == normalise(stamp.tz_localize("UTC"))
    assert pd.Timestamp(written) == stamp.tz_localize("UTC")
    if nanoseconds % 1000 == 0:
        assert normalise(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)) == written


@given(st.integers(-(10**17), 10**17))
def test_durations_agree_across_libraries(nanoseconds):
    written = normalise(pd.Timedelta(nanoseconds, unit="ns"))
    assert normalise(np.timedelta64(nanoseconds, "ns")) == written
    assert math.isclose(float(written.replace("PT", "").rstrip("S")), nanoseconds / 1e9, rel_tol=1e-12)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_an_array_is_the_list_of_its_values(items):
    assert config_hash({"w": np.array(items, dtype=float)}) == config_hash({"w": items})
