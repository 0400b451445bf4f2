"""Positions in the write-ahead log, and the arithmetic of segments.

A position (LSN) is a byte offset and nothing else: it knows no timeline, no server version and no
segment size. Segments have a size that differs between clusters (1 MB to 1 GB, a power of two), so
every question about segments is asked of a ``SegmentSize``. On the path of ``get-wal``: no
dataclasses, no regular expressions.
"""

from __future__ import annotations

from catalog.errors import Malformed

_HEX = frozenset("0123456789abcdefABCDEF")


class LSN:
    """A byte position in the write-ahead log, written like ``16/B374D848``."""

    __slots__ = ("value",)
    value: int

    def __init__(self, value: int) -> None:
        if not 0 <= value < 1 << 64:
            raise Malformed(f"not an LSN: {value} does not fit in 64 bits")
        object.__setattr__(self, "value", value)

    @classmethod
    def parse(cls, text: str) -> LSN:
        """Read ``hex/hex``, each part of one to eight digits; anything else is ``Malformed``."""
        high, slash, low = text.partition("/")
        if not slash or not _is_hex(high, 8) or not _is_hex(low, 8):
            raise Malformed(f"not an LSN: {text!r}", "an LSN looks like 16/B374D848")
        return cls(int(high, 16) << 32 | int(low, 16))

    def __str__(self) -> str:
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"LSN({self})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an LSN cannot be changed")

    def __reduce__(self) -> tuple[type[LSN], tuple[int]]:
        return LSN, (self.value,)

    def __hash__(self) -> int:
        return hash(self.value)

    def __bool__(self) -> bool:
        """False only for 0/0, which PostgreSQL calls the invalid position."""
        return self.value != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LSN) and self.value == other.value

    def __lt__(self, other: LSN) -> bool:
        return self.value < other.value

    def __le__(self, other: LSN) -> bool:
        return self.value <= other.value

    def __gt__(self, other: LSN) -> bool:
        return self.value > other.value

    def __ge__(self, other: LSN) -> bool:
        return self.value >= other.value

    def __add__(self, nbytes: int) -> LSN:
        return LSN(self.value + nbytes)

    def __sub__(self, earlier: LSN) -> int:
        return self.value - earlier.value


class SegmentSize:
    """The size of a cluster's WAL segments in bytes: a power of two from 1 MB to 1 GB."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: int) -> None:
        if nbytes & (nbytes - 1) or not 1 << 20 <= nbytes <= 1 << 30:
            raise Malformed(f"not a WAL segment size: {nbytes} bytes")
        self.nbytes = nbytes

    @classmethod
    def parse(cls, text: str) -> SegmentSize:
        """Read what ``SHOW wal_segment_size`` answers: ``16MB``, ``1GB``."""
        for unit, factor in (("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("B", 1)):
            number = text.removesuffix(unit)
            if number != text and number.isdecimal():
                return cls(int(number) * factor)
        raise Malformed(f"not a WAL segment size: {text!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SegmentSize) and self.nbytes == other.nbytes

    def __hash__(self) -> int:
        return hash(self.nbytes)

    def __repr__(self) -> str:
        return f"SegmentSize({self.nbytes})"

    @property
    def per_log(self) -> int:
        """How many segments make up 4 GiB: the number base of the last part of a segment's name."""
        return (1 << 32) // self.nbytes

    def number_at(self, position: LSN) -> int:
        """The number of the segment that holds the byte at ``position``: for starts of spans."""
        return position.value // self.nbytes

    def number_before(self, position: LSN) -> int:
        """The number of the segment that holds the byte before ``position``: for ends of spans."""
        return (position.value - 1) // self.nbytes

    def start(self, number: int) -> LSN:
        """The position of the first byte of segment ``number``."""
        return LSN(number * self.nbytes)

    def floor(self, position: LSN) -> LSN:
        """The start of the segment that holds the byte at ``position``."""
        return LSN(position.value - position.value % self.nbytes)

    def offset(self, position: LSN) -> int:
        """How far into its segment ``position`` lies, in bytes."""
        return position.value % self.nbytes


def _is_hex(text: str, most: int) -> bool:
    return 0 < len(text) <= most and _HEX.issuperset(text)
