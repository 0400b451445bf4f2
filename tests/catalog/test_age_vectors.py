"""The public test vectors of the age format (npm: cctv-age), each with the outcome that it asks for.

Two things we leave to the stock tool, and refuse with words that say so: files in letters (armored), and
post-quantum identities. What is refused of those is refused for that reason.
"""

from __future__ import annotations

import hashlib

import pytest
from support.age import NO_VECTORS, VECTORS, vectors
from support.streams import Given

from catalog.age.file import open_encrypted
from catalog.age.keys import Identity, Passphrase
from catalog.errors import Corrupt, IdentityError, Malformed

POST_QUANTUM = "AGE-SECRET-KEY-PQ-"
BINARY = [vector for vector in vectors() if not vector.armored]
HYBRID = [v for v in BINARY if v.identities and all(text.startswith(POST_QUANTUM) for text in v.identities)]
PLAIN = [vector for vector in BINARY if vector not in HYBRID]


def each(chosen):
    given = [pytest.param(vector, id=vector.name) for vector in chosen]
    return pytest.mark.parametrize("vector", given)


def openers(vector):
    known = [text for text in vector.identities if not text.startswith(POST_QUANTUM)]
    return [*map(Identity.parse, known), *map(Passphrase, vector.passphrases)]


def opened(vector):
    return open_encrypted(Given(vector.file), openers(vector) or [Identity.new()])


def released(reader):
    """All that comes out, and the damage that ended it."""
    pieces = []
    try:
        while piece := reader.read(1 << 20):
            pieces.append(piece)
    except Corrupt as damage:
        return b"".join(pieces), damage
    return b"".join(pieces), None


@pytest.mark.skipif(not VECTORS.exists(), reason=NO_VECTORS)
def test_there_are_vectors_of_every_outcome():
    outcomes = {vector.expect for vector in PLAIN}
    assert outcomes == {"success", "no match", "HMAC failure", "header failure", "payload failure"}
    assert len(PLAIN) > 90


@each([vector for vector in PLAIN if vector.expect in ("success", "payload failure")])
def test_what_can_be_decrypted_comes_out_and_nothing_else(vector):
    content, damage = released(opened(vector))
    assert (damage is not None) == (vector.expect == "payload failure")
    assert vector.payload is None or hashlib.sha256(content).hexdigest() == vector.payload
    assert vector.payload is not None or not content


@each([vector for vector in PLAIN if vector.expect in ("header failure", "HMAC failure")])
def test_a_header_that_the_format_does_not_allow_is_refused_before_anything_is_read(vector):
    with pytest.raises(Corrupt) as caught:
        opened(vector)
    assert ("seal does not fit" in str(caught.value)) == (vector.expect == "HMAC failure")
    assert caught.value.hint


@each([vector for vector in PLAIN if vector.expect == "no match"])
def test_a_file_for_others_is_refused_and_says_what_to_do(vector):
    with pytest.raises(IdentityError) as caught:
        opened(vector)
    assert caught.value.hint


@each([vector for vector in vectors() if vector.armored])
def test_a_file_in_letters_is_refused(vector):
    with pytest.raises(Corrupt):
        opened(vector)
    if vector.file.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----"):
        with pytest.raises(Corrupt, match="armored"):
            opened(vector)


@each(HYBRID)
def test_a_post_quantum_identity_is_refused_as_a_kind_that_we_do_not_know(vector):
    with pytest.raises(Malformed, match="kind") as caught:
        Identity.parse(vector.identities[0])
    assert vector.identities[0] not in str(caught.value) and "age -d" in caught.value.hint
