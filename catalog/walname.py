"""Names of WAL files: parsing and formatting, for any segment size.

A segment's name is its timeline and its number, the number written in two parts whose base
depends on the segment size (PostgreSQL: ``XLogFileName`` in ``xlog_internal.h``), so a name becomes a
``Segment`` only together with a ``SegmentSize``. On the path of ``get-wal``.
"""

from __future__ import annotations

from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize

_DIGITS = frozenset("0123456789ABCDEF")

SEGMENT = "segment"
PARTIAL = "partial"
HISTORY = "history"
BACKUP = "backup"


class Segment:
    """One WAL segment: a timeline and a number, ordered by timeline first."""

    __slots__ = ("number", "timeline")
    timeline: int
    number: int

    def __init__(self, timeline: int, number: int) -> None:
        if not 0 < timeline < 1 << 32 or number < 0:
            raise Malformed(f"not a WAL segment: timeline {timeline}, number {number}")
        object.__setattr__(self, "timeline", timeline)
        object.__setattr__(self, "number", number)

    @classmethod
    def parse(cls, name: str, size: SegmentSize) -> Segment:
        """Read a 24-digit name; ``Malformed`` for any other text or a name of another size."""
        if kind_of(name) != SEGMENT:
            raise Malformed(f"not the name of a WAL segment: {name!r}")
        high, low = int(name[8:16], 16), int(name[16:], 16)
        if low >= size.per_log:
            raise Malformed(f"{name!r} is not the name of a segment of {size.nbytes >> 20} MB")
        return cls(int(name[:8], 16), high * size.per_log + low)

    @classmethod
    def at(cls, timeline: int, position: LSN, size: SegmentSize) -> Segment:
        """The segment that holds the byte at ``position``."""
        return cls(timeline, size.number_at(position))

    def name(self, size: SegmentSize) -> str:
        """The 24-digit name."""
        high, low = divmod(self.number, size.per_log)
        return f"{self.timeline:08X}{high:08X}{low:08X}"

    def start(self, size: SegmentSize) -> LSN:
        """The position of its first byte."""
        return size.start(self.number)

    def end(self, size: SegmentSize) -> LSN:
        """The position behind its last byte."""
        return size.start(self.number + 1)

    def next(self) -> Segment:
        """The segment behind it on the same timeline."""
        return Segment(self.timeline, self.number + 1)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a segment cannot be changed")

    def __reduce__(self) -> tuple[type[Segment], tuple[int, int]]:
        return Segment, (self.timeline, self.number)

    def __repr__(self) -> str:
        return f"Segment({self.timeline}, {self.number})"

    def __hash__(self) -> int:
        return hash((self.timeline, self.number))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segment) and self.timeline == other.timeline and self.number == other.number

    def __lt__(self, other: Segment) -> bool:
        return (self.timeline, self.number) < (other.timeline, other.number)


def kind_of(name: str) -> str | None:
    """Which kind of WAL file ``name`` is the name of: one of the four constants, or None.

    Suffixes of codecs are not part of a WAL file's name: take them off first.
    """
    stem, _, suffix = name.partition(".")
    if len(stem) == 24 and _DIGITS.issuperset(stem) and int(stem[:8], 16):
        if not suffix:
            return SEGMENT if name == stem else None
        if suffix == "partial":
            return PARTIAL
        offset, _, last = suffix.partition(".")
        if last == "backup" and len(offset) == 8 and _DIGITS.issuperset(offset):
            return BACKUP
    elif suffix == "history" and len(stem) == 8 and _DIGITS.issuperset(stem) and int(stem, 16):
        return HISTORY
    return None


def is_low_part(text: str) -> bool:
    """Whether a segment's name can end so: eight digits, behind the sixteen that name its directory."""
    return len(text) == 8 and _DIGITS.issuperset(text)


def history_name(timeline: int) -> str:
    """The name of the history file of a timeline."""
    return f"{timeline:08X}.history"


def timeline_in(name: str) -> int:
    """The timeline that a WAL file's name begins with."""
    if kind_of(name) is None:
        raise Malformed(f"not the name of a WAL file: {name!r}")
    return int(name[:8], 16)
