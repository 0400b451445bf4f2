"""Timelines: history files, and the path of timelines that a recovery follows.

A history file (``00000003.history``) lists the ancestors of a timeline and the positions where each was
left. A path is the same knowledge as legs: which timeline's WAL counts from where to where.

The positions in a history need not rise: a server that recovers along timeline 3 but stops at a position
before 3 or even 2 began (``recovery_target = 'immediate'`` with the default timeline does) lists them all
the same. As in PostgreSQL (``tliOfPointInHistory``) a position then belongs to the newest timeline that
began at or before it, and ancestors that the switch went back behind have no part in the path. On the path
of ``wal-restore``.
"""

from __future__ import annotations

from itertools import pairwise

from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.lsn import SegmentSize
    from catalog.walname import Segment

_START = LSN(0)


class Switch(Value):
    """One line of a history file: ``timeline`` was left at ``position``."""

    __slots__ = ("position", "reason", "timeline")
    timeline: int
    position: LSN
    reason: str

    def __init__(self, timeline: int, position: LSN, reason: str = "") -> None:
        self._set(timeline, position, reason)


class History(Value):
    """The ancestry of ``timeline``: the switches that led to it, oldest first; none for timeline 1."""

    __slots__ = ("switches", "timeline")
    timeline: int
    switches: tuple[Switch, ...]

    def __init__(self, timeline: int, switches: tuple[Switch, ...] = ()) -> None:
        ids = [switch.timeline for switch in switches] + [timeline]
        if not ids[0] > 0 or ids[-1] >= 1 << 32 or any(a >= b for a, b in pairwise(ids)):
            raise Malformed(
                f"not a history of timeline {timeline}: its ancestors are {ids[:-1]}",
                "timelines of a history rise, and are below its own",
            )
        self._set(timeline, switches)

    @classmethod
    def parse(cls, timeline: int, data: bytes | str) -> History:
        """Read the history file of ``timeline``: blank lines, comments and any blanks between are allowed."""
        text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
        switches = []
        for line in text.split("\n"):
            fields = line.split(None, 2)
            if not fields or fields[0].startswith("#"):
                continue
            if len(fields) < 2 or not _is_number(fields[0]):
                raise Malformed(f"not a line of the history of timeline {timeline}: {line!r}")
            reason = fields[2].rstrip() if len(fields) == 3 else ""
            switches.append(Switch(int(fields[0]), LSN.parse(fields[1]), reason))
        return cls(timeline, tuple(switches))

    def format(self) -> bytes:
        """The file as PostgreSQL writes it."""
        lines = (f"{switch.timeline}\t{switch.position}\t{switch.reason}\n" for switch in self.switches)
        return "\n".join(lines).encode("utf-8", "surrogateescape")

    def timeline_at(self, position: LSN) -> int:
        """The timeline that the byte at ``position`` belongs to."""
        return Path.of(self).timeline_at(position)

    def switch_from(self, timeline: int) -> LSN | None:
        """Where the file says that ``timeline`` was left; None for one it does not list, as its own."""
        for switch in self.switches:
            if switch.timeline == timeline:
                return switch.position
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def contradicts(a: History, b: History) -> bool:
    """Whether the two tell different ancestries of one timeline: they are not of one family, then.

    That they leave a timeline at different positions is no contradiction: both may have branched off it.
    """
    shared = {*_timelines(a)} & {*_timelines(b)}
    return bool(shared) and _ancestry(a, max(shared)) != _ancestry(b, max(shared))


def _timelines(history: History) -> list[int]:
    return [switch.timeline for switch in history.switches] + [history.timeline]


def _ancestry(history: History, timeline: int) -> list[tuple[int, LSN]]:
    return [(switch.timeline, switch.position) for switch in history.switches if switch.timeline < timeline]


class Leg(Value):
    """A stretch of a path on one timeline, ``end`` exclusive and None on the last."""

    __slots__ = ("begin", "end", "timeline")
    timeline: int
    begin: LSN
    end: LSN | None

    def __init__(self, timeline: int, begin: LSN, end: LSN | None) -> None:
        self._set(timeline, begin, end)


class Path(Value):
    """The timelines that a recovery follows, oldest first, without a break from 0/0 on.

    The segment that holds a switch position exists on both timelines; on the path only the newer one's copy
    counts. Written like ``1@0/707E78,2@0/8000F8,3``: each timeline with the position where it is left.
    """

    __slots__ = ("legs",)
    legs: tuple[Leg, ...]

    def __init__(self, legs: tuple[Leg, ...]) -> None:
        self._set(legs)

    @classmethod
    def of(cls, history: History) -> Path:
        """The path that leads along ``history`` to its timeline."""
        legs: list[Leg] = []
        end: LSN | None = None
        begins = [_START, *(switch.position for switch in history.switches)]
        for timeline, begin in zip(reversed(_timelines(history)), reversed(begins), strict=True):
            if end is None or begin < end:
                legs.append(Leg(timeline, begin, end))
                end = begin
        return cls(tuple(reversed(legs)))

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read what ``str`` wrote."""
        *ancestors, last = text.split(",")
        switches = []
        for timeline, _, position in (word.partition("@") for word in ancestors):
            if not _is_number(timeline):
                raise Malformed(f"not a path of timelines: {text!r}")
            switches.append(Switch(int(timeline), LSN.parse(position)))
        if not _is_number(last):
            raise Malformed(f"not a path of timelines: {text!r}")
        path = cls.of(History(int(last), tuple(switches)))
        if len(path.legs) <= len(switches):
            raise Malformed(f"not a path of timelines: {text!r}", "the positions of a path rise")
        return path

    def __str__(self) -> str:
        return ",".join(f"{leg.timeline}@{leg.end}" if leg.end else f"{leg.timeline}" for leg in self.legs)

    @property
    def timeline(self) -> int:
        """The timeline it leads to."""
        return self.legs[-1].timeline

    def timeline_at(self, position: LSN) -> int:
        """The timeline that the byte at ``position`` belongs to."""
        return next(leg.timeline for leg in reversed(self.legs) if leg.begin <= position)

    def timeline_of(self, number: int, size: SegmentSize) -> int:
        """The timeline whose copy of segment ``number`` counts: the newest that began in it or before."""
        return next(leg.timeline for leg in reversed(self.legs) if size.number_at(leg.begin) <= number)

    def counts(self, segment: Segment, size: SegmentSize) -> bool:
        """Whether ``segment`` is the copy that counts, rather than another branch's."""
        return self.timeline_of(segment.number, size) == segment.timeline

    def parting(self, other: Path) -> LSN | None:
        """The first position that belongs to different timelines on the two; None if there is none."""
        bounds = sorted({leg.begin.value for leg in (*self.legs, *other.legs)})
        return next(
            (LSN(at) for at in bounds if self.timeline_at(LSN(at)) != other.timeline_at(LSN(at))), None
        )
