"""API keys: what they look like, what their checksum finds, what is stored of them."""

import string

import pytest
from pydantic import SecretStr

from api.keys import new_key, parse_key

PARTNERS = ["acme", "a", "acme_lending_live", "9.x-y_z"]


@pytest.mark.parametrize("partner", PARTNERS)
@pytest.mark.parametrize("mode", ["live", "sandbox"])
def test_a_key_says_whose_it_is(partner: str, mode: str) -> None:
    key = new_key(partner, "live" if mode == "live" else "sandbox")
    parsed = parse_key(key.text)
    assert parsed == key
    assert key.text.startswith(f"pk_{partner}_{mode}_")
    assert (key.partner_id, key.mode) == (partner, mode)


def test_every_typing_error_of_one_character_is_found() -> None:
    text = new_key("acme", "live").text
    for place, right in enumerate(text):
        for wrong in string.ascii_letters + string.digits + "_":
            if wrong != right:
                assert parse_key(text[:place] + wrong + text[place + 1 :]) is None


def test_swapped_neighbours_and_missing_characters_are_found() -> None:
    text = new_key("acme", "live").text
    for place in range(len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        assert swapped == text or parse_key(swapped) is None
        assert parse_key(text[:place] + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "pk_", "pk__live_", "ak_acme_live_x", "pk_acme_test_" + "a" * 38, "pk_ü_live_" + "a" * 38]
)
def test_what_is_no_key_is_told_without_a_lookup(text: str) -> None:
    assert parse_key(text) is None


def test_two_keys_never_agree_and_their_prefix_tells_little() -> None:
    keys = [new_key("acme", "live") for _ in range(100)]
    assert len({key.text for key in keys}) == 100
    assert all(len(key.text) - len(key.prefix) == 34 for key in keys)


def test_only_a_hash_is_stored_and_a_pepper_changes_it() -> None:
    key = new_key("acme", "live")
    assert len(key.hash(None)) == 64
    assert key.hash(None) != key.hash(SecretStr("pepper")) != key.hash(SecretStr("salt"))
    assert key.text not in repr(key)


def test_a_partner_id_that_is_none_gets_no_key() -> None:
    with pytest.raises(ValueError, match="no partner id"):
        new_key("a:b", "live")
