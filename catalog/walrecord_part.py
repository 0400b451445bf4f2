"""A WAL record that has come in part, and what joins a segment's records to the next one's. Pure.

A record goes on over as many pages and segments as it takes. Its checksum is computed while it passes, and its
bytes are kept only if somebody wants them. Where a segment ends in the middle of one, a ``Joint`` takes the part
over to whoever reads the next segment, in another process if need be.
"""

from __future__ import annotations

from typing import NamedTuple

from catalog.crc32c import crc32c

HEADER = 24
# Of a longer record only so much is kept; none that means something to us gets near that.
KEPT = 16 << 20


class Joint(NamedTuple):
    """What joins a segment's records to the next one's; plain values, so that it can be kept.

    ``prev`` is the last record's position. Of a record that goes on, its ``position``, the bytes that are
    ``missing``, its ``header`` (in hex, it may be cut) and the checksum ``crc`` of what is behind that; of one
    whose beginning was not held only that ``skip`` bytes are to come.
    """

    prev: int
    position: int
    missing: int
    header: str
    crc: int
    skip: int
    version: int


class RecordPart:
    """The beginning of a record: its header, and the checksum of what is behind that so far."""

    __slots__ = ("crc", "data", "header", "kept", "missing", "position")

    def __init__(self, position: int, length: int, is_wanted: bool) -> None:
        self.position = position
        self.kept = KEPT if is_wanted else 0
        self.missing = length
        self.header = b""
        self.data = bytearray()
        self.crc = 0

    @classmethod
    def resumed(cls, joint: Joint, is_wanted: bool) -> RecordPart:
        """The record that goes on behind a joint; what it holds so far is not known any more."""
        pending = cls(joint.position, joint.missing, is_wanted)
        pending.header, pending.crc = bytes.fromhex(joint.header), joint.crc
        return pending

    def joint(self, prev: int, version: int) -> Joint:
        """What ``resumed`` goes on from; ``prev`` is the last whole record's position."""
        return Joint(prev, self.position, self.missing, self.header.hex(), self.crc, 0, version)

    def add(self, piece: bytes) -> None:
        """Take the record's next bytes, at most as many as are ``missing``."""
        self.missing -= len(piece)
        lacking = HEADER - len(self.header)
        if lacking:
            self.header += piece[:lacking]
            piece = piece[lacking:]
        self.crc = crc32c(piece, self.crc)
        if len(self.data) < self.kept:
            self.data += piece
