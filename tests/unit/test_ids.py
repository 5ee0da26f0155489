import pytest

from runvault.errors import ConfigError
from runvault.model.ids import ConfigHash, RunId, RunRef, check_alias

HASH = "3f9a1c2b" + "0" * 56


def test_an_id_survives_being_printed():
    run = RunId(ConfigHash(HASH), 42)
    assert RunId.parse(str(run)) == run
    assert (run.short, run.path) == ("3f9a1c2b-42", f"runs/3f/{HASH}-42")


@pytest.mark.parametrize(
    "text",
    [
        "",
        HASH,
        HASH[:8] + "-1",
        HASH + "-",
        HASH + "--1",
        HASH + "-01",
        HASH.upper() + "-1",
        HASH + "-1\n",
        HASH + "-9223372036854775808",
        HASH + "-99999999999999999999",
        "g" + HASH[1:] + "-1",
        HASH + "-٣",
    ],
)
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ConfigError):
        RunId.parse(text)


@pytest.mark.parametrize("seed", [-1, 2**63, True, 1.0, "1"])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ConfigError, match="seed"):
        RunId(ConfigHash(HASH), seed)


def test_a_plain_string_as_hash_is_checked_too():
    assert isinstance(RunId(HASH, 0).config_hash, ConfigHash)
    with pytest.raises(ConfigError):
        RunId("3f9a", 0)


def test_the_run_of_a_path():
    run = RunId(ConfigHash(HASH), 2**63 - 1)
    assert RunId.from_path(run.path) == run
    assert RunId.from_path(run.path + "/manifest.json") == run


@pytest.mark.parametrize(
    "path",
    ["runvault.json", "runs/3f", f"runs/aa/{HASH}-1", f"data/3f/{HASH}-1", f"runs/3f/{HASH}-9999999999999999999"],
)
def test_paths_that_belong_to_no_run(path):
    assert RunId.from_path(path) is None


@pytest.mark.parametrize(
    ("text", "base", "back", "at"),
    [
        ("golden", "golden", 0, None),
        ("golden~3", "golden", 3, None),
        ("golden~", "golden", 1, None),
        ("3F9A@0BADC0DE", "3F9A", 0, "0badc0de"),
    ],
)
def test_the_parts_of_a_reference(text, base, back, at):
    assert RunRef.parse(text) == RunRef(text, base, back, at)


@pytest.mark.parametrize("text", ["", "~1", "@abcd", "a b", "a~x", "a@", "a@--upload-pack", "a~1@abcd", "a@HEAD^{/x}"])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(ConfigError) as caught:
        RunRef.parse(text)
    assert caught.value.hint


def test_kinds_of_reference():
    assert [RunRef.parse(t).latest for t in ("latest", "latest-2", "latest-x", "3f9a")] == [0, 2, None, None]
    assert RunRef.parse("3F9A").prefix == ("3f9a", None)
    assert RunRef.parse("3f9a-7").prefix == ("3f9a", 7)
    assert RunRef.parse(f"{HASH}-42").prefix == (HASH, 42)
    assert [RunRef.parse(t).prefix for t in ("3f9", "3f9a-", "latest", "xyz1")] == [None] * 4


@pytest.mark.parametrize("name", ["golden-sma", "été", "v1.2/x", "abc", "deadbeefs"])
def test_names_that_can_be_an_alias(name):
    assert check_alias(name) == name


@pytest.mark.parametrize(
    "name", ["", "-x", "a b", "a~1", "a@b", "latest", "latest-3", "beef", "DEAD-7", "a\x1b[0m", "a\ud800", "x" * 101]
)
def test_names_that_would_be_read_as_something_else_are_refused(name):
    with pytest.raises(ConfigError):
        check_alias(name)
