import pytest

from runvault.errors import ConfigError
from runvault.model.canonical import find_credentials, refuse_credentials

LONG = "0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apikey",
        "apiKey",
        "API-KEY",
        "myAPIKey",
        "token",
        "AUTH_TOKEN",
        "accessToken",
        "password",
        "db.passwd",
        "clientSecret",
        "secret2",
        "private_key",
        "credential",
        "aws_access_key_id",
        "auth",
        "Authorization",
        "ssh key",
    ],
)
def test_names_that_look_like_credentials(name):
    with pytest.raises(ConfigError) as caught:
        refuse_credentials({"params": {name: LONG}})
    assert LONG not in str(caught.value)
    assert f"--allow {name}" in str(caught.value.hint)
    refuse_credentials({"params": {name: LONG}}, allow=[name])


@pytest.mark.parametrize("name", ["author", "tokenizer", "key", "keys", "monkey", "sort_key", "authority", "passes"])
def test_names_that_do_not(name):
    assert find_credentials({"params": {name: LONG}}) == []


def test_short_text_and_numbers_are_no_credentials():
    assert find_credentials({"params": {"token": LONG[:-1], "secret": 10**15, "password": None}}) == []


def test_nested_values_count_and_a_path_allows_one_of_them():
    config = {"settings": {"auth": {"user": [LONG, "x"]}}, "params": {"token": LONG}}
    assert find_credentials(config) == ["settings.auth.user[0]", "params.token"]
    with pytest.raises(ConfigError, match=r"settings\.auth\.user\[0\] looks like a credential"):
        refuse_credentials(config, allow=["params.token"])
    refuse_credentials(config, allow=["token", "auth"])
