"""Which path of timelines a recovery follows, and which branches it leaves aside.

Pure. The timeline, where the operator names none:

- ``latest``, time, xid, name: the best timeline that leads through the backup and of which any WAL is stored.
  The best is the one that was received last (``current``), then its ancestors, then the newest: a standby that
  was promoted and left again has a higher number than the server that counts. Where it is not known what was
  received last, the newest is the best (as for PostgreSQL; staying on the backup's would lose what came after a
  failover). A position: the same, or the next best one on which the position is stored.
- ``immediate``: the backup's own. No later WAL is read, and the new timeline's history stays short.
- ``auto`` first settles on the best timeline with WAL or a backup, then on the newest backup that it leads
  through: backups of an abandoned branch are only taken for a position or ``immediate``, or when their
  timeline is named.

Branches that are left aside are named in a warning (``catalog.left_aside``). ``latest`` written by the operator
is, as for PostgreSQL, the newest timeline known, and ``current`` the backup's.
"""

from __future__ import annotations

from collections.abc import Sequence

from catalog.coverage import Holdings, carries, holds_wal_of
from catalog.errors import TargetUnreachable
from catalog.record import BackupRecord
from catalog.target import CURRENT, IMMEDIATE, LATEST, POSITION, RecoveryTarget
from catalog.timeline import Path


def paths_for_auto(
    records: Sequence[BackupRecord], holdings: Holdings, target: RecoveryTarget, current: int | None = None
) -> list[Path]:
    """The paths to try when the backup is to be chosen too, best first; ``TargetUnreachable`` if unknown."""
    if target.timeline is not None:
        return [_named_path(target.timeline, holdings)]
    with_backup = {record.end.timeline for record in records}
    paths = [
        path
        for path in _best_first(holdings, current)
        if path.timeline in with_backup or holds_wal_of(path.timeline, holdings.inventory)
    ]
    return paths if target.kind in (POSITION, IMMEDIATE) else paths[:1]


def paths_for(
    record: BackupRecord, holdings: Holdings, target: RecoveryTarget, current: int | None = None
) -> list[Path]:
    """The paths to try from a backup, best first; at least one."""
    if target.timeline is not None:
        wanted = record.end.timeline if target.timeline == CURRENT else target.timeline
        return [_named_path(wanted, holdings)]
    own = _path_to(record.end.timeline, holdings)
    paths = [
        path
        for path in _best_first(holdings, current)
        if carries(path, record)
        and (path.timeline == record.end.timeline or holds_wal_of(path.timeline, holdings.inventory))
    ]
    if target.kind == IMMEDIATE:
        paths.sort(key=lambda path: path.timeline)
    elif target.kind != POSITION:
        del paths[1:]
    return paths or [own]


def _best_first(holdings: Holdings, current: int | None) -> list[Path]:
    """All paths: to the timeline that was received last, to its ancestors, and then the newest first."""
    paths = holdings.paths()
    line = [leg.timeline for leg in reversed(paths[current].legs)] if current in paths else []
    return [paths[timeline] for timeline in dict.fromkeys([*line, *paths]) if timeline in paths]


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


def require_path(path: Path, record: BackupRecord) -> None:
    """``TargetUnreachable`` unless the path leads through the backup."""
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
    raise TargetUnreachable(
        message, f"choose an older backup, or recover along the backup's own timeline {end.timeline}"
    )
