"""Pieces read ahead: all of them, errors in their place, and an end at any moment."""

import threading

import pytest
from support.streams import Given

from backup.ahead import PIECE, PIECES, pieces_ahead
from catalog.errors import Corrupt


class Counting:
    """A reader without an end that counts; ``failing`` after so many pieces."""

    def __init__(self, failing=None):
        self.reads, self.closed, self.failing = 0, False, failing
        self.many = threading.Event()

    def read(self, n):
        if self.reads == self.failing:
            raise Corrupt("the third piece is damaged")
        self.reads += 1
        if self.reads > PIECES:
            self.many.set()
        return b"x"

    def close(self):
        self.closed = True


def threads():
    return [each for each in threading.enumerate() if each.name == "ahead"]


@pytest.mark.parametrize("length", [0, 1, PIECE, 11 * PIECE + 5])
def test_all_bytes_come_in_order(length):
    data = (bytes(range(256)) * (length // 256 + 1))[:length]
    with pieces_ahead(Given(data)) as pieces:
        assert b"".join(pieces) == data
    assert threads() == []


def test_what_reading_fails_with_is_raised_in_its_place():
    reader, got = Counting(failing=2), []
    with pytest.raises(Corrupt), pieces_ahead(reader) as pieces:
        got.extend([next(pieces), next(pieces)])
        next(pieces)
    assert (got, reader.closed, threads()) == ([b"x", b"x"], True, [])


def test_only_so_many_are_read_ahead_and_leaving_ends_it():
    reader = Counting()
    with pieces_ahead(reader) as pieces:
        next(pieces)
        assert reader.many.wait(10)
        # One was taken, and one is in the thread's hand.
        assert reader.reads <= PIECES + 2
    assert reader.closed and threads() == []
