import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.values import lsns

from catalog.errors import ProtocolError, WalstreamError
from catalog.lsn import LSN
from walstream.messages import EPOCH_2000, Keepalive, WalData, parse, status_update

# From a server of version 15: nothing to send, sent so far 0/1741668, no reply wanted.
KEEPALIVE = bytes.fromhex("6b0000000001741668000303d976899d0000")
moments = st.integers(-(1 << 62), 1 << 62)


def wal_data(start, end, sent, payload):
    return struct.pack(">cQQq", b"w", start.value, end.value, sent) + payload


def test_a_keepalive_of_a_real_server_is_read():
    found = parse(KEEPALIVE)
    assert isinstance(found, Keepalive)
    assert (found.position, found.reply_requested) == (LSN.parse("0/1741668"), False)
    assert 1.7e9 < found.sent_at < 1.9e9  # in this decade


@given(lsns, lsns, moments, st.binary(max_size=100))
def test_wal_data_is_read_as_it_was_sent(start, end, sent, payload):
    found = parse(wal_data(start, end, sent, payload))
    assert isinstance(found, WalData)
    assert (found.start, found.server_end, bytes(found.payload)) == (start, end, payload)
    assert found.sent_at == pytest.approx(sent / 1e6 + EPOCH_2000)


@given(lsns, moments, st.integers(0, 255))
def test_a_keepalive_is_read_as_it_was_sent(position, sent, reply):
    found = parse(struct.pack(">cQqB", b"k", position.value, sent, reply))
    assert (found.position, found.reply_requested) == (position, reply != 0)


def test_the_payload_is_a_view_of_the_message_and_no_copy():
    message = bytearray(wal_data(LSN(8), LSN(16), 0, b"abc"))
    payload = parse(memoryview(message)).payload
    message[-1] = ord("d")
    assert bytes(payload) == b"abd"


def test_wal_data_ends_behind_its_payload():
    assert parse(wal_data(LSN(8), LSN(99), 0, b"abc")).end == LSN(11)


@given(st.binary(max_size=60))
@example(KEEPALIVE[:-1])
@example(KEEPALIVE + b"x")
@example(b"w" + bytes(23))
@example(b"")
def test_no_bytes_raise_anything_but_a_protocol_error(message):
    try:
        found = parse(message)
    except ProtocolError as error:
        assert "unknown replication message" in error.message
    else:
        assert message[:1] in (b"w", b"k")
        assert isinstance(found, WalData | Keepalive)


def test_an_unknown_message_is_shown_in_part_only():
    with pytest.raises(ProtocolError) as caught:
        parse(b"z" * 100_000)
    assert len(str(caught.value)) < 150


def test_wal_beyond_the_last_position_is_one_of_our_errors():
    with pytest.raises(WalstreamError):
        _ = parse(wal_data(LSN((1 << 64) - 1), LSN(0), 0, b"ab")).end


@given(lsns, lsns, lsns, st.floats(0, 1e10), st.booleans())
def test_a_status_update_has_what_it_was_made_of(written, flushed, applied, now, asks):
    message = status_update(written, flushed, applied, now, reply_requested=asks)
    tag, *positions, sent, reply = struct.unpack(">cQQQq?", message)
    assert (tag, reply, len(message)) == (b"r", asks, 34)
    assert [LSN(position) for position in positions] == [written, flushed, applied]
    assert sent / 1e6 + EPOCH_2000 == pytest.approx(now, abs=1e-5)
