"""``check``, the part about limits that an operator has set: ages and sizes of backups and WAL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.record import BackupRecord
from catalog.units import size
from walstream.ops.items import Item, failure, fine
from walstream.settings.server import ServerSettings

BACKUP_AGE = "backup maximum age"
BACKUP_SIZE = "backup minimum size"
WAL_AGE = "wal maximum age"
INCOMING = "incoming WALs directory"

_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"))


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest backup that is not known to be bad, and when (Unix time) the newest WAL was received or stored.

    ``incoming`` is how many files ``put-wal`` has brought that are not yet filed.
    """

    backup: BackupRecord | None
    wal_at: float | None
    incoming: int


def newest_of(records: Sequence[BackupRecord]) -> BackupRecord | None:
    """The backup that ended last, but for those with bad pages."""
    sound = [each for each in records if not each.checksum_errors]
    return max(sound, key=lambda each: (each.end.time, each.id), default=None)


def limit_items(settings: ServerSettings, newest: Newest, now: float) -> list[Item]:
    """An item for each limit that is set; ``now`` is Unix time."""
    items = []
    if settings.last_backup_maximum_age is not None:
        items.append(_backup_age(settings, newest.backup, settings.last_backup_maximum_age, now))
    if settings.last_backup_minimum_size is not None:
        items.append(_backup_size(newest.backup, settings.last_backup_minimum_size, settings.name))
    if settings.last_wal_maximum_age is not None:
        items.append(_wal_age(newest.wal_at, settings.last_wal_maximum_age, now))
    limit = settings.max_incoming_wals_queue
    if limit is not None or newest.incoming:
        items.append(_incoming(newest.incoming, limit))
    return items


def _backup_age(settings: ServerSettings, backup: BackupRecord | None, limit: float, now: float) -> Item:
    remedy = f"take a backup: walstream backup {settings.name}"
    if backup is None:
        return failure(BACKUP_AGE, "there is no backup", remedy)
    age = max(0.0, now - backup.end.time.timestamp())
    hint = f"the newest is {in_time(age)} old, at most {in_time(limit)} are wanted"
    return failure(BACKUP_AGE, hint, remedy) if age > limit else fine(BACKUP_AGE, hint)


def _backup_size(backup: BackupRecord | None, limit: int, server: str) -> Item:
    if backup is None:
        return failure(BACKUP_SIZE, "there is no backup", f"take one: walstream backup {server}")
    hint = f"the newest has {size(backup.cluster_size)}, at least {size(limit)} are wanted"
    if backup.cluster_size < limit:
        return failure(BACKUP_SIZE, hint, "see whether data is gone from the server, or lower the limit")
    return fine(BACKUP_SIZE, hint)


def _wal_age(wal_at: float | None, limit: float, now: float) -> Item:
    if wal_at is None:
        return failure(WAL_AGE, "there is no WAL", "let a receiver run: walstream run")
    age = max(0.0, now - wal_at)
    hint = f"the newest came {in_time(age)} ago, at most {in_time(limit)} are wanted"
    if age > limit:
        return failure(
            WAL_AGE, hint, "see the receiver's item; a server on which nothing happens writes no WAL"
        )
    return fine(WAL_AGE, hint)


def _incoming(count: int, limit: int | None) -> Item:
    hint = f"{count} delivered files wait to be filed"
    if limit is not None and count > limit:
        remedy = "see the log for why; while no receiver runs: walstream archive-wal"
        return failure(INCOMING, f"{hint}, at most {limit} are wanted", remedy)
    return fine(INCOMING, hint)


def in_time(seconds: float) -> str:
    """A length of time for a hint: ``3.5 hours``."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
