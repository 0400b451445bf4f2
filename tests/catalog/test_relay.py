import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import Kept

from catalog.relay import Relay


class Failing(Kept):
    """Fails at its second piece."""

    def write(self, data):
        if self.pieces:
            raise OSError(28, "No space left on device")
        super().write(data)


class Slow(Kept):
    """Takes nothing before it is told to."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()

    def write(self, data):
        assert self.go_on.wait(30)
        super().write(data)


pieces = st.lists(
    st.tuples(st.binary(max_size=40), st.sampled_from([bytes, bytearray, memoryview])), max_size=30
)


@given(pieces, st.integers(1, 50), st.integers(1, 4))
def test_all_bytes_arrive_in_order(given_pieces, size, count):
    kept = Kept()
    relay = Relay(kept, size, count)
    for data, kind in given_pieces:
        relay.write(kind(data))
    relay.finish()
    assert kept.content == b"".join(data for data, _ in given_pieces)
    assert (kept.finished, kept.aborted) == (1, 0)


def test_what_the_writer_does_to_its_buffer_afterwards_changes_nothing():
    kept, buffer = Slow(), bytearray(b"abcd")
    relay = Relay(kept, 2, 4)
    relay.write(buffer)
    buffer[:] = b"xxxx"
    kept.go_on.set()
    relay.finish()
    assert kept.content == b"abcd"


def test_large_bytes_are_passed_on_without_being_cut():
    kept = Kept()
    relay = Relay(kept, 8)
    relay.write(b"ab")
    relay.write(bytes(100))
    relay.finish()
    assert [len(piece) for piece in kept.pieces] == [2, 100]


def test_the_writer_waits_when_all_buffers_are_full():
    kept = Slow()
    relay = Relay(kept, 1, 3)
    written = []

    def write():
        for number in range(10):
            relay.write(bytes([number]))
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive() and len(written) == 2
    kept.go_on.set()
    writer.join(30)
    relay.finish()
    assert kept.content == bytes(range(10))


def test_a_failure_behind_is_raised_in_front_and_again_by_finish():
    relay = Relay(Failing(), 1, 2)
    with pytest.raises(OSError, match="No space left"):
        for _ in range(1000):
            relay.write(b"x")
    with pytest.raises(OSError, match="No space left"):
        relay.finish()
    relay.abort()


def test_a_failure_with_the_last_piece_is_not_lost():
    failing = Failing()
    relay = Relay(failing, 1, 4)
    relay.write(bytearray(b"xy"))
    with pytest.raises(OSError, match="No space left"):
        relay.finish()
    relay.abort()
    relay.abort()
    assert (failing.finished, failing.aborted) == (0, 2)


def test_what_is_aborted_waits_for_nothing_but_the_piece_at_work():
    kept = Slow()
    relay = Relay(kept, 1, 4)
    relay.write(bytearray(b"abc"))
    threading.Timer(0.1, kept.go_on.set).start()
    relay.abort()
    assert len(kept.content) <= 1
    assert (kept.finished, kept.aborted) == (0, 1)
