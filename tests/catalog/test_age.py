"""Age files of our own, both ways; whatever is done to one on its way is found out."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.age import OTHERS, OURS, decrypt, encrypt
from support.streams import Given, Kept, drain

from catalog.age.file import encrypted, open_encrypted
from catalog.age.header import MOST, VERSION_LINE, Stanza, read_header, to_base64
from catalog.age.keys import Identity, Passphrase, Recipient, unwrap, wrap
from catalog.age.payload import NONCE_SIZE, PIECE, TAG, EncryptingSink
from catalog.errors import Corrupt, IdentityError, Malformed

SEALED = PIECE + TAG
SIZES = [0, 1, 100, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, 16 * PIECE, 17 * PIECE + 5]


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def parts(stored):
    """Header, nonce and sealed pieces of a file."""
    size = read_header(Given(stored))[0].size
    body = stored[size + NONCE_SIZE :]
    return (
        stored[:size],
        stored[size : size + NONCE_SIZE],
        [body[start : start + SEALED] for start in range(0, len(body), SEALED)],
    )


def refused(stored, match=None):
    with pytest.raises(Corrupt, match=match) as caught:
        decrypt(stored)
    assert caught.value.hint


@pytest.mark.parametrize("size", SIZES)
def test_what_was_encrypted_comes_back_and_takes_as_little_room_as_the_format_allows(size):
    data = noise(size)
    stored = encrypt(data)
    assert decrypt(stored) == data
    header, _, pieces = parts(stored)
    assert len(pieces) == max(1, -(-size // PIECE))
    assert len(stored) == len(header) + NONCE_SIZE + size + len(pieces) * TAG


@given(st.binary(max_size=400), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
def test_it_does_not_matter_how_the_bytes_are_cut(data, cut, n, most):
    assert decrypt(encrypt(data, cut=cut), n=n, most=most) == data


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([1, 7, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE]), max_size=6),
    st.sampled_from([1000, PIECE, 1 << 20]),
    st.sampled_from([999, SEALED, SEALED + 1, 1 << 20]),
)
def test_nor_around_the_borders_of_pieces(sizes, n, most):
    kept = Kept()
    sink = encrypted(kept, [OURS.recipient])
    for number, size in enumerate(sizes):
        sink.write(bytearray(noise(size, number)))
    sink.finish()
    expected = b"".join(noise(size, number) for number, size in enumerate(sizes))
    assert decrypt(kept.content, n=n, most=most) == expected


def test_one_of_several_recipients_is_enough():
    stored = encrypt(b"for two", OURS.recipient, OTHERS.recipient)
    assert decrypt(stored, OURS) == decrypt(stored, OTHERS) == b"for two"
    assert decrypt(stored, Identity.new(), OTHERS) == b"for two"


def test_another_identity_is_refused_with_what_to_do():
    with pytest.raises(IdentityError, match="the identity given does not open it") as caught:
        decrypt(encrypt(b"secret"), OTHERS)
    assert "does not tell whose" in caught.value.hint
    with pytest.raises(IdentityError, match="none of 2 identities opens it"):
        decrypt(encrypt(b"secret"), OTHERS, Identity.new())


def test_no_two_files_share_a_key_a_nonce_or_a_share():
    first, second = encrypt(b"the same"), encrypt(b"the same")
    one, other = parts(first), parts(second)
    assert one[0] != other[0] and one[1] != other[1] and one[2] != other[2]


def test_nothing_of_the_content_shows():
    marker = b"a row of an account"
    assert marker not in encrypt(marker * 10000)


def test_stanzas_that_nobody_knows_are_skipped_and_sealed():
    extra = Stanza(("walstream-sha256", "x"), bytes(100))
    stored = encrypt(b"content", extra=[extra])
    header, _ = read_header(Given(stored))
    assert [stanza.type for stanza in header.stanzas] == ["X25519", "walstream-sha256"]
    assert header.stanzas[1].body == bytes(100)
    assert decrypt(stored) == b"content"
    refused(stored.replace(b"walstream-sha256 x", b"walstream-sha256 y"), "seal does not fit")


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 96, 1000])
def test_a_stanza_of_any_length_reads_as_it_was_written(size):
    header, _ = wrap([OURS.recipient], [Stanza(("a", "b!~"), noise(size))])
    found = read_header(Given(header))[0].stanzas[1]
    assert (found.arguments, found.body) == (("a", "b!~"), noise(size))


def test_a_new_header_opens_the_old_bytes_to_new_recipients():
    stored = encrypt(b"content" * 20000, OURS.recipient)
    header, rest = read_header(Given(stored))
    new, _ = wrap([OTHERS.recipient], header.stanzas[1:], unwrap(header, [OURS]))
    renewed = new + drain(rest)
    assert decrypt(renewed, OTHERS) == b"content" * 20000
    with pytest.raises(IdentityError):
        decrypt(renewed, OURS)


def test_a_file_cut_off_anywhere_is_refused():
    stored = encrypt(noise(2 * PIECE + 100))
    lengths = {0, 1, 10, *range(0, len(stored), 7919), *range(len(stored) - SEALED - 130, len(stored), 61)}
    header, _, pieces = parts(stored)
    ends = [len(header) + NONCE_SIZE + SEALED * number for number in range(len(pieces) + 1)]
    lengths.update(end + step for end in ends[:-1] for step in (-1, 0, 1))
    for length in lengths:
        refused(stored[:length])


def test_pieces_exchanged_doubled_left_out_or_added_are_refused():
    header, nonce, (one, two, three, last) = parts(encrypt(noise(3 * PIECE + 5)))
    for pieces in (
        [two, one, three, last],
        [one, three, two, last],
        [one, one, two, three, last],
        [two, three, last],
        [one, three, last],
        [one, two, last],
        [last],
        [one, two, three, last, last],
        [one, two, three, last, b"x"],
        [one, two, three, last, one],
    ):
        refused(header + nonce + b"".join(pieces))
    assert decrypt(header + nonce + one + two + three + last) == noise(3 * PIECE + 5)


def test_pieces_of_another_file_for_the_same_recipient_are_refused():
    ours, other = parts(encrypt(noise(2 * PIECE))), parts(encrypt(noise(2 * PIECE, seed=2)))
    refused(ours[0] + ours[1] + ours[2][0] + other[2][1])
    refused(ours[0] + ours[1] + b"".join(other[2]))
    refused(ours[0] + other[1] + b"".join(other[2]))
    refused(other[0] + ours[1] + b"".join(ours[2]))


@given(st.data(), st.sampled_from([3, PIECE + 100]), st.integers(1, 255))
@settings(max_examples=300)
def test_no_byte_can_be_changed_unseen(data, size, flip):
    stored = bytearray(encrypt(noise(size)))
    header, _, _ = parts(stored)
    # Most bytes are payload: without this the header would hardly ever be met.
    place = data.draw(st.integers(0, len(header) + NONCE_SIZE - 1) | st.integers(0, len(stored) - 1))
    stored[place] ^= flip
    with pytest.raises((Corrupt, IdentityError)):
        decrypt(bytes(stored))


def test_no_bit_of_a_small_file_can_be_changed_unseen():
    stored = encrypt(b"xyz")
    for place in range(len(stored)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[place] ^= 1 << bit
            with pytest.raises((Corrupt, IdentityError)):
                decrypt(bytes(changed))


@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_corrupt(garbage, behind):
    with pytest.raises((Corrupt, IdentityError)):
        decrypt((VERSION_LINE + b"\n-> X25519 " if behind else b"") + garbage)


def test_what_was_found_corrupt_stays_corrupt_and_what_is_whole_was_checked_before():
    header, nonce, (one, two) = parts(encrypt(noise(PIECE + 10)))
    reader = open_encrypted(Given(header + nonce + one + two[:-1]), [OURS])
    assert released_by(reader) == noise(PIECE + 10)[:PIECE]
    with pytest.raises(Corrupt):
        reader.read(1)


def released_by(reader):
    pieces = []
    with pytest.raises(Corrupt):
        while True:
            pieces.append(reader.read(1 << 20))
    return b"".join(pieces)


@pytest.mark.parametrize("start", [b"", VERSION_LINE + b"\n-> X25519 "])
def test_an_endless_header_is_refused_in_bounded_memory(start):
    endless = Given(start + b"x" * 10 * MOST)
    with pytest.raises(Corrupt, match="more than"):
        read_header(endless)
    assert endless.taken < 2 * MOST


def test_a_whole_piece_that_only_ends_too_soon_comes_out_before_that_is_said():
    header, nonce, (one, two) = parts(encrypt(noise(2 * PIECE)))
    for stored in (header + nonce + one, header + nonce + one + two + b"more"):
        content = released_by(open_encrypted(Given(stored), [OURS]))
        assert content == noise(2 * PIECE)[: len(stored) // SEALED * PIECE]


def test_a_file_in_letters_and_one_of_another_version_say_what_they_are():
    refused(b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl", "armored")
    refused(b"-----BEGIN AGE ENCRYPTED FILE-----", "armored")
    refused(b"age-encryption.org/v2\nxyz", "another version")
    refused(b"age-encryption.org/v2", "another version")
    refused(b"(\xb5/\xfd a compressed file", "not an age file")
    refused(b"\n", "not an age file")
    refused(b"", "empty")


def test_a_work_factor_beyond_reason_is_refused_before_it_is_tried():
    body, salt = to_base64(bytes(32)), to_base64(bytes(16))
    for factor in (b"23", b"64", b"9" * 5000):
        header = b"\n".join(
            [VERSION_LINE, b"-> scrypt " + salt + b" " + factor, body, b"--- " + to_base64(bytes(32)), b""]
        )
        with pytest.raises(Corrupt, match="work factor"):
            decrypt(header + bytes(50), Passphrase("word"))


def test_a_file_of_a_passphrase_is_not_opened_by_an_identity():
    body, salt = to_base64(bytes(32)), to_base64(bytes(16))
    lines = [VERSION_LINE, b"-> scrypt " + salt + b" 10", body, b"--- " + to_base64(bytes(32)), b""]
    with pytest.raises(IdentityError, match="passphrase"):
        decrypt(b"\n".join(lines) + bytes(50))


def test_a_file_without_recipients_cannot_be_made():
    with pytest.raises(ValueError, match="without recipients"):
        wrap([])


@pytest.mark.parametrize("public", [bytes(32), bytes([1, *bytes(31)])])
def test_a_recipient_that_is_no_key_is_refused(public):
    with pytest.raises(Malformed, match="nobody can have the key"):
        wrap([Recipient(public)])


def test_the_sink_passes_on_what_it_is_told_at_the_end():
    kept = Kept()
    EncryptingSink(bytes(16), kept).abort()
    assert (kept.finished, kept.aborted) == (0, 1)


def test_closing_the_reader_closes_what_it_reads_from():
    given = Given(encrypt(b"content"))
    open_encrypted(given, [OURS]).close()
    assert given.closed == 1


def test_little_is_read_ahead_and_little_is_held_back():
    given = Given(encrypt(noise(64 * PIECE)))
    reader = open_encrypted(given, [OURS])
    assert len(reader.read(1 << 30)) == PIECE and given.taken < 8 * PIECE
    kept = Kept()
    sink = encrypted(kept, [OURS.recipient])
    sink.write(noise(64 * PIECE))
    assert len(kept.content) > 40 * PIECE and max(map(len, kept.pieces)) <= 17 * PIECE


def test_the_content_can_be_hashed_behind_the_header_without_a_key():
    stored = encrypt(noise(PIECE * 2), OURS.recipient, OTHERS.recipient)
    header, rest = read_header(Given(stored))
    assert hashlib.sha256(drain(rest)).digest() == hashlib.sha256(stored[header.size :]).digest()
