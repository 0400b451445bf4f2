"""The recovery of one backup along one path of timelines: what it needs, where it stops, what is not sure of it.

Pure: a backup, a path, a target and the holdings in, a ``RecoveryPlan`` or ``TargetUnreachable`` out. It is made in
two steps: ``plan_along`` goes by names and records alone, ``located`` looks the target up in the WAL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from catalog.branching import require_path
from catalog.coverage import Holdings, missing, names, needed
from catalog.errors import TargetUnreachable
from catalog.inventory import Run
from catalog.last_needed import last_needed
from catalog.left_aside import require_one_branch
from catalog.path_wal import PathWal
from catalog.record import BackupRecord
from catalog.recordtypes import Ending
from catalog.search import SEARCHED, Log, Reached, Stretch, Wal, find
from catalog.target import IMMEDIATE, LATEST, NAME, POSITION, TIME, XID, RecoveryTarget
from catalog.timeline import Path
from catalog.walname import Segment


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


def plan_along(
    path: Path, record: BackupRecord, holdings: Holdings, target: RecoveryTarget, wal: Wal | None
) -> RecoveryPlan:
    """Plan by names and records alone; ``wal`` only words the way out of a hole."""
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
    until = last_needed(record, target, stored, wal)
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


def located(found: RecoveryPlan, holdings: Holdings, wal: Wal | None) -> RecoveryPlan:
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


def ends_too_late(record: BackupRecord, target: RecoveryTarget) -> bool:
    """Whether a backup ended behind the target, so that no recovery of it gets there."""
    if target.lsn is not None:
        return target.lsn < record.end.lsn
    return target.time is not None and target.time < record.end.time


def _require_behind(record: BackupRecord, target: RecoveryTarget) -> None:
    if ends_too_late(record, target):
        end = record.end.lsn if target.lsn else record.end.time
        raise TargetUnreachable(
            f"the target {target.kind} {target.value} is before the end of backup {record.id} ({end})",
            "choose a backup that ended before it ('walstream list-backups'), or a later target",
        )


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
