"""Recipients and identities as text: typos are found, mistakes named, secrets not repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.age import OURS

from catalog.age.keys import Identity, Recipient
from catalog.errors import Malformed

# From the specification.
RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"


def test_the_keys_of_the_specification_belong_together():
    identity = Identity.parse(IDENTITY)
    assert identity.secret_text() == IDENTITY
    assert str(identity.recipient) == RECIPIENT == str(Recipient.parse(RECIPIENT))


def test_a_new_identity_is_read_back_and_is_never_the_same():
    identity = Identity.new()
    assert str(Identity.parse(identity.secret_text()).recipient) == str(identity.recipient)
    assert identity.secret_text() != Identity.new().secret_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RECIPIENT[:-1] + "q", "checksum"),
        (RECIPIENT[:-1], "checksum"),
        (RECIPIENT + "q", "checksum"),
        (RECIPIENT.replace("zv", "vz"), "checksum"),
        (RECIPIENT.upper(), "small letters"),
        (RECIPIENT[:10] + RECIPIENT[10:].upper(), "mixes"),
        (RECIPIENT.replace("k", "1", 1), "not an age recipient"),
        ("", "not an age recipient"),
        ("backup-team", "not an age recipient"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIr", "SSH keys"),
        ("age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e", "kind"),
    ],
)
def test_a_recipient_that_is_none_is_refused_with_the_reason(text, words):
    with pytest.raises(Malformed, match=words) as caught:
        Recipient.parse(text)
    assert text in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("text", [IDENTITY, IDENTITY.lower(), IDENTITY[:-3]])
def test_an_identity_among_the_recipients_is_not_repeated(text):
    with pytest.raises(Malformed, match="secret") as caught:
        Recipient.parse(text)
    assert text[16:40] not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (IDENTITY[:-1] + "Q", "checksum"),
        (IDENTITY[:-6], "checksum"),
        (IDENTITY.lower(), "capital letters"),
        (IDENTITY[:30] + IDENTITY[30:].lower(), "mixes"),
        (RECIPIENT, "recipient, not an identity"),
        ("AGE-PLUGIN-YUBIKEY-1QQPQQYQCRV4", "kind"),
        ("AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QM", "kind"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "kind"),
        ("password", "not an age identity"),
    ],
)
def test_an_identity_that_is_none_is_refused_with_the_reason_alone(text, words):
    with pytest.raises(Malformed, match=words) as caught:
        Identity.parse(text)
    assert text.startswith("age1") or text not in str(caught.value) + caught.value.hint


@given(st.text(max_size=80))
def test_any_other_text_is_neither(text):
    for parse in (Recipient.parse, Identity.parse):
        with pytest.raises(Malformed):
            parse(text)


def test_what_prints_an_identity_does_not_print_the_secret():
    assert OURS.secret_text()[20:40] not in repr(OURS) + str(OURS)
