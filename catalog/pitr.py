"""Point-in-time recovery, decided before a byte is written: which backup, which timelines, which WAL.

Pure: holdings and a target in, a plan or ``TargetUnreachable`` out. What names and records cannot tell is a
warning: whether a time, xid or restore point is reached shows only when the WAL is read.

The timeline, where the operator names none:

- ``latest``, time, xid, name: the newest timeline that leads through the backup and of which any WAL is
  stored (PostgreSQL's own default is the newest; staying on the backup's would lose what came after a
  failover). A position: the same, or the next older one on which the position is stored.
- ``immediate``: the backup's own. No later WAL is read, and the new timeline's history stays short.
- ``auto`` first settles on the newest timeline with WAL or a backup, then on the newest backup that it leads
  through: backups of an abandoned branch are only taken for a position or ``immediate``, or when their
  timeline is named.

Branches that are left aside are named in a warning. ``latest`` written by the operator is, as for PostgreSQL,
the newest timeline known, and ``current`` the backup's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from catalog.coverage import Holdings, carries, holds_wal_of, missing, names, needed, newest
from catalog.errors import Absent, TargetUnreachable, UsageError
from catalog.inventory import Inventory, Run
from catalog.lsn import LSN, SegmentSize
from catalog.record import INCREMENTAL, BackupRecord
from catalog.target import CURRENT, IMMEDIATE, LATEST, NAME, POSITION, TIME, XID, RecoveryTarget
from catalog.timeline import Path
from catalog.walname import Segment

AUTO = "auto"

_OLDER = "choose an older backup, or 'auto'"


@dataclass(frozen=True)
class RecoveryPlan:
    """A recovery that can be carried out.

    ``until`` is the last segment that the target surely needs; up to it, nothing may be missing. ``wal`` is
    what to hand out: the copies that count from ``first`` on, without a hole, as far as the target may
    need them. ``missing`` are the holes behind ``until``, which end a recovery that gets there.
    """

    backup: BackupRecord
    target: RecoveryTarget
    path: Path
    first: Segment
    until: Segment
    wal: tuple[Run, ...]
    missing: tuple[Run, ...] = ()
    warnings: tuple[str, ...] = ()

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
    if record.type == INCREMENTAL:
        raise TargetUnreachable(
            f"backup {record.id} is incremental: restoring those is not supported yet", "name a full backup"
        )
    refusals = []
    for path in _paths_for(record, holdings, target):
        try:
            return _plan_along(path, record, holdings, target)
        except TargetUnreachable as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _plan_auto(holdings: Holdings, target: RecoveryTarget) -> RecoveryPlan:
    if target.kind in (XID, NAME):
        raise UsageError(
            f"'auto' cannot choose a backup for a target {target.kind}: where it lies in the WAL is not known",
            "name a backup that ended before it, or give a time or a position",
        )
    records = sorted(
        (each for each in holdings.records if each.type != INCREMENTAL and not each.checksum_errors),
        key=lambda record: (record.end.time, record.id),
        reverse=True,
    )
    refusals: list[TargetUnreachable] = []
    passed_over: list[str] = []
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
    raise TargetUnreachable("no backup leads to the target's timeline", "list-backups shows what there is")


def _choices(
    records: list[BackupRecord], holdings: Holdings, target: RecoveryTarget
) -> Iterable[tuple[Path, BackupRecord]]:
    """What ``auto`` tries, best first."""
    if target.timeline == CURRENT:
        for record in records:
            yield _path_to(record.end.timeline, holdings), record
        return
    for path in _paths_for_auto(records, holdings, target):
        for record in records:
            if not carries(path, record):
                continue
            if target.kind == IMMEDIATE and target.timeline is None:
                yield from ((own, record) for own in _paths_for(record, holdings, target))
            else:
                yield path, record


def _paths_for_auto(records: list[BackupRecord], holdings: Holdings, target: RecoveryTarget) -> list[Path]:
    if target.timeline is not None:
        return [_named_path(target.timeline, holdings)]
    with_backup = {record.end.timeline for record in records}
    paths = [
        path
        for timeline, path in holdings.paths().items()
        if timeline in with_backup or holds_wal_of(timeline, holdings.inventory)
    ]
    return paths if target.kind in (POSITION, IMMEDIATE) else paths[:1]


def _paths_for(record: BackupRecord, holdings: Holdings, target: RecoveryTarget) -> list[Path]:
    """The paths to try from a backup, best first; at least one."""
    if target.timeline is not None:
        wanted = record.end.timeline if target.timeline == CURRENT else target.timeline
        return [_named_path(wanted, holdings)]
    own = _path_to(record.end.timeline, holdings)
    paths = [
        path
        for timeline, path in holdings.paths().items()
        if carries(path, record)
        and (timeline == record.end.timeline or holds_wal_of(timeline, holdings.inventory))
    ]
    if target.kind == IMMEDIATE:
        paths.reverse()
    elif target.kind != POSITION:
        del paths[1:]
    return paths or [own]


def _named_path(timeline: int | str, holdings: Holdings) -> Path:
    if timeline == LATEST:
        return next(iter(holdings.paths().values()))
    return _path_to(int(timeline), holdings)


def _path_to(timeline: int, holdings: Holdings) -> Path:
    try:
        return holdings.paths()[timeline]
    except KeyError:
        raise TargetUnreachable(
            f"timeline {timeline} is not known: its history file is not stored",
            "receive-wal fetches history files from the server; put-wal accepts them as well",
        ) from None


def _plan_along(path: Path, record: BackupRecord, holdings: Holdings, target: RecoveryTarget) -> RecoveryPlan:
    size, inventory = holdings.size, holdings.inventory_for(record)
    first, last = record.first_segment.number, record.last_segment.number
    _require_path(path, record)
    absent = missing(path, inventory, first, last, size)
    if absent:
        raise TargetUnreachable(
            f"backup {record.id} cannot be restored: of its own WAL there is no {names(absent, size)}",
            "choose another backup; or, if the server still has that WAL, let receive-wal fetch it",
        )
    _require_behind(record, target)
    end = newest(path, inventory, size)
    number = end.number if end is not None and target.kind != IMMEDIATE else last
    holes = missing(path, inventory, last + 1, number, size)
    stored = _Stored(path, inventory, size, holes[0].first - 1 if holes else number, holes)
    until = _until(record, target, stored)
    wanted = until + 1 if target.kind == POSITION else stored.reach
    return RecoveryPlan(
        backup=record,
        target=target,
        path=path,
        first=Segment(path.timeline_of(first, size), first),
        until=Segment(path.timeline_of(until, size), until),
        wal=needed(path, first, min(stored.reach, wanted), size),
        missing=holes if target.kind in (TIME, XID, NAME) else (),
        warnings=tuple(_warnings(record, target, stored, holdings, until)),
    )


@dataclass(frozen=True)
class _Stored:
    """What is stored of a path behind a backup: without a hole up to segment ``reach``."""

    path: Path
    inventory: Inventory
    size: SegmentSize
    reach: int
    holes: tuple[Run, ...]

    def is_partial(self, number: int) -> bool:
        """Whether the copy that counts of a segment is there as a partial one."""
        return Segment(self.path.timeline_of(number, self.size), number) in self.inventory.partials

    def has_wal_of_its_timeline(self) -> bool:
        return holds_wal_of(self.path.timeline, self.inventory)


def _require_path(path: Path, record: BackupRecord) -> None:
    if carries(path, record):
        return
    begin, end = record.begin, record.end
    if end.timeline in (leg.timeline for leg in path.legs):
        message = f"timeline {path.timeline} branched off before the end of backup {record.id} ({end.lsn})"
    else:
        message = (
            f"timeline {path.timeline} does not descend from timeline {end.timeline} of backup {record.id}"
        )
    if begin.timeline != end.timeline:
        message += f", which began on timeline {begin.timeline}"
    raise TargetUnreachable(message, f"{_OLDER}; or recover along the backup's own timeline {end.timeline}")


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
        return _until_position(target.lsn, last, stored)
    if target.kind != LATEST:
        return last
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
    return stored.reach


def _until_position(position: LSN, last: int, stored: _Stored) -> int:
    size = stored.size
    number = size.number_at(position)
    if number <= stored.reach or (number == stored.reach + 1 and stored.is_partial(number)):
        return max(number, last)
    if stored.holes and number > stored.holes[0].last:
        raise TargetUnreachable(
            f"WAL is missing before the target {position}: {names(stored.holes, size)}",
            f"choose a position before {size.start(stored.holes[0].first)}, or a backup behind the hole",
        )
    raise TargetUnreachable(
        f"the WAL of timeline {stored.path.timeline_of(number, size)} that holds {position} is not stored: "
        f"there is none behind {size.start(stored.reach + 1)}",
        "choose an earlier position, or wait until that WAL is stored",
    )


def _warnings(
    record: BackupRecord, target: RecoveryTarget, stored: _Stored, holdings: Holdings, until: int
) -> Iterable[str]:
    size = stored.size
    if record.checksum_errors:
        yield f"the server reported {record.checksum_errors} bad page checksums while backup {record.id} ran"
    if target.kind == IMMEDIATE:
        return
    if until > stored.reach:
        yield f"the target lies in a partial segment: whether {target.value} is in it is not known"
    if target.kind in (TIME, XID, NAME):
        yield f"whether the target {target.kind} is reached is known only when the WAL has been replayed"
        if stored.holes:
            hole = size.start(stored.holes[0].first)
            yield f"WAL is missing, recovery can get to {hole}: {names(stored.holes, size)}"
        if not stored.has_wal_of_its_timeline():
            yield f"no WAL of timeline {stored.path.timeline} is stored"
    if target.timeline is None:
        yield from _branches(record, target, stored, holdings)


def _branches(
    record: BackupRecord, target: RecoveryTarget, stored: _Stored, holdings: Holdings
) -> Iterable[str]:
    """Name what also continues from the backup, for an operator who did not name a timeline."""
    chosen = stored.path
    for timeline, path in holdings.paths().items():
        parting = chosen.parting(path)
        if parting is None or not carries(path, record) or (target.lsn is not None and target.lsn < parting):
            continue
        if not holds_wal_of(timeline, stored.inventory):
            if timeline > chosen.timeline:
                yield f"timeline {timeline} continues at {parting}, but none of its WAL is stored"
            continue
        last = stored.inventory.newest(timeline)
        if last is not None and last.number >= stored.size.number_at(parting):
            yield (
                f"the WAL of timeline {timeline} behind {parting} is left aside: "
                f"--target-tli {timeline} recovers along it"
            )
