"""What a recovery leaves aside: branches with WAL or backups of their own, targets that are on several. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from catalog.coverage import Holdings, carries, holds_wal_of, missing, newest
from catalog.errors import TargetUnreachable, UsageError, WalstreamError
from catalog.lsn import LSN, SegmentSize
from catalog.record import BackupRecord
from catalog.search import Reached, Stretch, Wal, find
from catalog.target import IMMEDIATE, RecoveryTarget
from catalog.timeline import Path
from catalog.walname import Segment


def left_aside(
    chosen: Path,
    record: BackupRecord,
    target: RecoveryTarget,
    holdings: Holdings,
    current: int | None = None,
    wal: Wal | None = None,
) -> Iterable[str]:
    """Name the branches that part from ``chosen`` before the target and may hold what is wanted.

    Those that continue from the backup, and of the others that do not lead through it the current one, and those
    that have newer WAL or a newer backup.
    """
    for timeline, path in holdings.paths().items():
        parting = chosen.parting(path)
        if parting is None or (target.lsn is not None and target.lsn < parting):
            continue
        until = _until(path, parting, record, holdings, wal)
        has_more = until > parting
        if not carries(path, record):
            newer = until > max(parting, record.end.lsn) or (has_more and timeline == current)
            yield from _other_branch(path, parting, record, holdings, newer, timeline == current)
        elif target.kind == IMMEDIATE:
            continue
        elif has_more:
            yield (
                f"the WAL of timeline {timeline} behind {parting} is left aside: "
                f"--target-tli {timeline} recovers along it"
            )
        elif timeline > chosen.timeline and not holds_wal_of(timeline, holdings.inventory):
            yield f"timeline {timeline} continues at {parting}, but none of its WAL is stored"


def _other_branch(
    path: Path, parting: LSN, record: BackupRecord, holdings: Holdings, has_newer_wal: bool, is_current: bool
) -> Iterable[str]:
    """Name a branch that does not lead through the backup, if it is newer."""
    timeline = path.timeline
    backups = [
        each.id
        for each in holdings.records
        if each.end.timeline == timeline and each.end.time > record.end.time and each.end.lsn > parting
    ]
    if has_newer_wal or backups:
        what = f"backup {max(backups)}" if backups else "WAL"
        received = ", which was received last," if is_current else ""
        yield (
            f"timeline {timeline}{received} holds {what} behind {parting}, where it parts from what is restored: "
            f"it is left aside; 'auto' with --target-tli {timeline} recovers along it"
        )


def _until(path: Path, parting: LSN, record: BackupRecord, holdings: Holdings, wal: Wal | None) -> LSN:
    """Up to where there is WAL of the path's timeline behind ``parting``; a partial segment counts as filled."""
    size, timeline, first = holdings.size, path.timeline, holdings.size.number_at(parting)
    last = holdings.inventory.newest(timeline)
    until = last.end(size) if last is not None and last.number >= first else parting
    for each in holdings.inventory.partials:
        if each.timeline == timeline and each.number >= first and each.end(size) > until:
            until = max(until, _filled(path, each, record, size, wal))
    return until


def _filled(path: Path, partial: Segment, record: BackupRecord, size: SegmentSize, wal: Wal | None) -> LSN:
    """Where the records of a partial segment end; the segment's end if that cannot be known."""
    if wal is None or not path.counts(partial, size):
        return partial.end(size)
    try:
        return wal.along(path, partial.number, partial.number, record.id).facts(partial.number).end
    except WalstreamError:
        return partial.end(size)


def require_one_branch(
    chosen: Path,
    record: BackupRecord,
    target: RecoveryTarget,
    reached: Reached,
    holdings: Holdings,
    wal: Wal,
) -> None:
    """``UsageError`` if another branch reaches the target too, and so may be what is meant.

    The xids behind a failover are given out again. A warning beside success would come too late for whoever meant
    the transaction that was left.
    """
    places = [(chosen.timeline, reached)]
    for timeline, path in holdings.paths().items():
        parting = chosen.parting(path)
        if parting is None or reached.end <= parting:
            continue
        first = holdings.size.number_at(parting)
        last = _last_from(path, first, holdings)
        if last < first or path.timeline_at(parting) == chosen.timeline:
            continue
        stretch = Stretch(record.id, parting, parting, "")
        with suppress(TargetUnreachable):
            places.append((timeline, find(target, wal.along(path, first, last, record.id), stretch)))
    if len(places) > 1:
        listed = ", ".join(f"on timeline {timeline} at {at.stop} ({at.time})" for timeline, at in places)
        raise UsageError(
            f"the target {target.kind} {target.value} is reached on {len(places)} branches: {listed}",
            "say with --target-tli which one is meant",
        )


def _last_from(path: Path, first: int, holdings: Holdings) -> int:
    """The last segment of a path without a hole since ``first``, were it a partial one."""
    size, inventory = holdings.size, holdings.inventory
    complete = newest(path, inventory, size)
    end = max(first - 1, complete.number if complete is not None else 0)
    holes = missing(path, inventory, first, end, size)
    behind = holes[0].first if holes else end + 1
    is_partial = Segment(path.timeline_of(behind, size), behind) in inventory.partials
    return behind if is_partial else behind - 1
