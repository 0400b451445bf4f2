"""Point-in-time recovery, decided before a byte is written: which backup, which timelines, which WAL.

Pure: holdings and a target in, a plan or ``TargetUnreachable`` out. With a ``Wal`` to ask, it is certain where a
target is reached. Without one, what names and records cannot tell is a warning: whether a time, xid or restore
point is reached shows only when the WAL is replayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from catalog.branching import paths_for, paths_for_auto, require_path
from catalog.coverage import Holdings, carries, missing, names, needed, restorable
from catalog.errors import Absent, TargetUnreachable, UsageError
from catalog.inventory import Run
from catalog.left_aside import left_aside, require_one_branch
from catalog.lsn import LSN
from catalog.path_wal import PathWal
from catalog.record import BackupRecord
from catalog.recordtypes import Ending
from catalog.search import SEARCHED, Log, Reached, Stretch, Wal, find, up_to_last
from catalog.target import CURRENT, IMMEDIATE, LATEST, NAME, POSITION, TIME, XID, RecoveryTarget
from catalog.timeline import Path
from catalog.walname import Segment

AUTO = "auto"

_OLDER = "choose a backup that ended before it ('walstream list-backups'), or a later target"


@dataclass(frozen=True)
class RecoveryPlan:
    """A recovery that can be carried out.

    ``reached`` says where the recovery stops, None if that is not known or the target is no place in the WAL.
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
    reached: Reached | None = None
    parents: tuple[BackupRecord, ...] = ()

    @property
    def chain(self) -> tuple[BackupRecord, ...]:
        """All backups that are laid down, one over the other, in that order."""
        return (*self.parents, self.backup)

    @property
    def timeline(self) -> int:
        """The timeline to recover along."""
        return self.path.timeline


def plan(
    holdings: Holdings,
    target: RecoveryTarget,
    backup_id: str = AUTO,
    wal: Wal | None = None,
    current: int | None = None,
) -> RecoveryPlan:
    """Decide how to reach ``target`` from a backup; ``TargetUnreachable`` says why that cannot be.

    ``wal`` is asked where the target is. ``current`` is the timeline that was received last, if that is known.
    ``Absent`` if there is no backup of that id, ``UsageError`` if ``auto`` cannot choose for such a target without
    asking.
    """
    if backup_id == AUTO:
        found = _plan_auto(holdings, target, wal, current)
        return _with_branches(found, holdings, current, wal)
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
    for path in paths_for(record, holdings, target, current):
        try:
            found = _located(_plan_along(path, record, holdings, target, wal), holdings, wal)
            return _with_branches(found, holdings, current, wal)
        except TargetUnreachable as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _with_branches(
    found: RecoveryPlan, holdings: Holdings, current: int | None, wal: Wal | None
) -> RecoveryPlan:
    """The plan with warnings of what it leaves aside, unless the operator chose the timeline."""
    if found.target.timeline is not None:
        return found
    left = left_aside(found.path, found.backup, found.target, holdings, current, wal)
    return replace(found, warnings=(*found.warnings, *left))


def _plan_auto(
    holdings: Holdings, target: RecoveryTarget, wal: Wal | None, current: int | None
) -> RecoveryPlan:
    if target.kind in (XID, NAME) and wal is None:
        raise UsageError(
            f"'auto' cannot choose a backup for a target {target.kind}: its place in the WAL is not known",
            "name a backup that ended before it, or leave out --no-scan",
        )
    defects = {each.id: holdings.defect(each) for each in holdings.records}
    records = sorted(
        (each for each in holdings.records if defects[each.id] is None and not holdings.is_suspect(each)),
        key=lambda record: (record.end.time, record.id),
        reverse=True,
    )
    refusals: list[tuple[float, TargetUnreachable]] = []
    passed_over = [f"backup {each} was passed over: {why}" for each, why in defects.items() if why]
    for path, record in _choices(records, holdings, target, current):
        try:
            found = _plan_along(path, record, holdings, target, wal)
        except TargetUnreachable as refusal:
            too_late = _ends_too_late(record, target)
            refusals.append((_rank(record, holdings) if too_late else 0, refusal))
            if not too_late:
                passed_over.append(f"backup {record.id} was passed over: {refusal}")
            continue
        try:
            found = _located(found, holdings, wal)
            return replace(found, warnings=(*found.warnings, *dict.fromkeys(passed_over)))
        except TargetUnreachable as refusal:
            refusals.append((0, refusal))
    if refusals:
        # What is wrong with the backups before the target says more than that others are behind it.
        raise min(refusals, key=lambda each: each[0])[1]
    if not records:
        raise TargetUnreachable("there is no backup to restore", "list-backups shows what there is")
    timelines = sorted({record.end.timeline for record in records})
    raise TargetUnreachable(
        f"no backup leads to the timeline received last, the newest, or the one named; backups end on {timelines}",
        "name a backup, or one of those timelines with --target-tli",
    )


