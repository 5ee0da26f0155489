"""Annotations merge to the same, whoever merges first, however often."""

from hypothesis import given, settings
from hypothesis import strategies as st

from runvault.model.annotations import Alias, Annotations, Note, Replay, Tag, merge

settings.register_profile("runvault", deadline=None, max_examples=150)
settings.load_profile("runvault")

# few values, so that ties happen
instants = st.sampled_from([f"2024-05-01T12:00:00.00000{i}Z" for i in range(4)])
people = st.sampled_from(["Ada", "Bob", "é"])
texts = st.sampled_from(["x", "y", "two\nlines"])
tags = st.builds(Tag, at=instants, by=people, removed=st.booleans())
notes = st.builds(Note, text=texts, at=instants, by=people, removed=st.booleans())
replays = st.builds(
    Replay,
    at=instants,
    by=people,
    code=st.none() | st.just({"commit": "a"}),
    verdict=st.sampled_from(["exact", "drift"]),
)
aliases = st.builds(Alias, at=instants, by=people, name=st.none() | st.sampled_from(["golden", "silver"]))
anything = st.builds(
    Annotations,
    tags=st.dictionaries(st.sampled_from(["a", "b", "c"]), tags),
    notes=st.lists(notes, max_size=4),
    replays=st.lists(replays, max_size=3),
    alias=st.none() | aliases,
)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("remove"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("note"), texts),
        st.tuples(st.just("alias"), st.sampled_from(["golden", None])),
        st.tuples(st.just("forget"), st.none()),
    ),
    max_size=6,
)


def edited(annotations: Annotations, change: tuple[str, str | None], at: str, by: str) -> Annotations:
    kind, value = change
    if kind == "alias":
        return annotations.with_alias(value, at, by)
    if kind == "forget":
        return annotations.without_notes()
    if kind == "note":
        return annotations.with_note(value or "", at, by)
    return annotations.with_tags([value] if kind == "add" else [], [value] if kind == "remove" else [], at, by)


@given(anything, anything)
def test_merging_is_commutative(a, b):
    assert merge(a, b) == merge(b, a)
    assert merge(a, b).to_bytes() == merge(b, a).to_bytes()


@given(anything, anything, anything)
def test_merging_is_associative(a, b, c):
    assert merge(merge(a, b), c).to_bytes() == merge(a, merge(b, c)).to_bytes()


@given(anything, anything)
def test_merging_is_idempotent(a, b):
    both = merge(a, b)
    assert merge(both, both) == both
    assert merge(both, a) == merge(both, b) == both


@given(anything, anything)
def test_nothing_that_was_said_is_lost(a, b):
    both = merge(a, b)
    assert both.tags.keys() == a.tags.keys() | b.tags.keys()
    assert {n.text for n in both.notes} == {n.text for n in (*a.notes, *b.notes)}


@given(anything)
def test_annotations_survive_being_written(a):
    assert Annotations.from_bytes(a.to_bytes()) == a


@given(anything, edits, instants, people)
def test_an_edit_wins_over_what_it_was_made_on(a, changes, at, by):
    """A clone that still has the older state cannot bring it back, whatever the clocks said."""
    a = merge(a, a)
    later = a
    for change in changes:
        later = edited(later, change, at, by)
    both = merge(a, later)
    assert both.live_tags() == later.live_tags()
    assert both.note() == later.note()
    assert both.alias == later.alias
