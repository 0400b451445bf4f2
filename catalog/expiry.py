"""Which WAL no backup needs any more. Pure.

A segment goes only if no backup that stays can reach it along *any* path of timelines: a segment with a switch
belongs to both timelines, and a new timeline's WAL in front of its first backup is the only way there from an
older one. As long as no restorable backup lies on the current path, nothing goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.coverage import Holdings, carries, needed, restorable
from catalog.inventory import Inventory, Run
from catalog.record import BackupRecord
from catalog.timeline import Path
from catalog.walname import Segment

_END_OF_WAL = 1 << 64


@dataclass(frozen=True, slots=True)
class Staying:
    """A backup that stays: with all WAL behind it, or ``alone`` with the WAL of its own span."""

    record: BackupRecord
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Unneeded:
    """Segments, and partial segments, that nothing needs."""

    runs: tuple[Run, ...] = ()
    partials: frozenset[Segment] = frozenset()

    def __len__(self) -> int:
        return sum(map(len, self.runs)) + len(self.partials)

    def has(self, segment: Segment) -> bool:
        """Whether a complete segment is among them."""
        return _is_in(segment, self.runs)


def unneeded(staying: Sequence[Staying], holdings: Holdings, current: Path) -> Unneeded:
    """What can go of the inventory. WAL of timelines whose history is not known is left alone."""
    if not any(
        not each.alone and carries(current, each.record) and restorable(each.record, holdings)
        for each in staying
    ):
        return Unneeded()
    paths = holdings.paths()
    kept = [run for path in paths.values() for each in staying for run in _reached(path, each, holdings)]
    inventory = holdings.inventory
    left = Inventory({timeline: runs for timeline, runs in inventory.runs.items() if timeline in paths})
    left = left.without(kept)
    partials = (each for each in inventory.partials if each.timeline in paths)
    return Unneeded(
        tuple(run for timeline in sorted(left.runs) for run in left.runs[timeline]),
        frozenset(each for each in partials if not _is_in(each, kept)),
    )


def _reached(path: Path, each: Staying, holdings: Holdings) -> tuple[Run, ...]:
    record, size = each.record, holdings.size
    if not carries(path, record):
        return ()
    last = record.last_segment.number if each.alone else _END_OF_WAL // size.nbytes
    return needed(path, record.first_segment.number, last, size)


def _is_in(segment: Segment, runs: Sequence[Run]) -> bool:
    return any(run.timeline == segment.timeline and run.first <= segment.number <= run.last for run in runs)