def _rank(record: BackupRecord, holdings: Holdings) -> float:
    """Of backups that all end behind the target the oldest that can be restored says the most."""
    return record.end.time.timestamp() if restorable(record, holdings) else math.inf


def _choices(
    records: list[BackupRecord], holdings: Holdings, target: RecoveryTarget, current: int | None
) -> Iterable[tuple[Path, BackupRecord]]:
    """What ``auto`` tries, best first."""
    if target.timeline == CURRENT:
        paths = holdings.paths()
        yield from ((paths[each.end.timeline], each) for each in records if each.end.timeline in paths)
        return
    for path in paths_for_auto(records, holdings, target, current):
        for record in records:
            if not carries(path, record):
                continue
            if target.kind == IMMEDIATE and target.timeline is None:
                yield from ((own, record) for own in paths_for(record, holdings, target, current))
            else:
                yield path, record


def _plan_along(
    path: Path, record: BackupRecord, holdings: Holdings, target: RecoveryTarget, wal: Wal | None
) -> RecoveryPlan:
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
    stored = PathWal.on(path, record, holdings)
    until = _until(record, target, stored, wal)
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


def _located(found: RecoveryPlan, holdings: Holdings, wal: Wal | None) -> RecoveryPlan:
    """The plan with the place where its target is reached; ``TargetUnreachable`` if it is not in the WAL."""
    record, target, path, size = found.backup, found.target, found.path, holdings.size
    if wal is None or target.kind not in (*SEARCHED, IMMEDIATE):
        return found
    stored = PathWal.on(path, record, holdings)
    first, last = record.first_segment.number, record.last_segment.number
    if target.kind == IMMEDIATE:
        log = wal.along(path, first, max(stored.last, last), record.id)
        return found if _stops(record, log) else _to_the_end(found)
    stretch = Stretch(
        record.id, record.begin.lsn, record.end.lsn, stored.beyond(holdings), bool(stored.holes)
    )
    reached = find(target, wal.along(path, first, max(stored.last, last), record.id), stretch)
    if target.kind in (XID, NAME) and target.timeline is None:
        require_one_branch(path, record, target, reached, holdings, wal)
    until = max(size.number_before(reached.end), last)
    return replace(
        found,
        until=Segment(path.timeline_of(until, size), until),
        wal=needed(path, first, max(last, min(until, stored.reach)), size),
        missing=(),
        warnings=tuple(_warnings(record, target, stored, holdings, until, reached)),
        reached=reached,
    )


def _stops(record: BackupRecord, log: Log) -> bool:
    """Whether PostgreSQL stops once it is consistent: in front of a record, or behind the end of a transaction."""
    if log.record_behind(record.end.lsn) is not None:
        return True
    last = log.telling(record.last_segment.number)
    return any(isinstance(each, Ending) and each.end == record.end.lsn for each in last)


def _to_the_end(found: RecoveryPlan) -> RecoveryPlan:
    """The plan without its target.

    Of an idle standby there may be no place to stop at, and recovery would fail at its end instead.
    """
    end = found.backup.end.lsn
    warning = (
        f"no WAL is held behind the end of backup {found.backup.id} ({end}), where PostgreSQL could stop: the "
        "cluster recovers to the end of the WAL, which is there, and comes up for writing"
    )
    return replace(
        found, target=replace(found.target, kind=LATEST, action=None), warnings=(*found.warnings, warning)
    )


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


def _until(record: BackupRecord, target: RecoveryTarget, stored: PathWal, wal: Wal | None) -> int:
    last = record.last_segment.number
    if target.lsn is not None:
        return _until_position(target.lsn, record, stored, wal)
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


def _until_position(position: LSN, record: BackupRecord, stored: PathWal, wal: Wal | None) -> int:
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


def _warnings(
    record: BackupRecord,
    target: RecoveryTarget,
    stored: PathWal,
    holdings: Holdings,
    until: int,
    reached: Reached | None = None,
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
    if target.kind == POSITION and until > stored.reach and reached is None:
        yield f"the target lies in a partial segment: whether {target.value} is in it is not known"
    if target.kind in (TIME, XID, NAME) and reached is None:
        yield f"whether the target {target.kind} is reached is known only when the WAL has been replayed"
        if stored.holes:
            hole = size.start(stored.holes[0].first)
            yield f"WAL is missing, recovery can get to {hole}: {names(stored.holes, size)}"
        if not stored.has_wal_of_its_timeline():
            yield f"no WAL of timeline {stored.path.timeline} is stored"
