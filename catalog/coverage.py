"""Paths of timelines laid over an inventory: which segments count, which are missing, is a backup restorable?

Pure, and shared by the planning of recoveries, retention and checks. Segments are always asked for on the
timeline whose copy counts (``Path.timeline_of``): PostgreSQL would also take an ancestor's copy of the
segment that holds the switch position or of later ones, and replay another branch's WAL without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from catalog.inventory import Inventory, Run
from catalog.lineage import Lineage, defect, lineage
from catalog.lsn import LSN, SegmentSize
from catalog.record import BackupRecord
from catalog.timeline import History, Path
from catalog.walname import Segment


@dataclass(frozen=True)
class Holdings:
    """What decisions about one cluster rest on.

    ``inventory`` is of all places that may be read (the spool too, unless the question is what the repository
    alone can do). ``own`` has by backup id the segments stored in the backup itself, ``damaged`` what is wrong
    with the stored files of a backup.
    """

    records: tuple[BackupRecord, ...]
    inventory: Inventory
    histories: Mapping[int, History]
    size: SegmentSize
    own: Mapping[str, frozenset[Segment]] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)

    def paths(self) -> dict[int, Path]:
        """The path to each timeline that a recovery can follow, newest first.

        A timeline without its history file cannot be followed, except for timeline 1.
        """
        histories = {1: History(1), **self.histories}
        return {timeline: Path.of(histories[timeline]) for timeline in sorted(histories, reverse=True)}

    def inventory_for(self, record: BackupRecord) -> Inventory:
        """The inventory together with what the backup itself stores."""
        own = self.own.get(record.id)
        return self.inventory | Inventory.of(own) if own else self.inventory

    def lineage(self, record: BackupRecord) -> Lineage:
        """The backup and those it depends on."""
        return lineage(record, self.records)

    def defect(self, record: BackupRecord) -> str | None:
        """What is wrong with the stored files of a backup or of one that it depends on."""
        return defect(record, self.records, self.damaged)

    def is_suspect(self, record: BackupRecord) -> bool:
        """Whether the server reported bad pages while the backup ran, or one that it depends on."""
        return any(each.checksum_errors for each in self.lineage(record).records)


def carries(path: Path, record: BackupRecord) -> bool:
    """Whether the path leads through the backup, from its begin to its end."""
    begin, end = record.begin, record.end
    return (
        path.timeline_at(begin.lsn) == begin.timeline
        and path.timeline_at(LSN(end.lsn.value - 1)) == end.timeline
    )


def restorable(record: BackupRecord, holdings: Holdings) -> bool:
    """Whether all WAL of the backup's own span is there, on some path that leads through it.

    And its files, and those of the backups that it depends on.
    """
    if holdings.defect(record) is not None:
        return False
    inventory = holdings.inventory_for(record)
    first, last = record.first_segment.number, record.last_segment.number
    return any(
        not missing(path, inventory, first, last, holdings.size)
        for path in holdings.paths().values()
        if carries(path, record)
    )


def needed(path: Path, first: int, last: int, size: SegmentSize) -> tuple[Run, ...]:
    """The copies that count of segments ``first`` to ``last``."""
    bounds = [size.number_at(leg.begin) for leg in path.legs]
    ends = [begin - 1 for begin in bounds[1:]] + [last]
    runs = (
        Run(leg.timeline, max(first, begin), min(last, end))
        for leg, begin, end in zip(path.legs, bounds, ends, strict=True)
    )
    return tuple(run for run in runs if run.first <= run.last)


def missing(path: Path, inventory: Inventory, first: int, last: int, size: SegmentSize) -> tuple[Run, ...]:
    """What is not there of the copies that count of segments ``first`` to ``last``."""
    runs = needed(path, first, last, size)
    return tuple(hole for run in runs for hole in inventory.missing(run.timeline, run.first, run.last))


def newest(path: Path, inventory: Inventory, size: SegmentSize) -> Segment | None:
    """The last segment that is there of the copies that count."""
    ends = [size.number_at(after.begin) - 1 for _, after in pairwise(path.legs)]
    for leg, end in zip(reversed(path.legs), [None, *reversed(ends)], strict=True):
        begin = size.number_at(leg.begin)
        for run in reversed(inventory.spans(leg.timeline)):
            number = run.last if end is None else min(run.last, end)
            if number >= max(begin, run.first):
                return Segment(leg.timeline, number)
    return None


def holds_wal_of(timeline: int, inventory: Inventory) -> bool:
    """Whether any WAL of a timeline is there, were it only a partial segment."""
    return bool(inventory.spans(timeline)) or any(each.timeline == timeline for each in inventory.partials)


def names(runs: tuple[Run, ...], size: SegmentSize) -> str:
    """Runs as text for a message: the names of the first few."""
    texts = []
    for run in runs[:3]:
        first, last = (Segment(run.timeline, number).name(size) for number in (run.first, run.last))
        texts.append(first if first == last else f"{first} to {last}")
    return ", ".join(texts) + (f" and {len(runs) - 3} more stretches" if len(runs) > 3 else "")
