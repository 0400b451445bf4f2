"""How far backups can be recovered, and what is held of branches that were left. Pure.

Along one path of timelines the backups fall into windows: from a window's first backup on, every moment up to
its end can be recovered. A hole in the WAL ends a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from catalog.coverage import Holdings, carries, missing, newest, restorable
from catalog.lsn import LSN, SegmentSize
from catalog.record import BackupRecord
from catalog.timeline import Path
from catalog.walname import Segment


@dataclass(frozen=True, slots=True)
class Window:
    """All that can be recovered from the end of ``first`` on, up to the end of segment ``last``.

    Or up to ``filled``, where the records end of a partial segment behind that, if it was read, or of ``last``
    itself where that is held in part. ``entered`` is the timeline of the partial one.
    """

    first: BackupRecord
    last: Segment
    filled: LSN | None = None
    entered: int | None = None

    @property
    def timeline(self) -> int:
        """The timeline of its last position."""
        return self.entered or self.last.timeline

    def end(self, size: SegmentSize) -> LSN:
        """The last position that can be reached."""
        return self.filled or self.last.end(size)


@dataclass(frozen=True, slots=True)
class Branch:
    """WAL of a timeline from ``parting``, where the path that counts left it, up to ``until``."""

    timeline: int
    parting: LSN
    until: LSN


def windows(path: Path, holdings: Holdings) -> tuple[Window, ...]:
    """The windows along a path, oldest first; none without a backup that can be restored."""
    end = newest(path, holdings.inventory, holdings.size)
    found: dict[int, BackupRecord] = {}
    for record in sorted(holdings.records, key=lambda each: each.end.lsn.value):
        if carries(path, record) and restorable(record, holdings):
            found.setdefault(_reach(record, path, holdings, end), record)
    return tuple(
        Window(record, Segment(path.timeline_of(number, holdings.size), number))
        for number, record in found.items()
    )


def branches(path: Path, holdings: Holdings, end_of: Callable[[Segment], LSN]) -> tuple[Branch, ...]:
    """What is held of timelines beyond the point where ``path`` left them, newest timeline first.

    ``end_of`` says how far a partial segment is filled.
    """
    found = []
    for timeline, other in holdings.paths().items():
        parting = path.parting(other)
        if parting is None or timeline == path.timeline:
            continue
        first = holdings.size.number_at(parting)
        ends = [
            Segment(timeline, run.last).end(holdings.size)
            for run in holdings.inventory.spans(timeline)
            if run.last >= first
        ]
        partial = [each for each in holdings.inventory.partials if each.timeline == timeline]
        ends += [end_of(each) for each in partial if each.number >= first]
        until = max(ends, default=parting)
        if until > parting:
            found.append(Branch(timeline, parting, until))
    return tuple(found)


def _reach(record: BackupRecord, path: Path, holdings: Holdings, end: Segment | None) -> int:
    """The last segment up to which a recovery from a restorable backup gets without a hole."""
    last = max(record.last_segment.number, end.number if end is not None else 0)
    inventory = holdings.inventory_for(record)
    holes = missing(path, inventory, record.first_segment.number, last, holdings.size)
    return holes[0].first - 1 if holes else last
