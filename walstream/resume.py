"""Where a receiver begins: the first segment on the server's path of timelines that is not held.

Pure. Counting starts at the oldest kept backup on that path (no backup: at the oldest segment held), so
that holes are filled before the tail. A segment that contains a switch belongs to the newer timeline: its
beginning is the same on both, and the server's own recovery reads it there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.errors import ConnectionFailed, StreamRefused
from catalog.inventory import Inventory
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Leg, Path
from catalog.walname import Segment
from walstream.facts import ServerFacts


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: a timeline, and the position of a segment's first byte."""

    timeline: int
    position: LSN


def find_start(
    facts: ServerFacts,
    held: Inventory,
    begins: Iterable[Segment],
    slot_position: LSN | None,
    size: SegmentSize,
    begun: Iterable[Segment] = (),
) -> Start:
    """The start of the stream.

    ``held`` is what repository and spool have complete, ``begun`` what the spool has in part, ``begins`` the first
    segments of the kept backups. When more is held of the server's own timeline than the server has:
    ``StreamRefused``, but of a standby, which may only be behind, ``ConnectionFailed``.
    """
    path = Path.of(facts.history)
    reached = facts.system.position
    number = _first_wanted(path, held, begins, begun, size)
    if number is None:
        position = size.floor(min(slot_position or reached, reached))
        return Start(path.timeline_of(size.number_at(position), size), position)
    number = _first_missing(path, held, number, size)
    start = Start(path.timeline_of(number, size), size.start(number))
    if start.position > reached and facts.in_recovery:
        raise ConnectionFailed(
            f"the standby has only reached {reached}, and WAL up to {start.position} is stored already",
            "wait until it has caught up, or receive from its primary",
        )
    if start.position > reached:
        raise StreamRefused(
            f"the repository holds WAL of timeline {start.timeline} up to {start.position}, "
            f"but the server has only reached {reached}",
            "the server was restored or replaced without a new timeline: protect it under a new name",
        )
    return start


def _first_wanted(
    path: Path, held: Inventory, begins: Iterable[Segment], begun: Iterable[Segment], size: SegmentSize
) -> int | None:
    numbers = [segment.number for segment in begins if _touches(path, segment, size)]
    if numbers:
        return min(numbers)
    oldest = [_oldest_held(leg, held, size) for leg in path.legs]
    numbers = [segment.number for segment in begun if _touches(path, segment, size)]
    numbers += [segment.number for segment in oldest if segment and path.counts(segment, size)]
    return min(numbers, default=None)


def _touches(path: Path, segment: Segment, size: SegmentSize) -> bool:
    """Whether any part of the segment is on the path, were it only what lies before a switch."""
    return any(
        leg.timeline == segment.timeline
        and size.number_at(leg.begin) <= segment.number
        and (leg.end is None or segment.number <= size.number_before(leg.end))
        for leg in path.legs
    )


def _oldest_held(leg: Leg, held: Inventory, size: SegmentSize) -> Segment | None:
    first = size.number_at(leg.begin)
    runs = (run for run in held.spans(leg.timeline) if run.last >= first)
    return next((Segment(leg.timeline, max(run.first, first)) for run in runs), None)


def _first_missing(path: Path, held: Inventory, number: int, size: SegmentSize) -> int:
    while True:
        timeline = path.timeline_of(number, size)
        run = held.run_at(timeline, number)
        if run is None:
            return number
        number = run.last + 1
        leg = next(leg for leg in path.legs if leg.timeline == timeline)
        if leg.end is not None:
            number = min(number, size.number_at(leg.end))
