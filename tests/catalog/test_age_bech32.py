"""Bech32: bytes as text, and no typo goes unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.age.bech32 import decode, encode
from catalog.errors import Malformed

PREFIX = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).map(str.lower)
# The examples of BIP 173.
VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "?1ezyfcl",
]
INVALID = ["pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8", "10a06t8", "1qzzfhee", ""]


@given(PREFIX, st.binary(max_size=80))
def test_what_was_encoded_is_decoded_in_either_case(prefix, data):
    text = encode(prefix, data)
    assert decode(text) == (prefix, data)
    assert decode(text.upper()) == (prefix.upper(), data)


@pytest.mark.parametrize("text", VALID)
def test_the_examples_of_the_standard_are_accepted_where_they_hold_whole_bytes(text):
    try:
        prefix, data = decode(text)
    except Malformed as error:
        assert "belong to nothing" in str(error)
    else:
        assert encode(prefix.lower(), data) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_the_wrong_examples_of_the_standard_are_refused(text):
    with pytest.raises(Malformed):
        decode(text)


@given(st.data(), st.binary(min_size=1, max_size=40))
def test_a_wrong_letter_a_missing_one_and_two_exchanged_are_found(data, content):
    text = encode("age", content)
    place = data.draw(st.integers(4, len(text) - 1))
    letter = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
    for typo in (
        text[:place] + letter + text[place + 1 :],
        text[: place - 1] + text[place] + text[place - 1] + text[place + 1 :],
    ):
        if typo != text:
            with pytest.raises(Malformed, match="checksum"):
                decode(typo)


@given(st.text(max_size=60))
def test_any_text_is_refused_with_nothing_but_malformed(text):
    try:
        prefix, data = decode(text)
    except Malformed as error:
        assert str(error)
    else:
        assert decode(encode(prefix.lower(), data)) == (prefix.lower(), data)


def test_letters_of_both_cases_do_not_mix():
    with pytest.raises(Malformed, match="mixes"):
        decode("a12UEL5L")
