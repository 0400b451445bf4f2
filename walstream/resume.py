"""Where a receiver begins: the first segment on the server's path of timelines that is not held.

Pure. Counting starts at the oldest kept backup on that path (no backup: at the oldest segment held), so
that holes are filled before the tail. A segment that contains a switch belongs to the newer timeline: its
beginning is the same on both, and the server's own recovery reads it there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.errors import StreamRefused
from catalog.inventory import Inventory
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import History
from catalog.walname import Segment
from walstream.commands import SystemFacts


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: a timeline, and the position of a segment's first byte."""

    timeline: int
    position: LSN


def timeline_of(history: History, number: int, size: SegmentSize) -> int:
    """The timeline on which the server keeps segment ``number`` of its own path."""
    for switch in history.switches:
        if number < size.number_at(switch.position):
            return switch.timeline
    return history.timeline


def find_start(
    facts: SystemFacts,
    history: History,
    held: Inventory,
    begins: Iterable[Segment],
    slot_position: LSN | None,
    size: SegmentSize,
) -> Start:
    """The start of the stream.

    ``history`` is that of the server's timeline, ``held`` what repository and spool have complete,
    ``begins`` the first segments of the kept backups. ``StreamRefused`` when more is held of the
    server's own timeline than the server has.
    """
    number = _first_wanted(history, held, begins, size)
    if number is None:
        position = size.floor(min(slot_position or facts.position, facts.position))
        return Start(timeline_of(history, size.number_at(position), size), position)
    number = _first_missing(history, held, number, size)
    start = Start(timeline_of(history, number, size), size.start(number))
    if start.position > facts.position:
        raise StreamRefused(
            f"the repository holds WAL of timeline {start.timeline} up to {start.position}, "
            f"but the server has only reached {facts.position}",
            "the server was restored or replaced without a new timeline: protect it under a new name",
        )
    return start


def _first_wanted(
    history: History, held: Inventory, begins: Iterable[Segment], size: SegmentSize
) -> int | None:
    numbers = [s.number for s in begins if timeline_of(history, s.number, size) == s.timeline]
    if numbers:
        return min(numbers)
    timelines = [*(switch.timeline for switch in history.switches), history.timeline]
    oldest = [held.oldest(timeline) for timeline in timelines]
    on_path = [
        segment.number
        for segment in oldest
        if segment is not None and timeline_of(history, segment.number, size) == segment.timeline
    ]
    return min(on_path, default=None)


def _first_missing(history: History, held: Inventory, number: int, size: SegmentSize) -> int:
    while True:
        timeline = timeline_of(history, number, size)
        end = held.run_end(Segment(timeline, number))
        if end is None:
            return number
        number = _last_on(history, timeline, end, size) + 1


def _last_on(history: History, timeline: int, number: int, size: SegmentSize) -> int:
    for switch in history.switches:
        if switch.timeline == timeline:
            return min(number, size.number_at(switch.position) - 1)
    return number
