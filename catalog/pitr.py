"""Point-in-time recovery, decided before a byte is written: which backup, which timelines, which WAL.

Pure: holdings and a target in, a plan or ``TargetUnreachable`` out. What names and records cannot tell is a
warning: whether a time, xid or restore point is reached shows only when the WAL is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from catalog.branching import left_aside, paths_for, paths_for_auto, require_path
from catalog.coverage import Holdings, carries, holds_wal_of, missing, names, needed, newest
from catalog.errors import Absent, TargetUnreachable, UsageError
from catalog.inventory import Inventory, Run
from catalog.lsn import LSN, SegmentSize
from catalog.record import BackupRecord
from catalog.target import CURRENT, IMMEDIATE, LATEST, NAME, POSITION, TIME, XID, RecoveryTarget
from catalog.timeline import Path
from catalog.walname import Segment

AUTO = "auto"

_OLDER = "choose a backup that ended before it ('walstream list-backups'), or a later target"


@dataclass(frozen=True)
class RecoveryPlan:
    """A recovery that can be carried out.

    ``until`` is the last segment that the target needs as far as is known; up to it, nothing may be missing.
    ``wal`` is what to hand out: the copies that count from ``first`` on, without a hole, as far as the target may
    need them. ``missing`` are the holes behind ``until``, which end a recovery that gets there. ``parents`` are the
    backups that an incremental one is laid over, the full one first.
    """

    backup: BackupRecord
    target: RecoveryTarget
    path: Path
    first: Segment
    until: Segment
    wal: tuple[Run, ...]
    missing: tuple[Run, ...] = ()
    warnings: tuple[str, ...] = ()
    parents: tuple[BackupRecord, ...] = ()

    @property
    def chain(self) -> tuple[BackupRecord, ...]:
        """All backups that are laid down, one over the other, in that order."""
        return (*self.parents, self.backup)

    @property
    def timeline(self) -> int:
        """The timeline to recover along."""
        return self.path.timeline


def plan(holdings: Holdings, target: RecoveryTarget, backup_id: str = AUTO) -> RecoveryPlan:
    """Decide how to reach ``target`` from a backup; ``TargetUnreachable`` says why that cannot be.

    ``Absent`` if there is no backup of that id, ``UsageError`` if ``auto`` cannot choose for such a target.
    """
    if backup_id == AUTO:
        return _plan_auto(holdings, target)
    record = next((record for record in holdings.records if record.id == backup_id), None)
    if record is None:
        raise Absent(f"there is no backup {backup_id!r}", "list-backups shows the ids")
    defect = holdings.defect(record)
    if defect is not None:
        raise TargetUnreachable(
            f"backup {record.id} cannot be restored: {defect}",
            "put the files back from a copy of the repository, or restore another backup",
        )
    refusals = []
    for path in paths_for(record, holdings, target):
        try:
            return _plan_along(path, record, holdings, target)
        except TargetUnreachable as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _plan_auto(holdings: Holdings, target: RecoveryTarget) -> RecoveryPlan:
    if target.kind in (XID, NAME):
        raise UsageError(
            f"'auto' cannot choose a backup for a target {target.kind}: its place in the WAL is not known",
            "name a backup that ended before it, or give a time or a position",
        )
    defects = {each.id: holdings.defect(each) for each in holdings.records}
    records = sorted(
        (each for each in holdings.records if defects[each.id] is None and not holdings.is_suspect(each)),
        key=lambda record: (record.end.time, record.id),
        reverse=True,
    )
    refusals: list[TargetUnreachable] = []
    passed_over = [f"backup {each} was passed over: {why}" for each, why in defects.items() if why]
    for path, record in _choices(records, holdings, target):
        try:
            found = _plan_along(path, record, holdings, target)
            return replace(found, warnings=(*found.warnings, *dict.fromkeys(passed_over)))
        except TargetUnreachable as refusal:
            refusals.append(refusal)
            if not _ends_too_late(record, target):
                passed_over.append(f"backup {record.id} was passed over: {refusal}")
    if refusals:
        raise refusals[0]
    if not records:
        raise TargetUnreachable("there is no backup to restore", "list-backups shows what there is")
    timelines = sorted({record.end.timeline for record in records})
    raise TargetUnreachable(
        f"no backup leads to the newest timeline or to the one that was named; backups end on {timelines}",
        "name a backup, or one of those timelines with --target-tli",
    )


def _choices(
    records: list[BackupRecord], holdings: Holdings, target: RecoveryTarget
) -> Iterable[tuple[Path, BackupRecord]]:
    """What ``auto`` tries, best first."""
    if target.timeline == CURRENT:
        paths = holdings.paths()
        yield from ((paths[each.end.timeline], each) for each in records if each.end.timeline in paths)
        return
    for path in paths_for_auto(records, holdings, target):
        for record in records:
            if not carries(path, record):
                continue
            if target.kind == IMMEDIATE and target.timeline is None:
                yield from ((own, record) for own in paths_for(record, holdings, target))
            else:
                yield path, record


def _plan_along(path: Path, record: BackupRecord, holdings: Holdings, target: RecoveryTarget) -> RecoveryPlan:
    size, inventory = holdings.size, holdings.inventory_for(record)
    first, last = record.first_segment.number, record.last_segment.number
    require_path(path, record)
    absent = missing(path, inventory, first, last, size)
    if absent:
        raise TargetUnreachable(
            f"backup {record.id} cannot be restored: of its own WAL there is no {names(absent, size)}",
            "choose another backup; or, if the server still has that WAL, let receive-wal fetch it",
        )
    _require_behind(record, target)
    stored = _Stored.on(path, record, holdings)
    until = _until(record, target, stored)
    end = {POSITION: min(until + 1, stored.reach), IMMEDIATE: last}.get(target.kind, stored.reach)
    return RecoveryPlan(
        backup=record,
        target=target,
        path=path,
        first=Segment(path.timeline_of(first, size), first),
        until=Segment(path.timeline_of(until, size), until),
        wal=needed(path, first, max(last, end), size),
        missing=stored.holes if target.kind in (TIME, XID, NAME) else (),
        warnings=tuple(_warnings(record, target, stored, holdings, until)),
        parents=holdings.lineage(record).parents,
    )


@dataclass(frozen=True)
class _Stored:
    """What is stored of a path from a backup's last segment on: without a hole, complete up to ``reach``.

    The backup's own copy of that segment ends where the backup does, so here it does not count.
    """

    path: Path
    inventory: Inventory
    size: SegmentSize
    reach: int
    holes: tuple[Run, ...]

    @classmethod
    def on(cls, path: Path, record: BackupRecord, holdings: Holdings) -> _Stored:
        size, inventory, last = holdings.size, holdings.inventory, record.last_segment.number
        complete = newest(path, inventory, size)
        # A partial segment is no hole, but says that there is WAL up to it.
        ends = [each.number - 1 for each in inventory.partials if path.counts(each, size)]
        end = max(last - 1, complete.number if complete else 0, *ends)
        holes = missing(path, inventory, last, end, size)
        return cls(path, inventory, size, holes[0].first - 1 if holes else end, holes)

    def is_partial(self, number: int) -> bool:
        """Whether the copy that counts of a segment is there as a partial one."""
        return Segment(self.path.timeline_of(number, self.size), number) in self.inventory.partials

    def has_wal_of_its_timeline(self) -> bool:
        return holds_wal_of(self.path.timeline, self.inventory)


def _ends_too_late(record: BackupRecord, target: RecoveryTarget) -> bool:
    if target.lsn is not None:
        return target.lsn < record.end.lsn
    return target.time is not None and target.time < record.end.time


def _require_behind(record: BackupRecord, target: RecoveryTarget) -> None:
    if _ends_too_late(record, target):
        end = record.end.lsn if target.lsn else record.end.time
        raise TargetUnreachable(
            f"the target {target.kind} {target.value} is before the end of backup {record.id} ({end})", _OLDER
        )


def _until(record: BackupRecord, target: RecoveryTarget, stored: _Stored) -> int:
    last = record.last_segment.number
    if target.lsn is not None:
        return _until_position(target.lsn, record, stored)
    if target.kind == IMMEDIATE:
        return last
    if target.kind != LATEST:
        # Where the target lies is not known: what is stored and cannot be read is not the end of WAL.
        return max(last, stored.reach)
    if stored.holes:
        hole = stored.size.start(stored.holes[0].first)
        raise TargetUnreachable(
            f"WAL is missing behind backup {record.id}: {names(stored.holes, stored.size)}",
            f"recover with --target-lsn to a position before {hole}, or choose a backup behind the hole",
        )
    if not stored.has_wal_of_its_timeline():
        raise TargetUnreachable(
            f"no WAL of timeline {stored.path.timeline} is stored",
            "wait until the receiver has stored it, or name an older timeline with --target-tli",
        )
    return max(last, stored.reach)


def _until_position(position: LSN, record: BackupRecord, stored: _Stored) -> int:
    size = stored.size
    number = size.number_at(position)
    if number <= stored.reach or (number == stored.reach + 1 and stored.is_partial(number)):
        return max(number, record.last_segment.number)
    if stored.holes and number > stored.holes[0].last:
        raise TargetUnreachable(
            f"WAL is missing before the target {position}: {names(stored.holes, size)}",
            f"choose a position before {size.start(stored.holes[0].first)}, or a backup behind the hole",
        )
    end = max(size.start(stored.reach + 1).value, record.end.lsn.value)
    raise TargetUnreachable(
        f"the WAL of timeline {stored.path.timeline_of(number, size)} that holds {position} is not stored: "
        f"there is none behind {LSN(end)}",
        "choose an earlier position or --target-immediate, or wait until that WAL is stored",
    )


def _warnings(
    record: BackupRecord, target: RecoveryTarget, stored: _Stored, holdings: Holdings, until: int
) -> Iterable[str]:
    size = stored.size
    for each in holdings.lineage(record).records:
        if each.checksum_errors:
            yield f"the server reported {each.checksum_errors} bad page checksums while backup {each.id} ran"
    bare = [each.id for each in holdings.lineage(record).parents if not each.data_checksums]
    if bare and record.data_checksums:
        yield f"page checksums were switched on behind backup {bare[-1]}: pages not written since will seem damaged"
    if target.kind == IMMEDIATE:
        return
    if target.kind == POSITION and until > stored.reach:
        yield f"the target lies in a partial segment: whether {target.value} is in it is not known"
    if target.kind in (TIME, XID, NAME):
        yield f"whether the target {target.kind} is reached is known only when the WAL has been replayed"
        if stored.holes:
            hole = size.start(stored.holes[0].first)
            yield f"WAL is missing, recovery can get to {hole}: {names(stored.holes, size)}"
        if not stored.has_wal_of_its_timeline():
            yield f"no WAL of timeline {stored.path.timeline} is stored"
    if target.timeline is None:
        yield from left_aside(stored.path, record, target, holdings)
