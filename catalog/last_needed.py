"""How far a recovery must get: the last segment that its target needs, which has to be there with all before it.

Pure, and by names. A hole before the target is ``TargetUnreachable``, with the way to recover all that is held
before the hole.
"""

from __future__ import annotations

from catalog.coverage import names
from catalog.errors import TargetUnreachable
from catalog.lsn import LSN
from catalog.path_wal import PathWal
from catalog.record import BackupRecord
from catalog.search import Wal, up_to_last
from catalog.target import IMMEDIATE, LATEST, RecoveryTarget


def last_needed(record: BackupRecord, target: RecoveryTarget, stored: PathWal, wal: Wal | None) -> int:
    """The number of the last segment that ``target`` needs, as far as is known; ``wal`` only words the way out."""
    last = record.last_segment.number
    if target.lsn is not None:
        return _needed_for_position(target.lsn, record, stored, wal)
    if target.kind == IMMEDIATE:
        return last
    if target.kind != LATEST:
        # Where the target lies is not known: what is stored and cannot be read is not the end of WAL.
        return max(last, stored.reach)
    if stored.holes:
        raise TargetUnreachable(
            f"WAL is missing behind backup {record.id}: {names(stored.holes, stored.size)}",
            f"{_before_the_hole(record, stored, wal)}, or choose a backup behind the hole",
        )
    if not stored.has_wal_of_its_timeline():
        raise TargetUnreachable(
            f"no WAL of timeline {stored.path.timeline} is stored",
            "wait until the receiver has stored it, or name an older timeline with --target-tli",
        )
    return max(last, stored.reach)


def _needed_for_position(position: LSN, record: BackupRecord, stored: PathWal, wal: Wal | None) -> int:
    size = stored.size
    number = size.number_at(position)
    if number <= stored.reach or (number == stored.reach + 1 and stored.is_partial(number)):
        return max(number, record.last_segment.number)
    if stored.holes:
        before_or_at = "before" if number > stored.holes[0].last else "at"
        raise TargetUnreachable(
            f"WAL is missing {before_or_at} the target {position}: {names(stored.holes, size)}",
            f"{_before_the_hole(record, stored, wal)}, or choose a backup behind the hole",
        )
    end = max(size.start(stored.reach + 1).value, record.end.lsn.value)
    raise TargetUnreachable(
        f"the WAL of timeline {stored.path.timeline_of(number, size)} that holds {position} is not stored: "
        f"there is none behind {LSN(end)}",
        "choose an earlier position or --target-immediate, or wait until that WAL is stored",
    )


def _before_the_hole(record: BackupRecord, stored: PathWal, wal: Wal | None) -> str:
    """How to recover all that is held before the first hole, which may begin with a part of a segment."""
    last = max(stored.last, record.last_segment.number)
    if wal is not None:
        log = wal.along(stored.path, record.first_segment.number, last, record.id)
        if log.record_behind(record.end.lsn) is None:
            return "give --target-immediate: there is nothing between the backup and the hole"
        if (found := up_to_last(log)) is not None:
            return f"give {found}"
    start = stored.size.start(stored.reach + 1)
    more = "" if stored.last == stored.reach else ", or in the part of a segment that there is behind it"
    return f"recover with --target-lsn to a position before {start}{more}"
