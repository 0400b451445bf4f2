import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.sink import PIECE, Measured, pump


class Memory:
    """A sink that remembers what was done to it."""

    def __init__(self, room=1 << 40):
        self.content = bytearray()
        self.end = None
        self.room = room

    def write(self, data):
        if len(self.content) + len(data) > self.room:
            raise OSError(28, "No space left on device")
        self.content += data

    def finish(self):
        self.end = "finished"

    def abort(self):
        self.end = "aborted"


@given(st.lists(st.binary(max_size=100)))
def test_measuring_passes_everything_on_and_knows_size_and_hash(pieces):
    memory = Memory()
    measured = Measured(memory)
    for piece in pieces:
        measured.write(memoryview(piece))
    measured.finish()
    content = b"".join(pieces)
    assert (memory.content, memory.end) == (content, "finished")
    assert (measured.nbytes, measured.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_size_of_wide_items_is_counted_in_bytes():
    measured = Measured(Memory())
    measured.write(memoryview(bytes(16)).cast("Q"))
    assert measured.nbytes == 16


def test_measuring_hands_an_abort_on():
    memory = Memory()
    Measured(memory).abort()
    assert memory.end == "aborted"


@pytest.mark.parametrize("size", [0, 1, PIECE, 3 * PIECE + 1])
def test_pumping_moves_all_bytes_and_finishes(size):
    memory = Memory()
    assert pump(io.BytesIO(bytes(size)), memory) == size
    assert (len(memory.content), memory.end) == (size, "finished")


def test_pumping_into_a_full_sink_aborts_it():
    memory = Memory(room=PIECE)
    with pytest.raises(OSError, match="No space"):
        pump(io.BytesIO(bytes(2 * PIECE)), memory)
    assert memory.end == "aborted"


def test_a_reader_that_fails_aborts_the_sink():
    class Broken:
        def read(self, n):
            raise KeyboardInterrupt

    memory = Memory()
    with pytest.raises(KeyboardInterrupt):
        pump(Broken(), memory)
    assert memory.end == "aborted"
