import pytest

from runvault.errors import ConfigError, FormatError
from runvault.model.annotations import Annotations, Replay, merge
from runvault.model.records import dump_json
from runvault.model.run_json import alias_of, note_of, tags_of

EARLY, LATE = "2024-05-01T12:00:00.000000Z", "2024-05-02T12:00:00.000000Z"


def test_annotations_survive_being_written():
    annotations = (
        Annotations()
        .with_tags(["b", "a", "été / <b>"], [], EARLY, "Ada")
        .with_tags([], ["b"], LATE, "Ada")
        .with_note("first\ntry", EARLY, "Ada")
        .with_alias("golden", EARLY, "Ada")
    )
    data = annotations.to_bytes()
    assert Annotations.from_bytes(data) == annotations
    assert Annotations.from_bytes(data).to_bytes() == data
    assert annotations.live_tags() == ["a", "été / <b>"] == tags_of(annotations.to_dict())
    assert annotations.note() == "first\ntry" == note_of(annotations.to_dict())
    assert alias_of(annotations.to_dict()) == "golden"


def test_nothing_changes_where_nothing_is_new():
    annotations = Annotations().with_tags(["a"], [], EARLY, "Ada").with_note("x", EARLY, "Ada")
    annotations = annotations.with_alias("golden", EARLY, "Ada")
    assert annotations.with_tags(["a"], ["never there"], LATE, "Bob") == annotations
    assert annotations.with_note("x", LATE, "Bob") == annotations
    assert annotations.with_alias("golden", LATE, "Bob") == annotations


def test_notes_add_up_and_can_all_be_removed():
    later = Annotations().with_note("later", LATE, "Ada")
    annotations = merge(later, Annotations().with_note("earlier\r\nlines", EARLY, "Bob"))
    assert annotations.note() == "earlier\nlines\nlater"
    assert annotations.without_notes().note() == ""
    assert merge(annotations, annotations.without_notes()).note() == ""
    again = annotations.without_notes().with_note("later", "2024-05-03T00:00:00.000000Z", "Ada")
    assert merge(annotations, again).note() == "later"


def test_a_change_wins_over_a_word_from_a_clock_that_was_ahead():
    tagged = Annotations().with_tags(["a"], [], LATE, "Bob").with_alias("golden", LATE, "Bob")
    changed = tagged.with_tags([], ["a"], EARLY, "Ada").with_alias(None, EARLY, "Ada")
    assert merge(tagged, changed) == merge(changed, tagged) == changed
    assert changed.live_tags() == []
    assert changed.tags["a"].at == "2024-05-02T12:00:00.000001Z"
    assert alias_of(changed.to_dict()) is None


def test_a_note_comes_behind_those_it_was_made_on_whatever_the_clock_says():
    annotations = Annotations().with_note("b", LATE, "Bob").with_note("a", EARLY, "Ada").with_note("c", EARLY, "Ada")
    assert annotations.note() == "b\na\nc"
    assert annotations.notes[-1].at == "2024-05-02T12:00:00.000002Z"


def test_a_note_made_again_in_the_instant_of_one_that_was_removed_is_there():
    annotations = Annotations().with_note("a", EARLY, "Ada").without_notes().with_note("a", EARLY, "Ada")
    assert annotations.note() == "a"


def test_two_equal_replays_of_one_instant_are_two():
    replay = Replay(at=EARLY, by="Ada", verdict="exact")
    once = Annotations().with_replay(replay)
    twice = once.with_replay(replay)
    assert len(once.replays) == 1
    assert [each.at for each in twice.replays] == [EARLY, EARLY.replace("000000Z", "000001Z")]


def test_the_last_instant_of_all_can_still_be_changed():
    end = "9999-12-31T23:59:59.999999Z"
    tagged = Annotations().with_tags(["a"], [], end, "Ada")
    assert tagged.with_tags([], ["a"], EARLY, "Ada").live_tags() == []


@pytest.mark.parametrize("tag", ["", "a\nb", "a\x1b[0m", "a\ud800", "x" * 4097])
def test_tags_that_are_refused(tag):
    with pytest.raises(ConfigError):
        Annotations().with_tags([tag], [], EARLY, "Ada")


def test_a_tag_is_not_both_added_and_removed():
    with pytest.raises(ConfigError, match="both"):
        Annotations().with_tags(["a"], ["a"], EARLY, "Ada")


@pytest.mark.parametrize("text", ["", " \n", "a\x1b[0m", "a\ud800", "x" * (64 * 1024 + 1)])
def test_notes_that_are_refused(text):
    with pytest.raises(ConfigError):
        Annotations().with_note(text, EARLY, "Ada")


def test_a_note_may_be_long():
    text = "x" * 64 * 1024
    assert Annotations.from_bytes(Annotations().with_note(text, EARLY, "Ada").to_bytes()).note() == text


@pytest.mark.parametrize("name", ["", "beef", "latest", "a b"])
def test_aliases_that_are_refused(name):
    with pytest.raises(ConfigError):
        Annotations().with_alias(name, EARLY, "Ada")


WORD = {"at": EARLY, "by": "Ada", "removed": False}


@pytest.mark.parametrize(
    "record",
    [
        {"tags": []},
        {"tags": {"": WORD}},
        {"tags": {"a": {**WORD, "at": "yesterday"}}},
        {"tags": {"a\x07": WORD}},
        {"tags": {"x" * 4097: WORD}},
        {"notes": [{**WORD, "text": "a\x1b"}]},
        {"notes": [{**WORD, "text": "x" * (64 * 1024 + 1)}]},
        {"notes": [{**WORD, "text": None}]},
        {"replays": [{"at": EARLY, "by": "Ada", "verdict": "perhaps"}]},
        {"alias": "golden"},
        {"alias": {**WORD, "name": "latest"}},
    ],
)
def test_what_are_no_annotations_is_refused(record):
    with pytest.raises(FormatError) as caught:
        Annotations.from_bytes(dump_json(record), "a.json")
    assert str(caught.value).startswith("a.json")
    assert str(caught.value).isprintable()


def test_unknown_members_are_ignored():
    annotations = Annotations.from_bytes(dump_json({"tags": {"a": {**WORD, "x": 1}}, "stars": 5}))
    assert annotations.live_tags() == ["a"]


def test_annotations_larger_than_readers_accept_are_not_written():
    annotations = Annotations()
    for i in range(17):
        annotations = annotations.with_note(f"{i:02}" + "x" * 64_000, EARLY, "Ada")
    with pytest.raises(FormatError, match="more than"):
        annotations.to_bytes()
