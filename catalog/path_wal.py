"""What is stored of one path of timelines behind a backup: how far it goes, and what is known of the rest. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.coverage import Holdings, holds_wal_of, missing, names, newest
from catalog.inventory import Inventory, Run
from catalog.lsn import SegmentSize
from catalog.record import BackupRecord
from catalog.timeline import Path
from catalog.walname import Segment


@dataclass(frozen=True)
class PathWal:
    """What is stored of a path from a backup's last segment on: without a hole, complete up to ``reach``.

    The backup's own copy of that segment ends where the backup does, so here it does not count.
    """

    path: Path
    inventory: Inventory
    size: SegmentSize
    reach: int
    holes: tuple[Run, ...]

    @classmethod
    def on(cls, path: Path, record: BackupRecord, holdings: Holdings) -> PathWal:
        size, inventory, last = holdings.size, holdings.inventory, record.last_segment.number
        complete = newest(path, inventory, size)
        # A partial segment is no hole, but says that there is WAL up to it.
        ends = [each.number - 1 for each in inventory.partials if path.counts(each, size)]
        end = max(last - 1, complete.number if complete else 0, *ends)
        holes = missing(path, inventory, last, end, size)
        return cls(path, inventory, size, holes[0].first - 1 if holes else end, holes)

    @property
    def last(self) -> int:
        """The last segment without a hole before it, were it a partial one."""
        return self.reach + 1 if self.is_partial(self.reach + 1) else self.reach

    def is_partial(self, number: int) -> bool:
        """Whether the copy that counts of a segment is there as a partial one."""
        return Segment(self.path.timeline_of(number, self.size), number) in self.inventory.partials

    def has_wal_of_its_timeline(self) -> bool:
        return holds_wal_of(self.path.timeline, self.inventory)

    def beyond(self, holdings: Holdings) -> str:
        """What is known of WAL behind the one that is stored, as the end of a sentence."""
        if self.holes:
            return f"behind that, {names(self.holes, self.size)} is missing"
        timeline = self.path.timeline
        left = [
            leg.end for path in holdings.paths().values() for leg in path.legs if leg.timeline == timeline
        ]
        ends = [end for end in left if end is not None]
        if ends:
            return f"timeline {timeline} was left at {max(ends)}, so that may be all there ever was of it"
        return "whether the server went on is not yet known here, so it may help to wait until more is stored"
