"""Point-in-time recovery, decided before a byte is written: which backup, which timelines, which WAL.

Pure: holdings and a target in, a plan or ``TargetUnreachable`` out. Here it is chosen what to recover from and
along which timelines; what becomes of that choice is ``catalog.recovery``'s business. With a ``Wal`` to ask, it
is certain where a target is reached. Without one, what names and records cannot tell is a warning: whether a
time, xid or restore point is reached shows only when the WAL is replayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from catalog.branching import paths_for, paths_for_auto
from catalog.coverage import Holdings, carries, restorable
from catalog.errors import Absent, TargetUnreachable, UsageError
from catalog.left_aside import left_aside
from catalog.record import BackupRecord
from catalog.recovery import RecoveryPlan, ends_too_late, located, plan_along
from catalog.search import Wal
from catalog.target import CURRENT, IMMEDIATE, NAME, XID, RecoveryTarget
from catalog.timeline import Path

AUTO = "auto"


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
            found = located(plan_along(path, record, holdings, target, wal), holdings, wal)
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
            found = plan_along(path, record, holdings, target, wal)
        except TargetUnreachable as refusal:
            too_late = ends_too_late(record, target)
            refusals.append((_rank(record, holdings) if too_late else 0, refusal))
            if not too_late:
                passed_over.append(f"backup {record.id} was passed over: {refusal}")
            continue
        try:
            found = located(found, holdings, wal)
            return replace(found, warnings=(*found.warnings, *dict.fromkeys(passed_over)))
        except TargetUnreachable as refusal:
            refusals.append((0, refusal))
    if refusals:
        # What is wrong with the backups before the target says more than that others are behind it.
        raise min(refusals, key=lambda each: each[0])[1]
    raise _nothing_to_try(records)


def _nothing_to_try(records: list[BackupRecord]) -> TargetUnreachable:
    if not records:
        return TargetUnreachable("there is no backup to restore", "list-backups shows what there is")
    timelines = sorted({record.end.timeline for record in records})
    return TargetUnreachable(
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
