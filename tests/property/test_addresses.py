"""What changes an address and what does not."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from runvault.model.canonical import canonical_bytes, config_hash, normalise
from runvault.model.changes import diff_values

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
